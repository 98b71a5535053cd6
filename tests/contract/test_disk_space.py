"""A disk is said to be nearly full before it is: by what is left, and by when nothing will be."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace_contract.runtime.disk_space import Disks, Room, Trend, status_figures

MB, GB, TB = 10**6, 10**9, 10**12
HOUR_S = 3600.0


@pytest.mark.parametrize(
    ("free_bytes", "total_bytes", "is_low"),
    [
        (5 * GB, 40 * GB, False),
        (3 * GB, 2 * TB, False),
        (1 * GB, 2 * TB, True),
        (1 * MB, 12 * MB, True),
        (2 * MB, 12 * MB, False),
        (0, 12 * MB, True),
    ],
)
def test_less_than_a_tenth_is_low_and_on_a_large_disk_less_than_two_gb(free_bytes: int, total_bytes: int, is_low: bool) -> None:
    assert Room("", Path("/data"), free_bytes, total_bytes).is_low is is_low


def test_what_will_be_full_within_a_day_is_low_and_the_problem_says_when_and_what_to_do() -> None:
    room = Room("influxdb", Path("/watched"), 12 * GB, 40 * GB, 6.04)
    assert room.problem == (
        "the disk of influxdb is nearly full: 12 GB of 40 GB are left, which last 6 h as it goes; make room on it, or give it a "
        "larger one"
    )
    assert room.figures == {"influxdb_disk_free_bytes": 12e9, "influxdb_disk_left_h": 6.04}
    assert status_figures([room, Room("", Path("/data"), 30 * GB, 40 * GB)])["disks_low"] == 1
    assert Room("", Path("/data"), 12 * GB, 40 * GB, 25.0).problem is None


def test_when_a_disk_is_full_is_reckoned_from_its_highest_point_on() -> None:
    trend = Trend()
    assert trend.left_h(10 * GB, 0) is None
    assert trend.left_h(9 * GB, 600) is None, "ten minutes say nothing"
    assert trend.left_h(8 * GB, HOUR_S) == pytest.approx(4.0)
    assert trend.left_h(7 * GB, 2 * HOUR_S) == pytest.approx(14 / 3)
    assert trend.left_h(20 * GB, 2.1 * HOUR_S) is None, "somebody made room: what was before no longer counts"
    assert trend.left_h(18 * GB, 3.1 * HOUR_S) == pytest.approx(9.0)
    steady = [trend.left_h(18 * GB, hour * HOUR_S) for hour in range(4, 20)]
    assert steady[-1] is None, "a disk that stays as it is will not be full"


def test_what_comes_and_goes_is_no_trend() -> None:
    trend = Trend()
    found = [trend.left_h(10 * GB - (minute % 10) * 100 * MB, minute * 60.0) for minute in range(600)]
    assert found == [None] * 600


def test_a_disk_that_nobody_can_look_at_is_a_problem_only_where_somebody_named_it(tmp_path: Path) -> None:
    own, missing = Disks(tmp_path, {"mosquitto": tmp_path / "nowhere"}).look(0.0)
    assert own.total_bytes >= own.free_bytes > 0
    assert "No such file or directory; see MILLRACE_WATCHED_DISKS" in (missing.problem or "")
    assert missing.figures == {}
    assert Disks(tmp_path / "gone").look(0.0)[0].problem is None


def test_what_gives_way_before_the_disk_is_full_counts_as_room(tmp_path: Path) -> None:
    kept = iter((10**15, 9 * 10**14, 10**15))
    disks = Disks(tmp_path, spare=lambda: next(kept))
    left = [disks.look(hour * HOUR_S)[0].left_h for hour in range(3)]
    assert left == [None, pytest.approx(9.0, rel=0.01), None]
