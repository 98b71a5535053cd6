"""From a message on a topic to a line of the database, or to the reason why not. Pure.

The topic is the identity, because access rules protect topics: what a payload says of its asset must agree with it. For a device
of the plant model only a gateway speaks that it names for it, or named before, in a stream of its own (contracts.md 2.2).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from millrace_contract.errors import Malformed
from millrace_contract.language import measurements, points
from millrace_contract.language.alert_messages import AlertEvent
from millrace_contract.language.assets import SEGMENT_PATTERN, segment_problem
from millrace_contract.language.entries import decode_entry
from millrace_contract.language.measurements import PRODUCTION_BUCKET, TELEMETRY_BUCKET
from millrace_contract.language.messages import Kept, Ledger, Sent, Status, decode
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval
from millrace_contract.language.streams import sender_of
from millrace_contract.language.telemetry import Telemetry, believed, decode_telemetry
from millrace_contract.language.times import FUTURE_LIMIT_MS, OLDEST_MS, parse_timestamp
from millrace_contract.language.topics import PLATFORM, Kind, Topic, Topics
from millrace_contract.plant import PlantModel
from millrace_contract.plant.known_devices import FOREIGN, KnownDevices, with_plant

from .confirmations import Identity
from .signal_limit import SignalLimit

STORED_KINDS = (
    Kind.TELEMETRY,
    Kind.OEE,
    Kind.OEE_WINDOW,
    Kind.OEE_INTERVAL,
    Kind.ALERT_EVENT,
    Kind.CONTEXT_EVENT,
    Kind.LEDGER,
    Kind.STATUS,
)
_NAME = re.compile(SEGMENT_PATTERN)
_NOTHING: frozenset[str] = frozenset()
_RETAINED_KINDS = frozenset({Kind.OEE, Kind.STATUS})
SIGNALS_MAX = 2_000
_SALVAGE_BYTES = 1024 * 1024
"""Larger payloads are not searched for the identity of their message."""


class Accepted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A message as a line. `identity` only where its outbox is believed; `doubted` where it named one that is not.

    `sent`: what the status of a sender says of its outbox. `signals`: a hash of the readings' names, which with device and time
    identify telemetry without an identity.
    """

    topic: Topic
    bucket: str
    line: bytes
    identity: Identity | None
    time_ms: int
    prev: int | None = None
    backfill: bool = False
    doubted: bool = False
    declared: bool = True
    unknown_keys: int = 0
    signals: int = 0
    sent: Sent | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A dead letter to be: `code` for counting, `reason` for a person."""

    code: str
    reason: str
    device: str | None = None
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing to store: a retained topic was cleared (`cleared`), or the plant refuses this device (`refused`)."""

    why: str
    device: str | None = None


Verdict = Accepted | Rejected | Ignored


