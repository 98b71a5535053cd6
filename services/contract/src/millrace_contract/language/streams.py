"""Streams: the gap-free numbering of one outbox's messages, as it stands in a message and in a stream's name (contracts.md 2.4)."""

from typing import NamedTuple


class Stamp(NamedTuple):
    """What a message gets when it is numbered. `prev`: the seq of the message before it in the same device's chain.

    timestamp_ms: when it was read, moved so that a device's timestamps strictly increase. is_uncertain: the clock
    stands behind an earlier reading of this device, so the timestamp is not to be trusted.
    """

    stream: str
    seq: int
    prev: int | None
    timestamp_ms: int
    is_uncertain: bool


def stream_name(sender: str, token: str, clock_steps: int) -> str:
    """The name of a stream. It says how often the clock of this outbox has stepped back too far, where it has."""
    return f"{sender}.{token}" + (f"+{clock_steps}" if clock_steps else "")


def clock_steps(stream: str) -> int:
    """How often the clock had stepped back too far before this stream began; 0 for a name that does not say.

    Two streams may have readings from the same time of a clock, even the same millisecond: this tells them apart.
    """
    _, plus, count = stream.rpartition("+")
    return int(count) if plus and count.isascii() and count.isdigit() else 0
