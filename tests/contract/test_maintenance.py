"""When a window of maintenance is on, in local time; and what of maintenance.yaml is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from millrace_contract.errors import ConfigurationProblems
from millrace_contract.plant.maintenance import MaintenanceWindow, load_maintenance

BERLIN = ZoneInfo("Europe/Berlin")


def window(**said: object) -> MaintenanceWindow:
    return MaintenanceWindow.model_validate({"id": "w", "title": "W", **said})


def end_of(chosen: MaintenanceWindow, now: str) -> str | None:
    end_ms = chosen.end_ms(round(datetime.fromisoformat(now).timestamp() * 1000), BERLIN)
    return None if end_ms is None else f"{datetime.fromtimestamp(end_ms / 1000, UTC):%Y-%m-%d %H:%M}"


ONCE = window(**{"from": "2026-03-12 06:00", "until": "2026-03-14 18:00"})
SATURDAYS = window(days=["sat"], start="22:00", end="02:00")
FIRST_SUNDAY = window(days=["sun"], weeks=[1], start="06:00", end="08:00")
NIGHT = window(days=["sun"], start="02:30", end="03:30")


@pytest.mark.parametrize(
    ("chosen", "now", "end"),
    [
        (ONCE, "2026-03-12 05:59:59+01:00", None),
        (ONCE, "2026-03-12 06:00+01:00", "2026-03-14 17:00"),
        (ONCE, "2026-03-14 17:59:59+01:00", "2026-03-14 17:00"),
        (ONCE, "2026-03-14 18:00+01:00", None),
        (SATURDAYS, "2026-03-14 21:59+01:00", None),
        (SATURDAYS, "2026-03-14 22:00+01:00", "2026-03-15 01:00"),
        (SATURDAYS, "2026-03-15 01:59+01:00", "2026-03-15 01:00"),
        (SATURDAYS, "2026-03-15 02:00+01:00", None),
        (SATURDAYS, "2026-03-15 22:30+01:00", None),
        (FIRST_SUNDAY, "2026-03-01 07:00+01:00", "2026-03-01 07:00"),
        (FIRST_SUNDAY, "2026-03-08 07:00+01:00", None),
        (FIRST_SUNDAY, "2026-04-05 07:00+02:00", "2026-04-05 06:00"),
        # The clocks go forward at 02:00 on 29 March and back at 03:00 on 25 October.
        (NIGHT, "2026-03-29 01:29+00:00", None),
        (NIGHT, "2026-03-29 01:30+00:00", None),
        (NIGHT, "2026-10-25 00:30+00:00", "2026-10-25 02:30"),
        (NIGHT, "2026-10-25 02:29+00:00", "2026-10-25 02:30"),
        (NIGHT, "2026-10-25 02:30+00:00", None),
    ],
)
def test_a_window_is_on_in_the_plants_local_time(chosen: MaintenanceWindow, now: str, end: str | None) -> None:
    assert end_of(chosen, now) == end


PLANT = "root: f\ntime_zone: UTC\n"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("title: W", "needs from and until (once), or days, start and end (each week)"),
        ('title: W\n    days: [sat]\n    start: "06:00"', "needs from and until"),
        ('title: W\n    days: [sat]\n    start: "06:00"\n    end: "07:00"\n    from: 2026-03-12 06:00', "not some of both"),
        ("title: W\n    from: 2026-03-12 06:00\n    until: 2026-03-12 06:00", "must end after it begins"),
        ("title: W\n    from: 2026-03-12 06:00\n    until: 2026-05-12 06:00", "within 31 days"),
        ("title: W\n    from: tomorrow\n    until: 2026-05-12 06:00", "'tomorrow' is no time; write the plant's local time"),
        ('title: W\n    days: [someday]\n    start: "06:00"\n    end: "07:00"', "'someday' is not one of"),
        ('title: W\n    days: [sat]\n    weeks: [6]\n    start: "06:00"\n    end: "07:00"', "a month has weeks 1 to 5"),
        ('title: W\n    day: [sat]\n    start: "06:00"\n    end: "07:00"', "is not a key here (did you mean days?)"),
        ('title: ""\n    days: [sat]\n    start: "06:00"\n    end: "07:00"', "title"),
    ],
)
def test_a_window_that_means_nothing_is_refused_in_words(tmp_path: Path, said: str, words: str) -> None:
    (tmp_path / "maintenance.yaml").write_text(f"windows:\n  w:\n    {said}\n")
    with pytest.raises(ConfigurationProblems) as refused:
        load_maintenance(tmp_path, None)
    assert words in "\n".join(map(str, refused.value.problems))


def test_no_file_is_no_window(tmp_path: Path) -> None:
    assert load_maintenance(tmp_path, None) == {}
