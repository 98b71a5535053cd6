"""Events that are too old or too many go to compressed files: none is lost, numbers go on, and no cursor breaks in silence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from millrace_alerts import __main__ as commands
from millrace_alerts import event_archive
from millrace_alerts.event_archive import EventArchive, EventLimits, archived_events
from millrace_alerts.feed import Cursor, read_feed
from millrace_alerts.store import Reader, Store
from millrace_contract.language.alert_messages import AlertEvent

from .conftest import Running
from .plantfiles import START_MS
from .problem_documents import problem
from .test_encoded_events import append

DAY_MS = 86_400_000
NEVER = EventLimits(10**12, 10**15)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """25 events; a chunk is ten."""
    monkeypatch.setattr(event_archive, "CHUNK", 10)
    made = Store(tmp_path / "alerts.db", START_MS)
    append(made, 1, 25)
    yield made
    made.close()


def archived(store: Store, limits: EventLimits, now_ms: int = START_MS + 1000) -> list[int]:
    archive = EventArchive(store.connection, store.path.parent, limits)
    counts = []
    while True:
        with store.transaction():
            counts.append(archive.turn(now_ms))
        if not counts[-1]:
            return counts[:-1]


def seqs(store: Store) -> list[int]:
    return [msgspec.json.decode(line, type=AlertEvent).event_seq for line in archived_events(store.path.parent)]


def kept(store: Store) -> list[int]:
    return [each.event.event_seq for each in Reader(store.path).events(0, 1000)]


@pytest.mark.parametrize(
    ("limits", "now_ms", "went"),
    [
        (NEVER, START_MS + 1000, []),
        (EventLimits(10**12, DAY_MS), START_MS + DAY_MS, []),
        (EventLimits(10**12, DAY_MS), START_MS + DAY_MS + 11, [10]),
        (EventLimits(10**12, DAY_MS), START_MS + 9 * DAY_MS, [10, 10]),
        (EventLimits(1, 10**15), START_MS + 1000, [10, 10]),
        (EventLimits(6_000, 10**15), START_MS + 1000, [10]),
    ],
    ids=["nothing", "not old enough", "ten are", "all but the last chunk", "too many", "some too many"],
)
def test_the_oldest_go_in_whole_chunks_and_nothing_is_lost(store: Store, limits: EventLimits, now_ms: int, went: list[int]) -> None:
    assert archived(store, limits, now_ms) == went
    assert seqs(store) + kept(store) == list(range(1, 26))
    assert len(seqs(store)) == sum(went)


def test_a_kill_between_file_and_commit_writes_the_same_file_again(store: Store) -> None:
    archive = EventArchive(store.connection, store.path.parent, EventLimits(1, 10**15))
    store.connection.execute("BEGIN")
    assert archive.turn(START_MS) == 10
    store.connection.execute("ROLLBACK")
    assert kept(store) == list(range(1, 26))
    before = {path.name: path.read_bytes() for path in (store.path.parent / "events").iterdir()}
    assert archived(store, EventLimits(1, 10**15)) == [10, 10]
    after = {path.name: path.read_bytes() for path in (store.path.parent / "events").iterdir()}
    assert {name: after[name] for name in before} == before
    assert seqs(store) + kept(store) == list(range(1, 26))


def test_numbers_go_on_when_every_event_is_in_the_archive(store: Store) -> None:
    append(store, 26, 5)
    assert archived(store, EventLimits(10**12, 0), START_MS + DAY_MS) == [10, 10, 10]
    assert kept(store) == []
    assert store.last_event_seq() == Reader(store.path).last_event_seq() == 30


def test_an_event_that_is_in_no_file_cannot_be_deleted(store: Store) -> None:
    archived(store, EventLimits(6_000, 10**15))
    with pytest.raises(Exception, match="never deleted before they are in the archive"):
        store.connection.execute("DELETE FROM event WHERE seq = 11")


def test_where_no_file_can_be_written_the_events_stay_and_it_is_said(store: Store) -> None:
    (store.path.parent / "events").write_text("in the way")
    archive = EventArchive(store.connection, store.path.parent, EventLimits(1, 10**15))
    with store.transaction():
        assert archive.turn(START_MS) == 0
    assert "they stay in the store" in (archive.problem or "")
    assert kept(store) == list(range(1, 26))


def test_a_cursor_of_what_is_archived_is_told_where_to_go_on(store: Store) -> None:
    archived(store, EventLimits(6_000, 10**15))
    epoch = read_feed(store.connection).epoch
    reader = Reader(store.path)
    go_on = Cursor(epoch, 10)
    for cursor, told in (
        (Cursor(None, 0), None),
        (Cursor(epoch, 0), go_on),
        (Cursor(None, 9), go_on),
        (Cursor(epoch, 9), go_on),
        (Cursor(epoch, 10), None),
        (Cursor(None, 10), None),
        (Cursor(epoch, 25), None),
        (Cursor(epoch, 26), Cursor(epoch, 25)),
        (Cursor("00000000", 25), go_on),
    ):
        assert reader.where_to_go_on(cursor) == told, cursor


@pytest.mark.process
def test_the_running_service_archives_and_answers_410_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(event_archive, "CHUNK", 10)
    running = Running(tmp_path, events_max_days=1)
    (tmp_path / "data").mkdir()
    before = Store(tmp_path / "data" / "alerts.db", START_MS)
    append(before, 1, 25)
    before.close()
    running.start()
    try:
        assert running.get("/v1/alert-events").json()["archived_to"] == 0
        running.clock.advance(3 * 3600)  # An age is believed an hour after a start.
        assert running.get("/v1/alert-events").json()["items"][0]["seq"] == 1
        running.clock.advance(2 * 86_400)
        from millrace_contract.testing import wait_until

        def archived_to() -> bool:
            running.clock.advance(61)
            return bool(running.get("/v1/alert-events").json()["archived_to"] >= 10)

        wait_until(archived_to, "the first chunk in the archive")
        refused = problem(running.get("/v1/alert-events?after=3"), 410, "events-archived")
        assert "millrace-alerts archive --after 3" in refused["detail"]
        assert running.get(f"/v1/alert-events?after={refused['cursor']}").status_code == 200
        problem(running.get("/v1/alerts/stream", headers={"Last-Event-ID": "3"}), 410, "events-archived")
    finally:
        running.stop()
    monkeypatch.setenv("MILLRACE_DATA", str(tmp_path / "data"))
    assert commands.main(["archive", "--config", str(running.settings.config), "--after", "3"]) == 0
    assert [msgspec.json.decode(line)["event_seq"] for line in capsys.readouterr().out.splitlines()][:7] == list(range(4, 11))