class Decoder:
    """Knows one plant model: a new one is a new decoder. Of what it decoded only `signals` remembers something."""

    def __init__(self, plant: PlantModel, signals: SignalLimit | None = None, known: KnownDevices | None = None) -> None:
        self._plant = plant
        self._known = with_plant(known or {}, plant)
        self._declared = {device: frozenset(plant.profile_of(device).signals) for device in plant.devices}
        self._signals = signals or SignalLimit(SIGNALS_MAX)
        self._below_platform = re.compile(f"{re.escape(plant.root)}/{PLATFORM}/({SEGMENT_PATTERN})/{Kind.TELEMETRY}")
        # Topics come again and again; the cache is bounded, because a stranger may invent them.
        self._parse = lru_cache(maxsize=16_384)(_parser(Topics(plant.root)))

    def decode(self, topic: str, payload: bytes, now_ms: int) -> Verdict:
        """What to do with a message that is here at `now_ms`. Never raises: everything wrong with it is a Rejected."""
        parsed = self._parse(topic)
        if isinstance(parsed, str):
            return self._no_topic(topic, parsed)
        if not payload and parsed.kind in _RETAINED_KINDS:
            return Ignored("cleared", parsed.device)
        try:
            if parsed.kind is Kind.TELEMETRY:
                return self._telemetry(parsed, payload, now_ms)
            return _document(parsed, payload, now_ms)
        except Malformed as refused:
            return self._rejected(parsed, payload, refused.code, refused.reason)
        except ValueError as error:
            return self._rejected(parsed, payload, "value", str(error))
        except RecursionError:
            return self._rejected(parsed, payload, "not_json", "JSON that is nested too deeply")

    def _telemetry(self, topic: Topic, payload: bytes, now_ms: int) -> Verdict:
        line, device_id = topic.line or "", topic.device or ""
        known = self._known.get(device_id)
        is_declared = device_id in self._plant.devices
        if known is None and self._plant.undeclared == "refuse":
            return Ignored("refused", device_id)
        said = decode_telemetry(payload, now_ms, device_id)
        if known is not None and is_declared and (objection := known.objection(device_id, line, said.stream)):
            raise Malformed(FOREIGN, objection)
        message = believed(said, known.gateways if known else ())
        identity = _identity(message)
        if not is_declared and identity is None and self._plant.undeclared != "store":
            if self._plant.undeclared == "refuse":
                return Ignored("refused", device_id)
            raise Malformed("undeclared", f"device {device_id} is not in plant.yaml, which says to park such devices")
        # What the profile declares needs no limit, and a stranger on the topic must not use up a machine's.
        declared = self._declared.get(device_id, _NOTHING)
        if not (message.readings.keys() <= declared and message.quality.keys() <= declared):
            self._signals.check(device_id, (message.readings.keys() | message.quality.keys()) - declared)
        measurement = known.profile_at(message.timestamp_ms) if known and (is_declared or identity) else measurements.UNDECLARED
        return Accepted(
            topic=topic,
            bucket=TELEMETRY_BUCKET,
            line=points.telemetry_line(measurement, line, device_id, message),
            identity=identity,
            time_ms=message.timestamp_ms,
            prev=message.prev if identity else None,
            backfill=message.backfill,
            doubted=message is not said,
            declared=measurement != measurements.UNDECLARED,
            unknown_keys=len(message.unknown_keys),
            signals=hash(frozenset(message.readings)) if identity is None else 0,
        )

    def _no_topic(self, topic: str, problem: str) -> Rejected:
        """A sensor that may write its device below any line may try `_platform`, too, where our services speak."""
        if (device := self._below_platform.fullmatch(topic)) is not None:
            return Rejected(FOREIGN, f"topic {topic[:200]!r}: no device stands below {PLATFORM}", device[1])
        return Rejected("topic", f"topic {topic[:200]!r}: {problem}")

    def _rejected(self, topic: Topic, payload: bytes, code: str, reason: str) -> Rejected:
        identity = identity_in(payload)
        if identity is not None and topic.kind is Kind.TELEMETRY:
            known = self._known.get(topic.device or "")
            identity = identity if known and sender_of(identity.stream) in known.gateways else None
        return Rejected(code, reason, topic.device, identity)


def identity_in(payload: bytes) -> Identity | None:
    """Stream and seq of a message that did not decode, so that its sender can be told that the dead letter is safe."""
    if len(payload) > _SALVAGE_BYTES:
        return None
    try:
        # The standard library's parser, because it also reads NaN and what else breaks the contract's stricter one.
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    stream, seq = found.get("stream"), found.get("seq")
    if not isinstance(stream, str) or type(seq) is not int or not 0 <= seq <= 2**53 or sender_of(stream) is None:
        return None
    return Identity(stream, seq)


def _identity(message: Telemetry) -> Identity | None:
    return None if message.stream is None or message.seq is None else Identity(message.stream, message.seq)


def _parser(topics: Topics) -> Callable[[str], Topic | str]:
    def parse(text: str) -> Topic | str:
        """The topic taken apart, or what is wrong with it."""
        topic = topics.parse(text)
        if topic is None or topic.kind not in STORED_KINDS:
            return "is none that is stored"
        for asset in (topic.line, topic.device):
            if asset is not None and (problem := segment_problem(asset)):
                return f"{asset[:80]!r} {problem}"
        for name in (topic.rule, topic.service, topic.instance):  # a service may be called like an asset's topic: oee
            if name is not None and not _NAME.fullmatch(name):
                return f"{name[:80]!r} is no name of a rule, service or instance"
        return topic

    return parse


