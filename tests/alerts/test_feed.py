"""The feed of events when its store is restored, lost or put back: a reader never goes on in silence past what it missed."""

import shutil
from pathlib import Path

import pytest

from millrace_alerts.feed import Cursor, parse_cursor
from millrace_alerts.store import Reader, Store
from millrace_contract.language.alert_messages import AlertEvent
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import EventCause, IsaState
from millrace_contract.store_forward.restored import RESTORED_FILE, Restored, read_restored, write_restored

from .conftest import Running
from .plantfiles import START_MS
from .problem_documents import problem
from .test_api import next_event

LATER_MS = START_MS + 3_600_000


def restored(number: int = 1) -> Restored:
    return Restored(f"restore-{number}", "backup-1", format_timestamp(START_MS), format_timestamp(LATER_MS))


def told(folder: Path, count: int, now_ms: int = START_MS) -> list[Cursor]:
    """Open the store, let it tell so many events, close it; the cursors behind each."""
    store = Store(folder / "alerts.db", now_ms)
    with store.transaction():
        for _ in range(count):
            seq = store.last_event_seq() + 1
            store.append_event(_event(seq), now_ms, None)
    reader = Reader(folder / "alerts.db")
    found = [reader.feed().cursor(stored.event.event_seq) for stored in reader.events(0, 1_000)]
    store.close()
    return found


def again(folder: Path, cursor: Cursor) -> str | None:
    """Where the reader with this cursor is told to begin; None where it just goes on."""
    found = Reader(folder / "alerts.db").where_to_go_on(cursor)
    return None if found is None else str(found)


def _event(seq: int) -> AlertEvent:
    now = format_timestamp(START_MS)
    return AlertEvent(
        event_seq=seq, alert_id="a", rule="hot", line="line1", device_id="CNC-01", occurrence=None, priority=None,
        from_state=IsaState.NORM, to_state=IsaState.UNACK, cause=EventCause.CONDITION, source_timestamp=now, timestamp=now,
    )  # fmt: skip


@pytest.fixture
def after_restore(tmp_path: Path) -> tuple[list[Cursor], list[Cursor], Path]:
    """Of thirty events the backup has twenty; two more were told since it was put back: cursors of before and after."""
    folder = tmp_path / "data"
    folder.mkdir()
    told(folder, 20)
    shutil.copytree(folder, tmp_path / "backup")
    before = told(folder, 10)
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "backup", folder)
    write_restored(folder, restored())
    return before, told(folder, 2, LATER_MS), folder


def test_a_restored_feed_begins_an_epoch_and_gives_no_number_twice(after_restore: tuple[list[Cursor], list[Cursor], Path]) -> None:
    before, after, _ = after_restore
    assert {cursor.epoch for cursor in before} != {cursor.epoch for cursor in after}
    assert [cursor.seq for cursor in after[:20]] == [cursor.seq for cursor in before[:20]]
    assert [cursor.seq for cursor in after[20:]] == [LATER_MS + 1, LATER_MS + 2]


def test_a_cursor_of_before_a_restore_is_told_from_where_nothing_is_missed(
    after_restore: tuple[list[Cursor], list[Cursor], Path],
) -> None:
    before, after, folder = after_restore
    epoch = after[-1].epoch
    assert again(folder, before[-1]) == f"{epoch}-20"
    assert again(folder, before[4]) == f"{epoch}-5"
    assert again(folder, Cursor("00000000", 5)) == f"{epoch}-0"
    assert again(folder, after[-1]) is None
    assert again(folder, Cursor(epoch, after[-1].seq + 1)) == str(after[-1])


def test_a_cursor_without_an_epoch_works_where_it_is_sure_and_is_refused_where_its_event_is_gone(
    after_restore: tuple[list[Cursor], list[Cursor], Path],
) -> None:
    _, after, folder = after_restore
    epoch = after[-1].epoch
    assert again(folder, Cursor(None, 0)) is None
    assert again(folder, Cursor(None, 20)) is None
    assert again(folder, Cursor(None, 21)) == again(folder, Cursor(None, 30)) == f"{epoch}-20"
    assert again(folder, Cursor(None, LATER_MS + 2)) is None


def test_each_restore_is_an_epoch_and_a_restart_is_none(after_restore: tuple[list[Cursor], list[Cursor], Path]) -> None:
    _, after, folder = after_restore
    assert told(folder, 0)[-1] == after[-1]
    write_restored(folder, restored(2))
    twice = told(folder, 1, LATER_MS + 1_000)
    assert twice[-1].epoch != after[-1].epoch
    assert twice[-1].seq == LATER_MS + 1_001
    assert again(folder, after[-1]) == f"{twice[-1].epoch}-{after[-1].seq}"


def test_a_lost_store_begins_an_epoch(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    lost = told(folder, 3)[-1]
    shutil.rmtree(folder)
    new = told(folder, 5)[-1]
    assert (new.seq, new.epoch != lost.epoch) == (5, True)
    assert again(folder, lost) == f"{new.epoch}-0"


def test_a_note_of_a_restore_that_cannot_be_read_is_a_restore(tmp_path: Path) -> None:
    assert read_restored(tmp_path) is None
    first = told(tmp_path, 3)[-1]
    (tmp_path / RESTORED_FILE).write_bytes(b"{")
    second = told(tmp_path, 0, LATER_MS)[-1]
    assert second.epoch != first.epoch
    assert told(tmp_path, 0)[-1] == second


@pytest.mark.parametrize(
    "text", ["", "-1", "1.5", "abc", "5f3a9c21-", "5F3A9C21-1", "5f3a9c2-1", "1" * 19, "5f3a9c21-" + "1" * 19, "\u0663"]
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="send a cursor"):
        parse_cursor(text)


@pytest.mark.process
def test_a_reader_of_before_a_restore_is_answered_410_on_both_ways_and_goes_on_from_what_it_says(running: Running) -> None:
    for device in ("CNC-01", "CNC-02"):
        running.raise_hot(device)
    feed = running.get("/v1/alert-events").json()
    old = feed["cursor"]
    assert running.get("/v1/alert-events", params={"after": old}).json() == {
        "items": [],
        "cursor": old,
        "last_seq": 2,
        "archived_to": 0,
    }
    assert running.get("/v1/alert-events?after=2").json()["cursor"] == old
    running.stop()
    write_restored(running.settings.data, restored())
    running.clock.advance(3_600)
    running.start()
    for answer in (
        running.get("/v1/alert-events", params={"after": old}),
        running.get("/v1/alerts/stream", headers={"Last-Event-ID": old}),
        running.get("/v1/alert-events?after=38"),
        running.get("/v1/alerts/stream", headers={"Last-Event-ID": "38"}),
    ):
        told_again = problem(answer, 410, "feed-restarted")
        assert told_again["cursor"] in told_again["detail"]
        assert told_again["cursor"] == f"{running.reader.feed().epoch}-2"
    running.measure(temperature=20.0)
    running.wait_state("hot.CNC-01", "RTNUN")
    event = running.get("/v1/alert-events", params={"after": told_again["cursor"]}).json()["items"][0]
    assert event["seq"] > LATER_MS
    headers = {"Last-Event-ID": told_again["cursor"]}
    with running.http() as client, client.stream("GET", "/v1/alerts/stream", headers=headers) as stream:
        assert next_event(stream.iter_lines())[0] == event["seq"]
