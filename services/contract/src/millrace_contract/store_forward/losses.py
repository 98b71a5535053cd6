"""What the ledger says about messages that are gone: one loss an entry, exact to the message."""

from collections.abc import Callable

import msgspec

from ..language.messages import Ledger, encode
from ..language.streams import Stamp
from ..language.times import format_timestamp
from .numbering import Draft
from .ranges import Range, merge_ranges


class Loss(msgspec.Struct, frozen=True):
    """One entry of the ledger: `count` messages of `device`, of event times first_ms to last_ms, are gone because of `cause`.

    seqs: what this outbox dropped of the stream in the same moments, messages of other devices included, because a device's own
    numbers would be thousands of ranges. So each number in it is lost, and none of this device's numbers there was kept. The
    union over all entries is exactly what is lost, and so is the sum of the counts. Empty where the messages never had a number.
    at_least: more may be gone than `count`; nobody can say how many.
    """

    stream: str
    device: str | None
    seqs: list[Range]
    first_ms: int
    last_ms: int
    count: int
    cause: str
    at_least: bool = False

    @property
    def kind(self) -> tuple[str, str | None, str]:
        """Losses of one kind can be told in one entry."""
        return self.stream, self.device, self.cause

    def union(self, other: "Loss") -> "Loss":
        """Both in one; they must be of one kind."""
        return Loss(
            self.stream,
            self.device,
            merge_ranges([*self.seqs, *other.seqs]),
            min(self.first_ms, other.first_ms),
            max(self.last_ms, other.last_ms),
            self.count + other.count,
            self.cause,
            self.at_least or other.at_least,
        )


def too_large(draft: Draft, stamp: Stamp) -> Loss:
    """A message that got this number and can't be sent."""
    return Loss(stamp.stream, draft.device, [(stamp.seq, stamp.seq)], stamp.timestamp_ms, stamp.timestamp_ms, 1, "too_large")


EncodeLoss = Callable[[Loss, Stamp], bytes]


def ledger_encoder(service: str, instance: str) -> EncodeLoss:
    """How a loss becomes a ledger message of this service."""

    def encode_loss(loss: Loss, stamp: Stamp) -> bytes:
        return encode(
            Ledger(
                timestamp=format_timestamp(stamp.timestamp_ms),
                service=service,
                instance=instance,
                count=loss.count,
                cause=loss.cause,
                at_least=loss.at_least,
                device_id=loss.device,
                lost_stream=loss.stream,
                lost_seqs=loss.seqs,
                first=format_timestamp(loss.first_ms),
                last=format_timestamp(loss.last_ms),
                stream=stamp.stream,
                seq=stamp.seq,
                prev=stamp.prev,
            )
        )

    return encode_loss
