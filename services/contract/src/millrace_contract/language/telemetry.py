"""The telemetry message (contracts.md 2.2): what a device's read, or a third party's sensor, says on its topic."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, cast

import msgspec

from ..errors import Malformed
from .assets import SIGNAL_PATTERN
from .field_names import SUFFIXES
from .messages import check_size
from .streams import Stamp, sender_of
from .times import EXAMPLE, FORM, FUTURE_LIMIT_MS, OLDEST_MS, format_timestamp, parse_timestamp
from .words import Quality

Value = float | str
"""A reading as the database returns it: float64 (a boolean is 0.0 or 1.0) or text."""

MAX_TEXT_BYTES = 1024
MAX_NAME_CHARACTERS = 128
MAX_TAGS = 16
MAX_REFUSED_BYTES = 16 * 1024
"""What is kept of a message that a gateway could not read."""
MAX_HOLD_S = 600
"""The longest that a sender may promise its readings to hold."""
TOPIC_TAGS = frozenset({"line", "device"})
"""Tags that the topic gives; what a message says of them is ignored, because access rules protect topics."""


class Telemetry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A checked message. Event time in ms; readings canonical; `quality` holds only `bad` and `uncertain`.

    hold_ms: how long the readings are in force if nothing follows; None: as the profile says (`plant.holds`).
    unreachable: its gateway is alive and asks, and the device does not answer: silence that was watched.
    unknown_keys: what the schema does not know and nobody reads.
    """

    timestamp_ms: int
    readings: dict[str, Value]
    quality: dict[str, Quality]
    tags: dict[str, str]
    device_id: str | None = None
    stream: str | None = None
    seq: int | None = None
    prev: int | None = None
    backfill: bool = False
    hold_ms: int | None = None
    unreachable: bool = False
    unknown_keys: frozenset[str] = frozenset()


_ENDS_UNLIKE = "".join(f"(?<!{suffix})" for suffix in SUFFIXES)
_NAME = {"pattern": r"^(?!_)(?!time$)[^\x00-\x1f\x7f]{1,128}" + _ENDS_UNLIKE + r"(?<!\\)$"}
_TAG = {"pattern": r"^(?!_)(?!(time|field)$)[^\x00-\x1f\x7f]{1,128}(?<!\\)$"}


def _schema(**keywords: Any) -> msgspec.Meta:
    """What the checks below demand, said to others in JSON Schema; the checks themselves answer in better words."""
    return msgspec.Meta(extra_json_schema=keywords)


class TelemetryMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Telemetry as it stands on the wire: readings by signal, or one `signal_name` with its `value`."""

    timestamp: Annotated[str, _schema(format="date-time", pattern=FORM.pattern)]
    device_id: str | None = None
    readings: (
        Annotated[dict[str, float | bool | Annotated[str, _schema(maxLength=MAX_TEXT_BYTES)] | None], _schema(propertyNames=_NAME)]
        | None
    ) = None
    quality: (
        Annotated[dict[str, Annotated[str, _schema(enum=list(Quality))]], _schema(propertyNames=_NAME)]
        | Annotated[str, _schema(enum=list(Quality))]
        | None
    ) = None
    tags: (
        Annotated[
            dict[str, Annotated[str, _schema(pattern=r"^[^\x00-\x1f\x7f]{1,256}(?<!\\)$")]],
            _schema(propertyNames=_TAG, maxProperties=MAX_TAGS),
        ]
        | None
    ) = None
    stream: Annotated[str, _schema(maxLength=160)] | None = None
    seq: Annotated[int, _schema(minimum=0, maximum=2**53)] | None = None
    prev: Annotated[int, _schema(minimum=0, maximum=2**53)] | None = None
    backfill: bool = False
    hold_s: Annotated[float, msgspec.Meta(gt=0, le=MAX_HOLD_S)] | None = None
    unreachable: bool = False
    # The article's form: one reading a message.
    signal_name: Annotated[str, _schema(**_NAME)] | None = None
    value: float | bool | Annotated[str, _schema(maxLength=MAX_TEXT_BYTES)] | None = None
    # What a gateway could not read of a sensor that speaks MQTT itself: why, and the payload as it came.
    refused: str | None = None
    payload: str | None = None


class _WithoutUnknownKeys(TelemetryMessage, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What almost every message is, so that only the others are looked through for keys that we do not know."""


_usual_decoder = msgspec.json.Decoder(_WithoutUnknownKeys)
_decoder = msgspec.json.Decoder(TelemetryMessage)
_keys_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()
_KNOWN_KEYS = frozenset(TelemetryMessage.__struct_fields__)
_NUMBERS: Final = {float}
_NAMES_REMEMBERED: Final = 65_536
_good_names: set[str] = set()
"""Names of signals that were checked: the same ones come again and again. Bounded, because a stranger may invent them."""


