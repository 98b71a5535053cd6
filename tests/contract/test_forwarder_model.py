"""A model of a lossy broker and ingest, which finds what no scenario of the forwarder thought of."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from millrace_contract.language.messages import Held, Mark
from millrace_contract.runtime.clock import Now
from millrace_contract.store_forward.limits import Limits
from millrace_contract.store_forward.losses import Loss
from millrace_contract.store_forward.numbering import Row
from millrace_contract.store_forward.ranges import merge_ranges
from millrace_contract.store_forward.sqlite import transaction
from millrace_contract.testing.outboxes import lost_numbers, numbers

from .forwarder_plant import LIVE_LIMIT, WINDOW, Plant


class LossyPlant(RuleBasedStateMachine):
    """Anything may be lost, repeated or delayed, and the process may die; in the end every number is stored or in a ledger."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="forwarder"))
        self.plant = Plant(self.folder / "outbox.db")
        self.connected = False
        self.taking = True
        self.published: list[tuple[int, str, int]] = []  # the broker holds: token, stream, seq
        self.unanswered: list[int] = []
        self.received: list[tuple[str, int]] = []  # ingest holds, not stored yet
        self.stored: dict[str, set[int]] = {}
        self.confirmations: list[tuple[str, list[tuple[int, int]]]] = []
        self.told: list[Loss] = []
        self.last: dict[str, int] = {}
        self.copy: tuple[dict[str, set[int]], Mark] | None = None
        self.starts = 0

    def teardown(self) -> None:
        try:
            self.drain()
        finally:
            self.plant.file.close()
            shutil.rmtree(self.folder)

    def _collect(self) -> None:
        """Move what was published to the broker."""
        for token, _, payload in self.plant.wire:
            message = json.loads(payload)
            self.published.append((token, message["stream"], message["seq"]))
            self.unanswered.append(token)
        self.plant.wire.clear()

    def _note(self, rows: list[Row]) -> None:
        for row in rows:
            assert row.seq == self.last.get(row.stream, 0) + 1
            self.last[row.stream] = row.seq

    @initialize()
    def begin(self) -> None:
        self._note(self.plant.append(2))

    @rule(count=st.integers(1, 6), age_s=st.sampled_from([0.0, 0.0, 5.0, 20.0]), device=st.sampled_from("AB"))
    def append(self, count: int, age_s: float, device: str) -> None:
        self._note(self.plant.append(count, age_s=age_s, device=device))
        self._collect()

    @rule()
    def clock_steps_back(self) -> None:
        self.plant.now = Now(self.plant.now.monotonic_s, self.plant.now.epoch_ms - 120_000)

    @rule(seconds=st.sampled_from([0.5, 11.0, 70.0]))
    def pass_time(self, seconds: float) -> None:
        self.plant.pass_time(seconds)

    @rule(limit=st.integers(1, 8))
    def pump(self, limit: int) -> None:
        self.plant.forwarder.pump(self.plant.now, limit)
        self._collect()

    @rule(data=st.data(), ok=st.sampled_from([True, True, True, False]))
    def answer(self, data: st.DataObject, *, ok: bool) -> None:
        if self.unanswered:
            token = self.unanswered.pop(data.draw(st.integers(0, len(self.unanswered) - 1)))
            if not ok:
                self.published = [message for message in self.published if message[0] != token]
            self.plant.forwarder.published(token, ok, self.plant.now)

    @rule(data=st.data(), fate=st.sampled_from(["deliver", "deliver", "drop", "repeat"]))
    def broker_handles(self, data: st.DataObject, fate: str) -> None:
        if self.published:
            at = data.draw(st.integers(0, len(self.published) - 1))
            _, stream, seq = self.published[at]
            if fate != "repeat":
                del self.published[at]
            if fate != "drop":
                self.received.append((stream, seq))

    @rule(data=st.data())
    def ingest_writes(self, data: st.DataObject) -> None:
        """What ingest holds is stored, or forgotten while the database takes nothing; the confirmation is on its way."""
        held, self.received = self.received, []
        if self.taking:
            for stream, seq in held:
                self.stored.setdefault(stream, set()).add(seq)
            for stream in sorted({stream for stream, _ in held}):
                seqs = merge_ranges((seq, seq) for name, seq in held if name == stream)
                self.confirmations += [(stream, seqs)] * data.draw(st.integers(0, 2))

    @rule(data=st.data())
    def confirmation_arrives(self, data: st.DataObject) -> None:
        if self.confirmations:
            at = data.draw(st.integers(0, len(self.confirmations) - 1))
            stream, seqs = self.confirmations.pop(at)
            self.plant.forwarder.confirmed(stream, seqs, self.plant.now)

    @rule(stream=st.sampled_from(["gateway-1.ffffffff", ""]), seqs=st.lists(st.tuples(st.integers(-9, 9), st.integers())))
    def nonsense_arrives(self, stream: str, seqs: list[tuple[int, int]]) -> None:
        self.plant.forwarder.confirmed(stream, seqs, self.plant.now)
        self.plant.forwarder.published(10**9, False, self.plant.now)

    @rule()
    def delete_safe(self) -> None:
        self.plant.delete_safe()

    @rule(is_connected=st.booleans(), is_broker_amnesic=st.booleans())
    def connection(self, *, is_connected: bool, is_broker_amnesic: bool) -> None:
        if is_connected:
            self.plant.forwarder.connected()
        else:
            self.plant.forwarder.disconnected()
        self.connected = is_connected
        self.unanswered.clear()
        if is_broker_amnesic:
            self.published.clear()

    @rule(is_taking=st.booleans())
    def ingest_says(self, *, is_taking: bool) -> None:
        self.taking = is_taking
        self.plant.forwarder.taking(is_taking)

    @rule()
    def database_is_copied(self) -> None:
        """What is confirmed was stored before."""
        mark = self.plant.outbox.sent().upto
        self._hear(mark)
        self.copy = {stream: set(seqs) for stream, seqs in self.stored.items()}, mark

    @rule()
    def database_is_put_back(self) -> None:
        """Its confirmations of before came before its word of what it holds."""
        if self.copy is not None:
            self.stored = {stream: set(seqs) for stream, seqs in self.copy[0].items()}
            self.confirmations.clear()
            self.starts += 1
            self._hear(self.copy[1])

    def _hear(self, mark: Mark) -> None:
        outbox, forwarder = self.plant.outbox, self.plant.forwarder
        with transaction(outbox.connection):
            is_lacking = outbox.hear(Held(store=str(self.starts), mark=mark), self.plant.now.epoch_ms)
        if is_lacking:
            forwarder.forget_confirmations()
        while outbox.is_taking_back:
            with transaction(outbox.connection):
                first = outbox.take_back(3)
            assert first is not None
            forwarder.waits_again(first)

    @rule()
    def ingest_dies(self) -> None:
        self.received.clear()

    @rule(room=st.sampled_from([0, 1, 10**9]))
    def session_queue(self, room: int) -> None:
        self.plant.room = room

    @rule(share=st.floats(0.2, 1.0))
    def prune(self, share: float) -> None:
        outbox = self.plant.outbox
        with transaction(outbox.connection):
            self.told += outbox.prune(Limits(max_bytes=int(outbox.bytes * share)), self.plant.now)
        self.last[outbox.stream] = self._last_seq(outbox.stream)
        self.plant.forwarder.look_again()

    @rule()
    def crash(self) -> None:
        """The process dies and comes back; what the broker held goes its way."""
        self.plant.file.close()
        self.plant.open()
        self.unanswered.clear()
        if self.connected:
            self.plant.forwarder.connected()
        self.plant.forwarder.taking(self.taking)

    @invariant()
    def in_flight_is_bounded(self) -> None:
        assert self.plant.forwarder.backlog_in_flight <= WINDOW
        assert self.plant.forwarder.live_in_flight <= LIVE_LIMIT

    @invariant()
    def nothing_has_vanished(self) -> None:
        held: dict[str, set[int]] = {}
        for row in self.plant.outbox.peek(0, 100_000):
            held.setdefault(row.stream, set()).add(row.seq)
        lost = lost_numbers(self.told)
        for stream, last in self.last.items():
            known = held.get(stream, set()) | self.stored.get(stream, set()) | lost.get(stream, set())
            assert set(range(1, last + 1)) <= known

    def _last_seq(self, stream: str) -> int:
        return max(numbers(self.plant.outbox.ids(stream, [(1, 10**9)])), default=0) - (
            min(numbers(self.plant.outbox.ids(stream, [(1, 1)])), default=1) - 1
        )

    def drain(self) -> None:
        """With everything well again, the outbox empties in bounded time."""
        self.plant.room = 10**9
        self.plant.forwarder.disconnected()
        self.plant.forwarder.connected()
        self.plant.forwarder.taking(True)
        self.unanswered.clear()
        for _ in range(500):
            self.plant.pass_time(1)
            self.plant.forwarder.pump(self.plant.now)
            self._collect()
            for token in self.unanswered:
                self.plant.forwarder.published(token, True, self.plant.now)
            self.unanswered.clear()
            for _, stream, seq in self.published:
                self.stored.setdefault(stream, set()).add(seq)
                self.plant.forwarder.confirmed(stream, [(seq, seq)], self.plant.now)
            self.published.clear()
            self.plant.delete_safe()
            if not self.plant.outbox.depth:
                break
        assert self.plant.outbox.depth == 0
        lost = lost_numbers(self.told)
        for stream, last in self.last.items():
            assert set(range(1, last + 1)) == self.stored.get(stream, set()) | lost.get(stream, set())


TestLossyPlant: Any = pytest.mark.long(LossyPlant.TestCase)
TestLossyPlant.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
