"""What travels over MQTT: one struct a kind of message (contracts.md 2.1, 2.3, 2.4).

Telemetry, and what oee and alerts say, have modules of their own (telemetry.py, oee_messages.py, alert_messages.py).

Timestamps are text on the wire (times.py). Messages that must be kept carry `stream`, `seq` and `prev` of their sender's outbox.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from ..errors import Malformed
from .streams import Stamp
from .words import (
    CommsState,
    ConfigurationInUse,
    OrderState,
)

MAX_PAYLOAD_BYTES = 256 * 1024


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of every message: unknown keys are ignored, absent optional keys take their default."""


class Kept(Message, frozen=True, kw_only=True):
    """A message that goes through its sender's outbox and is confirmed once the database has it (contracts.md 2.4)."""

    stream: str | None = None
    seq: int | None = None
    prev: int | None = None


class Comms(Message, frozen=True, kw_only=True):
    """Can the device be reached?

    How well it keeps its intervals, since the gateway's start: reads of a poll group, those that began late by more than a tenth
    of their interval, turns passed over, and by how much the last ones began late on average; and `repeats`, the requests that were
    asked again because of a time-out, a spoiled answer or a busy device: a bad line shows itself there. A device that sends
    messages by itself has none of these, but `refused`: its messages that could not be read.
    """

    device_id: str
    state: CommsState
    since: str
    timestamp: str
    gateway: str
    reason: str | None = None
    round_trip_ms: float | None = None
    cycles: int | None = None
    late_cycles: int | None = None
    missed_cycles: int | None = None
    lateness_ms: float | None = None
    repeats: int | None = None
    refused: int | None = None


class PlantInUse(Message, frozen=True, kw_only=True):
    """The version of the plant model that a service runs on, since when (of these files), and how many devices it has.

    `reads`: the version of each part that this service makes use of: `plant` (plant.yaml with the profiles), `share` (what this
    gateway needs of them), `calendar`, `alert_rules`.
    """

    version: str
    devices: int
    accepted_at: str = ""
    reads: dict[str, str] = {}


class Mark(Message, frozen=True, kw_only=True):
    """A place in a sender's messages: everything up to this number of this stream, and of the streams before it, but for `waiting`.

    waiting: what was not confirmed then, as stream, first and last number.
    """

    stream: str
    seq: int
    waiting: list[tuple[str, int, int]] = []


class Sent(Message, frozen=True, kw_only=True):
    """What an outbox believes: everything up to `upto` is confirmed. `held`, `store`: what a store last said of itself (Held)."""

    upto: Mark
    held: Mark | None = None
    store: str = ""


class Held(Message, frozen=True, kw_only=True):
    """What a store holds of a sender: everything up to `mark`, which was noted at that time; None: it knows nothing of it.

    store: which database this is, and since when it runs; with another word some of what was confirmed may be missing in it.
    """

    store: str
    mark: Mark | None = None
    noted: str | None = None


class Status(Message, frozen=True, kw_only=True):
    """How a service is. As last will only `alive` (false) matters. `figures` are depths, lags and counts by name.

    `host`: where it runs. `sent`: of a service with an outbox. `trusts`: fingerprints of the authorities by which it trusts the
    broker, where it uses TLS. `notes` say in words what a person may want to know although nothing is wrong.
    """

    service: str
    instance: str
    alive: bool
    timestamp: str = ""
    version: str = ""
    started: str = ""
    host: str = ""
    taking: bool | None = None
    configuration: ConfigurationInUse = ConfigurationInUse.CURRENT
    plant: PlantInUse | None = None
    problems: list[str] = []
    notes: list[str] = []
    figures: dict[str, float] = {}
    trusts: list[str] = []
    sent: Sent | None = None


class Ledger(Kept, frozen=True, kw_only=True):
    """One loss, exact to the message: what of which stream, between which event times, and why.

    at_least: more may be gone than `count`, and nobody can say how many: the file that would tell is damaged.
    cause: a word, but no closed set (words.py): an entry counts whatever its cause is called.
    """

    timestamp: str
    service: str
    instance: str
    count: int
    cause: str
    device_id: str | None = None
    lost_stream: str | None = None
    lost_seqs: list[tuple[int, int]] = []
    first: str | None = None
    last: str | None = None
    at_least: bool = False


class Stored(Message, frozen=True, kw_only=True):
    """These messages of one stream are safe: the database or the dead letters have them. Ranges are inclusive.

    held: what the database holds of the sender in all, in answer to its status.
    """

    stream: str
    seqs: list[tuple[int, int]]
    held: Held | None = None


class ContextState(Message, frozen=True, kw_only=True):
    """The order in force for a line or device, since when, and how it stands; without `order` there is none."""

    timestamp: str
    order: str | None = None
    state: OrderState | None = None
    since: str | None = None
    product: str | None = None
    target_parts: int | None = None
    ideal_cycle_s: float | None = None


M = TypeVar("M", bound=Message)

_encoder = msgspec.json.Encoder()


def encode(message: Message) -> bytes:
    """JSON, UTF-8."""
    return _encoder.encode(message)


def numbered(message: Kept) -> Callable[[Stamp], bytes]:
    """`Draft.encode` for the outbox: called when the message gets its number."""

    def encode_with_number(stamp: Stamp) -> bytes:
        return _encoder.encode(msgspec.structs.replace(message, stream=stamp.stream, seq=stamp.seq, prev=stamp.prev))

    return encode_with_number


class _Decoders(dict[type[Message], "msgspec.json.Decoder[Any]"]):
    def __missing__(self, kind: type[Message]) -> msgspec.json.Decoder[Any]:
        self[kind] = decoder = msgspec.json.Decoder(kind)
        return decoder


_decoders = _Decoders()


def decode(kind: type[M], payload: bytes) -> M:
    """The message, or Malformed with what is wrong and where in it."""
    check_size(payload)
    try:
        message: M = _decoders[kind].decode(payload)
    except msgspec.ValidationError as error:
        raise Malformed("schema", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # deep nesting is one too
        raise Malformed("not_json", f"not JSON: {error}") from error
    return message


def check_size(payload: bytes) -> None:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise Malformed("too_large", f"{len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} are allowed")