def canonical(value: float | bool | str) -> Value:
    """What the database will return for this reading; everybody computes with that. Raises ValueError on NaN and infinity."""
    if isinstance(value, str):
        return value
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is not a number that can be stored")
    return number


def decode_telemetry(payload: bytes, now_ms: int, device: str | None = None) -> Telemetry:
    """The checked message. `device` is the topic's; `now_ms` the receiver's clock, for what is too far ahead.

    Raises Malformed with a reason in words and a code: not_json, schema, too_large, timestamp, future, past, device, signal,
    value, quality, tags, identity, or sensor: what its gateway could not read.
    """
    check_size(payload)
    wire, unknown_keys = _parsed(payload)
    if device is not None and wire.device_id is not None and wire.device_id != device:
        raise Malformed("device", f"device_id is {wire.device_id!r}, but the topic is of device {device!r}")
    if wire.refused is not None:
        raise Malformed("sensor", wire.refused)
    readings, quality = _readings(wire)
    stream, seq, prev = _identity(wire)
    return Telemetry(
        timestamp_ms=_timestamp(wire.timestamp, now_ms),
        readings=readings,
        quality=quality,
        tags=_tags(wire.tags),
        device_id=wire.device_id,
        stream=stream,
        seq=seq,
        prev=prev,
        backfill=wire.backfill,
        hold_ms=None if wire.hold_s is None else round(wire.hold_s * 1000),
        unreachable=wire.unreachable,
        unknown_keys=unknown_keys,
    )


def believed(message: Telemetry, gateways: Container[str]) -> Telemetry:
    """The message where its stream, if it has one, is of one of these gateways of its device; else as one without a stream."""
    if message.stream is None or sender_of(message.stream) in gateways:
        return message
    return msgspec.structs.replace(message, stream=None, seq=None, prev=None)


def encode_telemetry(
    *,
    device_id: str,
    timestamp_ms: int,
    readings: Mapping[str, float | bool | str],
    quality: Mapping[str, str],
    tags: Mapping[str, str],
    stream: str | None = None,
    seq: int | None = None,
    prev: int | None = None,
    hold_s: float | None = None,
    unreachable: bool = False,
) -> bytes:
    """The message as it goes into the outbox. The forwarder alone adds `backfill`."""
    return _encoder.encode(
        TelemetryMessage(
            device_id=device_id,
            timestamp=format_timestamp(timestamp_ms),
            # Encoded at once and let go: a copy of a hundred readings would cost as much as their numbers.
            readings=cast("dict[str, float | bool | str | None]", readings),
            quality=cast("dict[str, str]", quality) or None,
            tags=cast("dict[str, str]", tags) or None,
            stream=stream,
            seq=seq,
            prev=prev,
            hold_s=hold_s,
            unreachable=unreachable,
        )
    )


def encode_refusal(device_id: str, stamp: Stamp, reason: str, payload: bytes) -> bytes:
    """A message that a sensor sent on a topic of its own and that nobody can read, for the dead letters."""
    return _encoder.encode(
        TelemetryMessage(
            device_id=device_id,
            timestamp=format_timestamp(stamp.timestamp_ms),
            refused=reason,
            payload=payload[:MAX_REFUSED_BYTES].decode(errors="backslashreplace"),
            stream=stamp.stream,
            seq=stamp.seq,
            prev=stamp.prev,
        )
    )


