"""A period of the database as an event file would tell it: what was stored of the plant's readings, in order of time.

Only readings are told: of links and statuses the database keeps no story. What was stored late, or was sent as a past, stands where
it belongs, so that a replay says what the rules would have raised if all had come in time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge

from millrace_contract.language.event_file import Event
from millrace_contract.language.measurements import TELEMETRY_BUCKET
from millrace_contract.language.stored_points import message_fields, stored_messages
from millrace_contract.language.telemetry import Telemetry, encode_telemetry
from millrace_contract.language.topics import Topics
from millrace_contract.plant import Device, PlantModel
from millrace_contract.runtime.influx import Influx, literal, quoted

PAGE_MS = 6 * 3_600_000
"""So much of a device is asked for at a time."""


def stored_events(influx: Influx, plant: PlantModel, devices: Iterable[Device], span: range) -> Iterator[Event]:
    """Each stored message of these devices. Raises Unavailable, Refused or QueryFailed."""
    topics = Topics(plant.root)
    streams = [_of_device(influx, plant, topics, device, span) for device in devices]
    return merge(*streams, key=lambda event: event.received_ms or 0)


def _of_device(influx: Influx, plant: PlantModel, topics: Topics, device: Device, span: range) -> Iterator[Event]:
    topic = topics.telemetry(device.line, device.id)
    fields = ", ".join(map(quoted, message_fields(plant.profile_of(device.id).signals)))
    for page_ms in range(span.start, span.stop, PAGE_MS):
        where = f"device = {literal(device.id)} AND time >= {page_ms}ms AND time < {min(page_ms + PAGE_MS, span.stop)}ms"
        query = f"SELECT {fields} FROM {quoted(device.profile)} WHERE {where} ORDER BY time ASC"  # noqa: S608 - quoted
        for series in influx.query(TELEMETRY_BUCKET, query):
            for message in stored_messages(series.columns, series.rows):
                yield Event(0, 0, topic, _payload(device, message), message.timestamp_ms)


def _payload(device: Device, message: Telemetry) -> bytes:
    return encode_telemetry(
        device_id=device.id,
        timestamp_ms=message.timestamp_ms,
        readings=message.readings,
        quality=message.quality,
        tags={},
        stream=message.stream,
        seq=message.seq,
        prev=message.prev,
        hold_s=None if message.hold_ms is None else message.hold_ms / 1000,
        unreachable=message.unreachable,
    )
