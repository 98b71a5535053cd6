"""How messages become points in InfluxDB: line protocol, one line a message (contracts.md 2.6).

Numbers are floats, booleans 0/1; text and quality live in fields of their own with fixed suffixes, so that no type
conflict can happen. Lines carry nanoseconds: events that may share a millisecond are kept apart by their sequence number.
`measurements.py` lists every fixed measurement with its tags and fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from zlib import crc32

import msgspec

from .alert_messages import AlertEvent
from .assets import LINE_ITSELF
from .entries import Entry, kind_of, span_of
from .field_names import EMPTY_FIELD, HOLD_FIELD, PREV_FIELD, SEQ_FIELD, STREAM_FIELD, UNREACHABLE_FIELD, quality_field, text_field
from .measurements import DOCTOR, NOTES_MS, PACKML_CODES
from .messages import Kept, Ledger, Mark, Status
from .oee_messages import OeeDocument, OeeInterval
from .streams import clock_steps
from .telemetry import Telemetry, Value
from .times import parse_timestamp
from .words import ACTIVE, UNACKNOWLEDGED

HOUR_MS = 3_600_000

_PREV_KEY, _HOLD_KEY, _EMPTY_KEY = PREV_FIELD.encode(), HOLD_FIELD.encode(), EMPTY_FIELD.encode()
_UNREACHABLE_KEY = UNREACHABLE_FIELD.encode()


_encode = msgspec.json.Encoder().encode


def telemetry_line(measurement: str, line: str, device: str, message: Telemetry) -> bytes:
    """One line: a field a reading, a quality field for each signal that is not good, and the message's identity."""
    fields = [_reading_fields(message.readings)] if message.readings else []
    if message.quality:
        fields += [_quality_key(name) + _text(word).encode() for name, word in message.quality.items()]
    if message.stream is not None and message.seq is not None:
        fields.append(b"%b%d" % (_stream_field(message.stream), message.seq))
        if message.prev is not None:
            fields.append(b"%b=%d" % (_PREV_KEY, message.prev))
    if message.unreachable:
        fields.append(_UNREACHABLE_KEY + b"=1")
    if not fields:
        fields.append(_EMPTY_KEY + b"=1")
    if message.hold_ms is not None:
        fields.append(b"%b=%d" % (_HOLD_KEY, message.hold_ms))
    prefix = _telemetry_prefix(measurement, line, device, tuple(message.tags.items()))
    return b"%b %b %d%b" % (prefix, b",".join(fields), message.timestamp_ms, _below_ms(message.stream))


def _reading_fields(readings: Mapping[str, Value]) -> bytes:
    # The encoder writes all numbers at once, each in the fewest digits that give it back; only texts need a look of their own.
    values = _encode(list(readings.values()))
    if b'"' not in values:
        return _fields_of(tuple(readings)) % tuple(values[1:-1].split(b","))
    return b",".join(
        _text_key(name) + _text(value).encode() if isinstance(value, str) else _key(name) + repr(value).encode()
        for name, value in readings.items()
    )


@lru_cache(maxsize=512)
def _fields_of(names: tuple[str, ...]) -> bytes:
    """What a message with these numeric signals looks like, for % to fill in: the same signals come again and again."""
    return b",".join(_key(name).replace(b"%", b"%%") + b"%b" for name in names)


def oee_live_line(document: OeeDocument) -> bytes:
    """The shift in progress, at the event time up to which it is true."""
    return _oee_line("oee_live", (), document, parse_timestamp(document.timestamp))


def oee_window_line(document: OeeDocument) -> bytes:
    """An ended window, at its start: a later revision overwrites the earlier one."""
    start_ms = parse_timestamp(document.window.start)
    return _oee_line("oee_window", (("kind", document.window.kind),), document, start_ms)


