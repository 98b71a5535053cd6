"""Events that are read and encoded once for all streams are those of the store, wherever a stream stands."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from millrace_alerts.api import encoded_events
from millrace_alerts.api.encoded_events import EncodedEvents
from millrace_alerts.store import Reader, Store
from millrace_contract.language.alert_messages import AlertEvent
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import EventCause, IsaState

from .plantfiles import START_MS


def append(store: Store, first: int, count: int) -> None:
    with store.transaction():
        for seq in range(first, first + count):
            at = format_timestamp(START_MS + seq)
            event = AlertEvent(
                event_seq=seq,
                alert_id="hot.CNC-01",
                rule="hot",
                line="line1",
                from_state=IsaState.NORM,
                to_state=IsaState.NORM,
                cause=EventCause.COMMENT,
                timestamp=at,
                source_timestamp=at,
                comment=f"number {seq}",
            )
            store.append_event(event, START_MS + seq, None)


def test_every_stream_gets_every_event_once_however_far_behind_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded_events, "KEPT", 50)
    monkeypatch.setattr(encoded_events, "BATCH", 20)
    store = Store(tmp_path / "alerts.db", START_MS)
    append(store, 1, 30)
    shared = EncodedEvents(Reader(store.path))

    async def follow(seq: int, rung: asyncio.Event) -> list[int]:
        found: list[int] = []
        while batch := await shared.after("e", found[-1] if found else seq, rung):
            assert len(batch) <= 20
            assert [event.id for _, event in batch] == [f"e-{each}" for each, _ in batch]
            assert [f"number {each}" in str(event.raw_data) for each, event in batch] == [True] * len(batch)
            found += [each for each, _ in batch]
        return found

    async def streams() -> None:
        bell = asyncio.Event()
        assert await follow(30, bell) == []
        for first, count in ((31, 5), (36, 40), (76, 120)):
            append(store, first, count)
            assert await follow(first - 1, bell) == [], "what came after the bell is not looked for before it rings"
            bell = asyncio.Event()
            starts = [0, 7, 30, 31, first - 1, first + count - 1]
            everything = await asyncio.gather(*(follow(start, bell) for start in starts))
            assert everything == [list(range(start + 1, first + count)) for start in starts]

    asyncio.run(streams())
    store.close()
