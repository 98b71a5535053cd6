"""The requests of one poll group as they stand now: planned from the profile, cut smaller where the device refused. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from millrace_contract.plant import Profile, RegisterSignal

from .blocks import NARROW, Block, Place, ReadRules, RegisterGap, plan_blocks, split_block
from .decoder import BlockDecoder
from .faults import ReadFault
from .request_cost import TCP_COST, RequestCost

REFUSAL_REST_S: Final = 60.0
"""How long a request that the device refuses for its addresses is left alone: asking again each second changes nothing."""

_DOUBTS: Final = 6
"""So many requests of a table are cut that the device answers with "no such function"; then it has no such table."""


class PlannedRequest:
    """A block with its compiled decoder, and whether it rests because the device refused it."""

    __slots__ = ("block", "cost_registers", "decoder", "names", "place", "refusal", "rests_until_s", "was_answered")

    def __init__(self, block: Block) -> None:
        self.block = block
        self.decoder = _decoder_of(block)
        self.names = block.names
        self.place = block.place
        self.cost_registers = round(block.cost_registers)
        self.was_answered = False
        self.refusal: ReadFault | None = None
        self.rests_until_s = 0.0

    def refused(self, fault: ReadFault, now_s: float) -> None:
        """Leave the request alone for a while; its signals are bad for this reason meanwhile."""
        self.refusal = fault
        self.rests_until_s = now_s + REFUSAL_REST_S

    def resting(self, now_s: float) -> ReadFault | None:
        """Why the request is left alone now, or None: it may be sent."""
        return self.refusal if now_s < self.rests_until_s else None


def _decoder_of(block: Block) -> BlockDecoder:
    if block.register_bytes == NARROW:
        return BlockDecoder(block.address, block.count, block.signals)
    signals = [signal.narrowed(block.address) for signal in block.signals]
    return BlockDecoder(block.address, block.count * block.register_bytes // NARROW, signals)


class Passed:
    """The requests that a device has answered with data: what it never passed it may refuse, be it by silence. Shared by the
    plans of a device.
    """

    def __init__(self) -> None:
        self._blocks: list[Block] = []

    def note(self, block: Block) -> None:
        if not self.has(block):
            self._blocks = [each for each in self._blocks if not each.is_part_of(block)]
            self._blocks.append(block)

    def has(self, block: Block) -> bool:
        """Whether this request, or a larger one around it, was answered."""
        return any(block.is_part_of(each) for each in self._blocks)

    def has_table(self, table: str) -> bool:
        return any(each.table == table for each in self._blocks)

    def forget(self) -> None:
        """The device was away: it may have got another program."""
        self._blocks.clear()


class PollPlan:
    """What one read of a group asks. Cuts last until reset(): a device that was away may have got another program. A gap that
    was proven to be the reason of a cut is remembered beyond it, in the set that all plans of a device share."""

    def __init__(
        self,
        signals: Sequence[RegisterSignal],
        rules: ReadRules,
        gaps: set[RegisterGap] | None = None,
        passed: Passed | None = None,
    ) -> None:
        """`gaps`: those that the device is known to refuse; proven ones are added. Raises UnreadableSignals."""
        self.passed = Passed() if passed is None else passed
        self.probes = 0
        self.names = tuple(signal.name for signal in signals)
        self.gaps = set(rules.gaps) if gaps is None else gaps
        self.pause_s = rules.limits.pause_ms / 1000
        self._signals = tuple(signals)
        self._rules = rules
        self._cuts: list[tuple[PlannedRequest, PlannedRequest, RegisterGap]] = []
        self._is_cut = False
        self._doubts: Counter[str] = Counter()
        self.requests = self._planned()
        self.usual: tuple[Place, ...] | None = None
        """What a read asks while nothing is out of the ordinary: every request was answered as it stands, and none rests."""

    def _planned(self) -> list[PlannedRequest]:
        rules = replace(self._rules, gaps=frozenset(self.gaps))
        return [PlannedRequest(block) for block in plan_blocks(self._signals, rules)]

    @property
    def registers(self) -> int:
        """Registers (or bits) that one read moves."""
        return sum(request.block.count for request in self.requests)

    def split(self, request: PlannedRequest) -> list[PlannedRequest]:
        """Put two smaller requests in the place of a refused one and return them; none where it cannot get smaller."""
        halves = split_block(request.block)
        if halves is None:
            return []
        low, high, gap = halves
        smaller = [PlannedRequest(low), PlannedRequest(high)]
        at = self.requests.index(request)
        self.requests[at : at + 1] = smaller
        self.usual = None
        self._cuts.append((smaller[0], smaller[1], gap))
        self._is_cut = True
        return smaller

    def may_doubt(self, table: str) -> bool:
        """Whether "no such function" is not believed yet where nothing of the table was read: it may be about addresses."""
        self._doubts[table] += 1
        return self._doubts[table] <= _DOUBTS

    def learn(self) -> None:
        """After a read: a cut whose two sides were both answered as they are was made at a gap that the device refuses."""
        if self._cuts:
            answered = [each for each in self.requests if each.was_answered]
            self.gaps.update(gap for low, high, gap in self._cuts if low in answered and high in answered)
            self._cuts.clear()

    def settle(self) -> None:
        """After a read: is there anything that the next one must look at?"""
        is_usual = all(each.was_answered and each.refusal is None for each in self.requests)
        self.usual = tuple(each.place for each in self.requests) if is_usual else None

    def for_probe(self) -> list[PlannedRequest]:
        """The requests in another order each time: a silent unit is asked one of them, and that one may be what it refuses."""
        at = self.probes % len(self.requests)
        self.probes += 1
        return [*self.requests[at:], *self.requests[:at]]

    def reset(self) -> None:
        """Forget what the device refused, but for proven gaps."""
        self._cuts.clear()
        self._doubts.clear()
        if self._is_cut:
            self.requests = self._planned()
            self._is_cut = False
        self.usual = None
        for request in self.requests:
            request.refusal = None
            request.rests_until_s = 0.0
            request.was_answered = False


def group_plan(
    profile: Profile, group: str, cost: RequestCost = TCP_COST, gaps: set[RegisterGap] | None = None, passed: Passed | None = None
) -> PollPlan:
    """The plan of one poll group. Raises UnreadableSignals."""
    members = [signal for signal in profile.register_signals.values() if group in signal.groups(profile)]
    return PollPlan(members, ReadRules.of(profile, cost), gaps, passed)


def full_plan(
    profile: Profile, cost: RequestCost = TCP_COST, gaps: set[RegisterGap] | None = None, passed: Passed | None = None
) -> PollPlan:
    """The plan that reads every signal once: for the first message after a start or an outage. Raises UnreadableSignals."""
    return PollPlan(list(profile.register_signals.values()), ReadRules.of(profile, cost), gaps, passed)