@dataclass(frozen=True, slots=True)
class _Built:
    """A document's line, its asset as the payload says it, and its time (0: it has none of its own)."""

    line: bytes
    message: Kept | Status
    asset: tuple[str | None, ...]
    time_ms: int


def _document(topic: Topic, payload: bytes, now_ms: int) -> Accepted:
    """A message of a service of ours; the broker's access rules say who may publish it, so its stream is believed."""
    built = _BUILDERS[topic.kind](topic, payload, now_ms)
    expected = (topic.service, topic.instance) if topic.service else (topic.line, topic.device)
    if built.asset != expected:
        raise Malformed("device", f"says it is of {built.asset}, but its topic is of {expected}")
    _check_time(built.time_ms, now_ms)
    kept = built.message if isinstance(built.message, Kept) else None
    identity = Identity(kept.stream, kept.seq) if kept and kept.stream is not None and kept.seq is not None else None
    return Accepted(
        topic=topic,
        bucket=TELEMETRY_BUCKET if topic.kind is Kind.OEE else PRODUCTION_BUCKET,
        line=built.line,
        identity=identity,
        time_ms=built.time_ms,
        sent=built.message.sent if isinstance(built.message, Status) else None,
    )


def _check_time(time_ms: int, now_ms: int) -> None:
    if time_ms > now_ms + FUTURE_LIMIT_MS:
        raise Malformed("future", f"is {(time_ms - now_ms) // 1000} s ahead of this server's clock; at most 60 s are allowed")
    if time_ms < OLDEST_MS:
        raise Malformed("past", "is dated before 2000: the sender's clock was never set")


def _oee(topic: Topic, payload: bytes, _now_ms: int) -> _Built:
    message = decode(OeeDocument, payload)
    device = message.device_id if isinstance(message.device_id, str) else None
    line = points.oee_live_line(message) if topic.kind is Kind.OEE else points.oee_window_line(message)
    return _Built(line, message, (message.line, device), parse_timestamp(message.timestamp))


def _interval(_topic: Topic, payload: bytes, _now_ms: int) -> _Built:
    message = decode(OeeInterval, payload)
    asset = (message.line, message.device_id)
    return _Built(points.oee_interval_line(message), message, asset, parse_timestamp(message.timestamp))


def _alert_event(_topic: Topic, payload: bytes, _now_ms: int) -> _Built:
    message = decode(AlertEvent, payload)
    asset = (message.line, message.device_id)
    return _Built(points.alert_event_line(message), message, asset, parse_timestamp(message.timestamp))


def _context_event(topic: Topic, payload: bytes, _now_ms: int) -> _Built:
    message = decode_entry(payload)
    line = points.context_event_line(topic.line or "", topic.device, message)
    return _Built(line, message, (topic.line, topic.device), parse_timestamp(message.timestamp))


def _ledger(_topic: Topic, payload: bytes, _now_ms: int) -> _Built:
    message = decode(Ledger, payload)
    asset = (message.service, message.instance)
    return _Built(points.ledger_line(message), message, asset, parse_timestamp(message.timestamp))


def _status(_topic: Topic, payload: bytes, now_ms: int) -> _Built:
    message = decode(Status, payload)
    # A last will was written when its sender connected: its time is that of its arrival.
    time_ms = parse_timestamp(message.timestamp) if message.timestamp else now_ms
    return _Built(points.platform_line(message, now_ms), message, (message.service, message.instance), time_ms)


_BUILDERS: Mapping[Kind, Callable[[Topic, bytes, int], _Built]] = {
    Kind.OEE: _oee,
    Kind.OEE_WINDOW: _oee,
    Kind.OEE_INTERVAL: _interval,
    Kind.ALERT_EVENT: _alert_event,
    Kind.CONTEXT_EVENT: _context_event,
    Kind.LEDGER: _ledger,
    Kind.STATUS: _status,
}