def oee_interval_line(interval: OeeInterval) -> bytes:
    start_ms = parse_timestamp(interval.start)
    end_ms = parse_timestamp(interval.end) if interval.end else None
    values: dict[str, Value | None] = {
        "id_text": interval.id,
        "state_text": interval.state,
        "state_code": float(PACKML_CODES[interval.state]),
        "leaf_text": interval.leaf,
        # A later revision may take back what an earlier one said: an empty text writes over it.
        "reason_text": interval.reason or "",
        "reason_by_text": interval.reason_by or "",
        "attributed_to_text": interval.attributed_to or "",
        "incident_text": interval.incident or "",
        "pieces_text": _encode(interval.pieces).decode() if interval.pieces else "",
        "end_ms": end_ms,
        "duration_ms": end_ms - start_ms if end_ms is not None else None,
        "planned_ms": interval.planned_ms,
        "pending": float(interval.pending),
        "assumed": float(interval.assumed),
        "code_text": interval.code or "",
        # Better knowledge did away with it: it ends where it starts. Readers leave it out.
        "withdrawn": float(end_ms == start_ms),
        "revision": float(interval.revision),
    }
    tags = (("line", interval.line), ("device", interval.device_id), ("kind", interval.kind))
    beside = 0
    if (step := interval.step) is not None:
        values |= {
            "counter_text": step.counter,
            "event_text": step.event,
            "verdict_text": step.verdict or "",
            "from_value": float(step.from_value),
            "to_value": float(step.to_value),
            "parts": float(step.parts),
            "counted": float(step.counted),
        }
        beside = crc32(interval.id.encode()) % 1_000_000  # several counters step between the same readings
    return _line("oee_interval", tags, values, start_ms, interval, below_ms=beside)


def alert_event_line(event: AlertEvent) -> bytes:
    value = event.value
    values: dict[str, Value | None] = {
        "event_seq": float(event.event_seq),
        "from_state_text": event.from_state,
        "to_state_text": event.to_state,
        "cause_text": event.cause,
        "priority_text": event.priority or "",
        "active": float(event.to_state in ACTIVE),
        "unacked": float(event.to_state in UNACKNOWLEDGED),
        "occurrence_text": event.occurrence or "",
        "actor_text": event.actor,
        "comment_text": event.comment,
        "value": value if isinstance(value, float) else None,
        "value_text": value if isinstance(value, str) else None,
        "document_text": msgspec.json.encode(event).decode(),
    }
    tags = (("line", event.line or LINE_ITSELF), ("device", event.device_id or LINE_ITSELF), ("rule", event.rule))
    return _line("alert_event", tags, values, parse_timestamp(event.timestamp), event, apart=True)


def context_event_line(line: str, device: str | None, entry: Entry) -> bytes:
    """An entry, at the time at which it was entered, with the time that it speaks of. It is kept whole, so as to be read back."""
    span = span_of(entry)
    values: dict[str, Value | None] = {
        "id_text": entry.id,
        "version": float(entry.version),
        "start_ms": float(span.start_ms) if span is not None else None,
        "end_ms": float(span.end_ms) if span is not None else None,
        "actor_text": entry.actor,
        "document_text": msgspec.json.encode(entry).decode(),
    }
    tags = (("line", line), ("device", device or LINE_ITSELF), ("kind", kind_of(entry)))
    return _line("context_event", tags, values, parse_timestamp(entry.timestamp), entry, apart=True)


