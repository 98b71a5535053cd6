"""What becomes of the messages of a batch. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from millrace_contract.language.topics import Kind
from millrace_contract.runtime.mqtt.session import Received

from .confirmations import Identity
from .dead_letters import DeadLetter
from .decoder import Accepted, Ignored, Rejected, Verdict
from .losses import OwnLoss
from .rejects import Reject


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """A message with what is to become of it."""

    message: Received
    received_ms: int
    verdict: Verdict


@dataclass
class Sorted:
    """A batch by what becomes of its messages. `held` counts those that an outbox holds, `ownerless` telemetry that none does.

    sent: statuses that say what an outbox believes.
    """

    stored: list[Identity] = field(default_factory=list)
    bad: list[tuple[Arrival, Rejected]] = field(default_factory=list)
    sent: list[Accepted] = field(default_factory=list)
    unheld: list[tuple[Arrival, str | None]] = field(default_factory=list)
    refused: list[tuple[Arrival, str | None]] = field(default_factory=list)
    stored_count: int = 0
    forgotten: int = 0
    held: int = 0
    held_bad: int = 0
    ownerless: int = 0

    def add(self, arrival: Arrival, verdict: Verdict, *, is_stored: bool) -> None:
        match verdict:
            case Accepted(identity=identity):
                self.held += identity is not None
                self.ownerless += identity is None and verdict.topic.kind is Kind.TELEMETRY
                if verdict.sent is not None:
                    self.sent.append(verdict)
                if is_stored:
                    self.stored_count += 1
                    if identity is not None:
                        self.stored.append(identity)
                elif identity is not None:
                    self.forgotten += 1
                else:
                    self.unheld.append((arrival, verdict.topic.device))
            case Rejected(identity=identity):
                self.bad.append((arrival, verdict))
                self.held_bad += identity is not None
            case Ignored(why=why, device=device):
                if why == "refused":
                    self.refused.append((arrival, device))


def verdict_of(arrival: Arrival, reject: Reject | None) -> Verdict:
    """The decoder's verdict, or the database's where it refused what the decoder accepted."""
    verdict = arrival.verdict
    if reject is None or not isinstance(verdict, Accepted):
        return verdict
    return Rejected(reject.code, reject.reason, verdict.topic.device, verdict.identity)


def letter_of(arrival: Arrival, bad: Rejected) -> DeadLetter:
    topic, payload = arrival.message.topic, arrival.message.payload
    stream, seq = bad.identity or (None, None)
    return DeadLetter(topic, payload, bad.code, bad.reason, arrival.received_ms, bad.device, stream, seq)


def loss_of(cause: str, arrival: Arrival, device: str | None) -> OwnLoss:
    return OwnLoss(cause, device, arrival.received_ms, arrival.received_ms)