def _parsed(payload: bytes) -> tuple[TelemetryMessage, frozenset[str]]:
    """The message and the keys that the schema does not know."""
    try:
        return _usual_decoder.decode(payload), frozenset()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass  # It has an unknown key, or the next decoder refuses it too, in better words.
    try:
        try:
            message = _decoder.decode(payload)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            payload = without_nan(payload)
            message = _decoder.decode(payload)
        return message, frozenset(_keys_decoder.decode(payload)) - _KNOWN_KEYS
    except msgspec.ValidationError as error:
        raise Malformed("schema", _in_words(str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # deep nesting is one too
        raise Malformed("not_json", f"not JSON: {error}") from error


_NO_NUMBER: Final = re.compile(rb'"(?:\\.|[^"\\])*"|[-+]?\b(?:nan|inf|infinity)\b', re.IGNORECASE | re.DOTALL)
"""Texts, so as to pass over them, and what printf and others make of a float that is no number."""


def without_nan(payload: bytes) -> bytes:
    """The JSON text with null in place of NaN and infinity, which are no JSON and yet come: each costs only its own reading."""
    return _NO_NUMBER.sub(lambda found: found[0] if found[0].startswith(b'"') else b"null", payload)


def _in_words(problem: str) -> str:
    """What the sender should change, where that is known."""
    if problem.endswith("`$.timestamp`") or "field `timestamp`" in problem:
        return f"{problem}: the timestamp must be text like {EXAMPLE}"
    if "`$.readings" in problem:
        return f'{problem}: readings must be an object of numbers, booleans or texts by signal, as {{"temperature": 68.7}}'
    return problem


def _timestamp(text: str, now_ms: int) -> int:
    try:
        timestamp_ms = parse_timestamp(text)
    except ValueError as error:
        raise Malformed("timestamp", str(error)) from error
    if timestamp_ms > now_ms + FUTURE_LIMIT_MS:
        ahead_s = (timestamp_ms - now_ms) // 1000
        raise Malformed("future", f"timestamp {text} is {ahead_s} s ahead of this server's clock; at most 60 s are allowed")
    if timestamp_ms < OLDEST_MS:
        raise Malformed("past", f"timestamp {text} is before 2000: the sender's clock was never set")
    return timestamp_ms


def _readings(wire: TelemetryMessage) -> tuple[dict[str, Value], dict[str, Quality]]:
    raw = wire.readings
    quality = wire.quality
    if wire.signal_name is not None:
        if raw is not None:
            raise Malformed("schema", "has both readings and signal_name; use one of the two")
        raw = {} if wire.value is None else {wire.signal_name: wire.value}
        quality = {wire.signal_name: quality} if isinstance(quality, str) else quality
        if wire.value is None and not quality:
            raise Malformed("schema", "has a signal_name but no value; a value that is not there has the quality bad")
    if raw is None:
        raise Malformed("schema", 'Object missing required field `readings`: they stand by signal, as {"temperature": 68.7}')
    if isinstance(quality, str):
        raise Malformed("quality", "quality as one word goes with signal_name; with readings it is an object")
    _check_names(raw)
    # Nearly all messages are numbers throughout, which the decoder has made floats; JSON has neither NaN nor infinity.
    checked = _quality(quality) if quality else {}
    if _NUMBERS.issuperset(map(type, raw.values())):
        return cast("dict[str, Value]", raw), checked
    for name, value in raw.items():
        if value is None:
            checked[name] = Quality.BAD
    return {name: _value(name, value) for name, value in raw.items() if value is not None}, checked


def _value(name: str, value: float | bool | str) -> Value:
    if isinstance(value, str) and len(value.encode()) > MAX_TEXT_BYTES:
        raise Malformed("value", f"text of {name!r} is longer than {MAX_TEXT_BYTES} bytes")
    return canonical(value)


_QUALITIES: Final = {quality.value: quality for quality in Quality}


def _quality(quality: dict[str, str]) -> dict[str, Quality]:
    _check_names(quality)
    for name, word in quality.items():
        if word not in _QUALITIES:
            raise Malformed("quality", f"quality of {name!r} is {word[:20]!r}, not {', '.join(Quality)}")
    return {name: _QUALITIES[word] for name, word in quality.items() if word != Quality.GOOD}


def _check_names(names: Iterable[str]) -> None:
    if _good_names.issuperset(names):
        return
    for name in names:
        _check_name(name)
    if len(_good_names) >= _NAMES_REMEMBERED:
        _good_names.clear()
    _good_names.update(names)


def _check_name(name: str) -> None:
    if not name or len(name) > MAX_NAME_CHARACTERS or name[0] == "_" or not name.isprintable():
        raise Malformed("signal", f"signal name {name[:40]!r} must be 1 to 128 printable characters and not start with _")
    if name.endswith((*SUFFIXES, "\\")) or name == "time":
        raise Malformed("signal", f"signal name {name!r} is taken by the database; choose another, like {SIGNAL_PATTERN}")


def _tags(tags: dict[str, str] | None) -> dict[str, str]:
    return dict(_checked_tags(tuple(tags.items()))) if tags else {}


@lru_cache(maxsize=4_096)
def _checked_tags(tags: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """A device's tags change seldom."""
    if len(tags) > MAX_TAGS:
        raise Malformed("tags", f"{len(tags)} tags; at most {MAX_TAGS} are allowed")
    for key, value in tags:
        if not key or len(key) > MAX_NAME_CHARACTERS or key[0] == "_" or not key.isprintable() or key in ("time", "field"):
            raise Malformed("tags", f"tag name {key[:40]!r} must be 1 to 128 printable characters, not start with _, not be time")
        if not value or len(value) > 256 or not value.isprintable() or "\\" in (key[-1], value[-1]):
            raise Malformed("tags", f"value of tag {key!r} must be 1 to 256 printable characters and not end in a backslash")
    return tuple((key, value) for key, value in tags if key not in TOPIC_TAGS)


def _identity(wire: TelemetryMessage) -> tuple[str, int, int | None] | tuple[None, None, None]:
    if wire.stream is None or wire.seq is None:
        return None, None, None
    numbered = 0 <= wire.seq <= 2**53 and (wire.prev is None or 0 <= wire.prev <= 2**53)
    if not numbered or len(wire.stream) > 160 or not wire.stream.isprintable():
        raise Malformed("identity", "seq and prev must be 0 to 2**53 and stream a text of at most 160 characters")
    return wire.stream, wire.seq, wire.prev