def doctor_line(now_ms: int) -> bytes:
    """At the beginning of the hour, so that a doctor who is asked every minute fills nothing."""
    return b"%b asked_ms=%d %d" % (DOCTOR.encode(), now_ms, now_ms // HOUR_MS * HOUR_MS * 1_000_000)


def ledger_line(entry: Ledger) -> bytes:
    """One loss, at the time it was noted. `lost_seqs_text` is JSON: inclusive ranges."""
    values: dict[str, Value | None] = {
        "count": float(entry.count),
        "at_least": 1.0 if entry.at_least else None,
        "lost_stream_text": entry.lost_stream,
        "lost_seqs_text": msgspec.json.encode(entry.lost_seqs).decode(),
        "first_ms": parse_timestamp(entry.first) if entry.first else None,
        "last_ms": parse_timestamp(entry.last) if entry.last else None,
    }
    tags = (
        ("service", entry.service),
        ("instance", entry.instance),
        ("device", entry.device_id or LINE_ITSELF),
        ("cause", entry.cause),
    )
    return _line("ledger", tags, values, parse_timestamp(entry.timestamp), entry, apart=True)


def platform_line(status: Status, received_ms: int) -> bytes:
    """A service's status; `received_ms` serves for a last will, which has no time of its own."""
    values: dict[str, Value | None] = {
        "alive": float(status.alive),
        "taking": float(status.taking) if status.taking is not None else None,
        "problems_text": "; ".join(status.problems)[:1024] if status.problems else None,
        "version_text": status.version or None,
        "plant_version_text": status.plant.version or None if status.plant else None,
        "plant_devices": float(status.plant.devices) if status.plant else None,
        **{name: float(figure) for name, figure in status.figures.items() if not name.startswith("_")},
    }
    tags = (("service", status.service), ("instance", status.instance))
    return _line("platform", tags, values, parse_timestamp(status.timestamp) if status.timestamp else received_ms, None)


def late_data_line(device: str, instance: str, hour_end_ms: int, noted: int) -> bytes:
    """Ingest `instance` stored something late in the hour that ends before `hour_end_ms`; `noted` differs each time."""
    return _line("late_data", (("device", device), ("instance", instance)), {"noted": noted}, hour_end_ms - 1, None)


def device_lag_line(  # noqa: PLR0917
    source: tuple[str, str, str], time_ms: int, last_ms: int, least_ms: int, most_ms: int, messages: int
) -> bytes:
    """How long after their event time the live messages of one source (line, device, sender) arrived lately."""
    values: dict[str, Value | None] = {"lag_ms": last_ms, "lag_min_ms": least_ms, "lag_max_ms": most_ms, "messages": messages}
    return _line("device_lag", tuple(zip(("line", "device", "sender"), source, strict=True)), values, time_ms, None)


def outbox_mark_line(sender: str, instance: str, mark: Mark, noted_ms: int) -> bytes:
    """Everything of the sender up to this mark was stored when ingest `instance` noted it."""
    values: dict[str, Value | None] = {
        "stream_text": mark.stream,
        "last_seq": float(mark.seq),
        "waiting_text": _encode(mark.waiting).decode(),
        "noted_ms": float(noted_ms),
    }
    return _line("outbox_mark", (("sender", sender), ("instance", instance)), values, NOTES_MS, None)


def store_identity_line(instance: str, identity: str, turn: int, noted_ms: int) -> bytes:
    """Which database this is, and how often ingest `instance` has said so."""
    values: dict[str, Value | None] = {"identity_text": identity, "turn": float(turn), "noted_ms": float(noted_ms)}
    return _line("store_identity", (("instance", instance),), values, NOTES_MS, None)


def rollup_line(measurement: str, tags: tuple[tuple[str, str], ...], values: Mapping[str, float], time_ms: int) -> bytes:
    """A window of a roll-up, at its start."""
    return _line(measurement, tags, dict(values), time_ms, None)


def stored_line(measurement: str, tags: Mapping[str, str], values: Mapping[str, Value | None], time_ns: int) -> bytes:
    """A point as it was read from the database; tags without a value and fields without one are left out."""
    fields = ",".join(f"{_field_key(name)}={_number_or_text(value)}" for name, value in values.items() if value is not None)
    head = _prefix(measurement, tuple((name, value) for name, value in sorted(tags.items()) if value))
    return f"{head} {fields} {time_ns}".encode()


def _oee_line(measurement: str, tags: tuple[tuple[str, str], ...], document: OeeDocument, time_ms: int) -> bytes:
    device = document.device_id if isinstance(document.device_id, str) else LINE_ITSELF
    values: dict[str, Value | None] = {
        "availability": document.availability,
        "performance": document.performance,
        "quality": document.quality,
        "oee": document.oee,
        "teep": document.teep,
        "coverage": document.coverage,
        "wip_moved": None if document.wip_moved is None else float(document.wip_moved),
        "oee_end": document.oee_end,
        "assumed_ms": float(document.assumed_ms),
        "unknown_policy_text": document.unknown_policy,
        "unexplained_ms": float(document.unexplained_ms),
        "reason_missing": document.reason_missing,
        "ideal_ms": float(document.ideal_ms),
        "good_ms": float(document.good_ms),
        "outside_ms": float(_outside_ms(document)),
        "revision": float(document.revision),
        "final": float(document.final),
        "parts_total": float(document.parts.total),
        "parts_good": float(document.parts.good),
        "parts_scrap": float(document.parts.scrap),
        "parts_rework": float(document.parts.rework),
        "parts_unknown": float(document.parts.unknown),
        "parts_quarantined": float(document.parts.quarantined),
        **{f"ms_{leaf}": float(ms) for leaf, ms in document.ms.items()},
        **{f"loss_ms_{loss}": float(ms) for loss, ms in document.losses.items()},
        **_stop_counts(document),
        "window_id_text": document.window.id,
        "window_kind_text": document.window.kind,
        "window_start_ms": float(parse_timestamp(document.window.start)),
        "window_end_ms": float(parse_timestamp(document.window.end)),
        "reason_text": document.reason or "",
        "cause_text": document.cause or "",
        "flags_text": ",".join(document.flags),
        # A window is kept whole, so that it can be given back to the digit: a ratio that a revision made null would
        # otherwise still show its old field.
        "document_text": msgspec.json.encode(document).decode() if measurement == "oee_window" else None,
    }
    return _line(measurement, (("line", document.line), ("device", device), *tags), values, time_ms, document)


def _outside_ms(document: OeeDocument) -> int:
    """Of the time that is planned by its leaves, what the line leaves outside: who adds windows up takes it off."""
    return sum(document.ms[leaf] for leaf in document.basis.outside)


def _stop_counts(document: OeeDocument) -> dict[str, Value | None]:
    if document.stops is None:
        return {}
    counts = msgspec.structs.asdict(document.stops)
    named = {"count": "stops", "minor": "minor_stops"}
    return {named.get(key, key): float(value) for key, value in counts.items()}


def _line(
    measurement: str,
    tags: tuple[tuple[str, str], ...],
    values: Mapping[str, Value | None],
    time_ms: int,
    kept: Kept | None,
    *,
    apart: bool = False,
    below_ms: int = 0,
) -> bytes:
    fields = [f"{_field_key(name)}={_number_or_text(value)}" for name, value in values.items() if value is not None]
    if kept is not None and kept.stream is not None and kept.seq is not None:
        fields.append(f"{STREAM_FIELD}={_text(kept.stream)},{SEQ_FIELD}={kept.seq}")
        below_ms = kept.seq % 1_000_000 if apart else below_ms
    return f"{_prefix(measurement, tags)} {','.join(fields)} {time_ms}{below_ms:06d}".encode()


def _number_or_text(value: Value) -> str:
    return _text(value) if isinstance(value, str) else repr(float(value))


def _text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@lru_cache(maxsize=65_536)
def _key(name: str) -> bytes:
    return f"{_field_key(name)}=".encode()


@lru_cache(maxsize=65_536)
def _text_key(name: str) -> bytes:
    return _key(text_field(name))


@lru_cache(maxsize=65_536)
def _quality_key(name: str) -> bytes:
    return _key(quality_field(name))


@lru_cache(maxsize=4_096)
def _below_ms(stream: str | None) -> bytes:
    """Six digits of nanoseconds. A clock that was set back lives through its time again: what is read then must not be written over
    what was read before, so that each step has a nanosecond of its own. Everybody who reads cuts it off."""
    return b"%06d" % (clock_steps(stream) % 1_000_000 if stream is not None else 0)


@lru_cache(maxsize=4_096)
def _stream_field(stream: str) -> bytes:
    return f"{STREAM_FIELD}={_text(stream)},{SEQ_FIELD}=".encode()


@lru_cache(maxsize=16_384)
def _telemetry_prefix(measurement: str, line: str, device: str, tags: tuple[tuple[str, str], ...]) -> bytes:
    return _prefix(measurement, (("line", line), ("device", device), *sorted(tags))).encode()


def _field_key(name: str) -> str:
    return name.replace(",", r"\,").replace("=", r"\=").replace(" ", r"\ ")


def _prefix(measurement: str, tags: Iterable[tuple[str, str]]) -> str:
    head = measurement.replace(",", r"\,").replace(" ", r"\ ")
    return ",".join([head, *(f"{_field_key(key)}={_field_key(value)}" for key, value in tags)])
