"""The requests of one poll group as they stand now: planned from the profile, cut smaller where the device refused. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from millrace_contract.plant import Limits, Profile, Signal

from .blocks import Block, plan_blocks, split_block
from .decoder import BlockDecoder
from .faults import Refused

REFUSAL_REST_S: Final = 60.0
"""How long a request that the device refuses for its addresses is left alone: asking again each second changes nothing."""


class PlannedRequest:
    """A block with its compiled decoder, and whether it rests because the device refused it."""

    __slots__ = ("block", "decoder", "names", "refusal", "rests_until_s")

    def __init__(self, block: Block) -> None:
        self.block = block
        self.decoder = BlockDecoder(block.address, block.count, block.signals)
        self.names = block.names
        self.refusal: Refused | None = None
        self.rests_until_s = 0.0

    def refused(self, fault: Refused, now_s: float) -> None:
        """Leave the request alone for a while; its signals are bad for this reason meanwhile."""
        self.refusal = fault
        self.rests_until_s = now_s + REFUSAL_REST_S

    def resting(self, now_s: float) -> Refused | None:
        """Why the request is left alone now, or None: it may be sent."""
        return self.refusal if now_s < self.rests_until_s else None


class PollPlan:
    """What one read of a group asks. Learned cuts last until reset(): a device that was away may have got another program."""

    def __init__(self, signals: Sequence[Signal], atomic: Iterable[Sequence[str]], limits: Limits) -> None:
        """Raises UnreadableSignals."""
        self.names = tuple(signal.name for signal in signals)
        self._blocks = plan_blocks(signals, atomic, limits)
        self.requests = [PlannedRequest(block) for block in self._blocks]
        self._is_learned = False

    @property
    def registers(self) -> int:
        """Registers (or bits) that one read moves."""
        return sum(request.block.count for request in self.requests)

    def split(self, request: PlannedRequest) -> list[PlannedRequest]:
        """Put two smaller requests in the place of a refused one and return them; none where it cannot get smaller."""
        halves = split_block(request.block)
        if halves is None:
            return []
        smaller = [PlannedRequest(half) for half in halves]
        at = self.requests.index(request)
        self.requests[at : at + 1] = smaller
        self._is_learned = True
        return smaller

    def reset(self) -> None:
        """Forget what the device refused."""
        if self._is_learned:
            self.requests = [PlannedRequest(block) for block in self._blocks]
            self._is_learned = False
        for request in self.requests:
            request.rests_until_s = 0.0


def group_plan(profile: Profile, group: str) -> PollPlan:
    """The plan of one poll group. Raises UnreadableSignals."""
    members = [signal for signal in profile.signals.values() if group in signal.groups(profile)]
    return PollPlan(members, profile.atomic, profile.limits)


def full_plan(profile: Profile) -> PollPlan:
    """The plan that reads every signal once: for the first message after a start or an outage. Raises UnreadableSignals."""
    return PollPlan(list(profile.signals.values()), profile.atomic, profile.limits)
