"""Which messages are missing: the chain of each machine and stream, the gaps that it shows, and what fills or ends them (gaps.py).

Written with the engine's other tables, by `save`, in its transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from millrace_contract.language.entries import CHAIN, Entry
from millrace_contract.language.messages import Ledger
from millrace_contract.language.streams import sender_of
from millrace_contract.language.telemetry import Telemetry
from millrace_contract.language.times import parse_timestamp

from .gaps import ChainEnd, Gap, Link, cover, fill, follow, holds, uncounted, with_missing
from .machine import Machine
from .store import Store

LOOKS_FOR_OTHERS = 5
"""How often the database is asked for what a gateway sent that does not read the machine any more: for some minutes."""


class Chains:
    """What was heard of each chain, and what of it is missing."""

    def __init__(self, machines: Mapping[str, Machine], store: Store, counts: Counter[str]) -> None:
        """`counts`: under `gaps` how many were found."""
        self._machines = machines
        self._store = store
        self._counts = counts
        self._ends = store.chains()
        self._moved: set[tuple[str, str]] = set()
        self._gaps: dict[str, list[Gap]] = {}
        for gap in store.gaps():
            self._gaps.setdefault(gap.device, []).append(gap)

    def heard(self, device: str, message: Telemetry, known_until_ms: int | None) -> None:
        """A message of a machine. `known_until_ms`: its newest sample."""
        seq, prev = message.seq, message.prev
        if message.stream is None or seq is None:
            return
        key = (device, message.stream)
        end = self._ends.get(key)
        if end is not None and prev == end.seq and seq > prev:  # the next one, as nearly always
            self._ends[key] = ChainEnd(seq, message.timestamp_ms)
            self._moved.add(key)
        elif (link := _link(device, message)) is not None:
            self._follow(link, known_until_ms)

    def entered(self, entry: Entry, known_until_ms: Callable[[], int | None]) -> None:
        """What a person or an MES said."""
        if (link := _entry_link(entry)) is not None:
            self._follow(link, known_until_ms())

    def is_missing(self, device: str, message: Telemetry, known_until_ms: int | None) -> None:
        """A message, also of a gateway that read the machine before, that is to be looked for in the database."""
        link = _link(device, message)
        if link is None or any(holds(gap, link) for gap in self._gaps.get(device, ())):
            return
        self._follow(link, known_until_ms)
        shorter, gap = with_missing(self._gaps.get(device, ()), link)
        if shorter is None:
            self._open(gap)
        else:
            self._replace(shorter, [gap])

    def lost(self, entry: Ledger) -> None:
        """Somebody lost messages and says so: gaps that they leave will not be filled."""
        if entry.lost_stream is None:
            return
        for device in [entry.device_id] if entry.device_id else list(self._gaps):
            gaps = self._gaps.get(device, [])
            if entry.at_least and not entry.lost_seqs:
                left: list[Gap | None] = [uncounted(gap, entry.lost_stream) for gap in gaps]
            else:
                left = [cover(gap, entry.lost_stream, entry.lost_seqs) for gap in gaps]
            for gap, rest in zip(gaps, left, strict=True):
                self._replace(gap, [] if rest is None else [rest])

    def gaps(self) -> list[Gap]:
        """What is missing now of the plan's machines, and of entries. Gaps of a machine that the plan no longer has wait for it to
        come back, or for their age."""
        return [gap for device, gaps in self._gaps.items() if device in self._machines or device == CHAIN for gap in gaps]

    def is_open(self, device: str) -> bool:
        """Whether something is missing on which the machine's figures rest."""
        return bool(self._gaps.get(device) or self._gaps.get(CHAIN))

    def fill(self, link: Link) -> None:
        """A message is known to be there: it is missing in no gap."""
        for gap in self._gaps.get(link.device, []):
            left = fill(gap, link)
            if left != [gap]:
                self._replace(gap, left)
                return

    def looked_for(self, gap: Gap, looks: int) -> None:
        """What the database had for it is accepted, in so many looks. What no message can fill any more ends with the last."""
        machine = self._machines.get(gap.device)
        is_followed = gap.device == CHAIN or (machine is not None and sender_of(gap.stream) == machine.gateway)
        if gap.missing_seq is None or (not is_followed and looks >= LOOKS_FOR_OTHERS):
            self._replace(gap, [])

    def forget(self, chains_before_ms: int, gaps_before_ms: int) -> None:
        """Streams of which nothing came since, and gaps that are older."""
        self._store.drop_chains(chains_before_ms)
        for gap in [gap for gaps in self._gaps.values() for gap in gaps]:
            if gap.before_ms < gaps_before_ms:
                self._replace(gap, [])

    def save(self) -> None:
        """Write the ends that moved."""
        self._store.save_chains((*key, self._ends[key]) for key in self._moved)
        self._moved.clear()

    def _follow(self, link: Link, known_until_ms: int | None) -> None:
        key = (link.device, link.stream)
        end = self._ends.get(key)
        if end is None or link.seq > end.seq:
            self._ends[key], gap = follow(end, link, known_until_ms)
            self._moved.add(key)
            if gap is not None:
                self._open(gap)
            return
        self.fill(link)

    def _open(self, gap: Gap) -> None:
        self._gaps.setdefault(gap.device, []).append(gap)
        self._store.save_gap(gap)
        self._counts["gaps"] += 1

    def _replace(self, gap: Gap, left: list[Gap]) -> None:
        gaps = self._gaps.get(gap.device, [])
        if left == [gap] or gap not in gaps:
            return
        self._store.drop_gap(gap)
        gaps.remove(gap)
        for rest in left:
            self._store.save_gap(rest)
            gaps.append(rest)
        if not gaps:
            self._gaps.pop(gap.device, None)


def _entry_link(entry: Entry) -> Link | None:
    """Its place in its sender's chain."""
    if entry.stream is None or entry.seq is None:
        return None
    prev = entry.prev if entry.prev is not None and 0 <= entry.prev < entry.seq else None
    return Link(CHAIN, entry.stream, entry.seq, prev, parse_timestamp(entry.timestamp))


def _link(device: str, message: Telemetry) -> Link | None:
    """The message's place in its chain."""
    if message.stream is None or message.seq is None:
        return None
    prev = message.prev if message.prev is not None and 0 <= message.prev < message.seq else None
    return Link(device, message.stream, message.seq, prev, message.timestamp_ms)
