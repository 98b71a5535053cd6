"""Streams: the gap-free numbering of one outbox's messages, as it stands in a message and in a stream's name (contracts.md 2.4).

Whose stream it is, its name says. Access rules protect topics, not names: a stream is believed only from who may speak as it.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from .assets import SEGMENT_PATTERN

GATEWAY = "gateway"
INGEST = "ingest"
_SENDER = re.compile(SEGMENT_PATTERN)


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


def sender_name(service: str, instance: str) -> str:
    """Who sends from the outbox of this service: a gateway by its own name, others as `oee-1`."""
    return instance if service == GATEWAY else f"{service}-{instance}"


@lru_cache(maxsize=4_096)
def sender_of(stream: str) -> str | None:
    """Whose stream it is: the name up to its last dot. None where that is no name that can stand in a topic."""
    sender, dot, _ = stream.rpartition(".")
    return sender if dot and _SENDER.fullmatch(sender) else None


def may_tell_of_losses(service: str, instance: str, stream: str) -> bool:
    """Who may say that messages of a stream are lost: its sender, or an ingest, which keeps what broke the contract."""
    return service == INGEST or sender_of(stream) == sender_name(service, instance)


def clock_steps(stream: str) -> int:
    """How often the clock had stepped back too far before this stream began; 0 for a name that does not say.

    Two streams may have readings from the same time of a clock, even the same millisecond: this tells them apart.
    """
    _, plus, count = stream.rpartition("+")
    return int(count) if plus and count.isascii() and count.isdigit() else 0
