"""From a snapshot to the telemetry message that the outbox will number (contracts.md 2.2). Pure."""

from __future__ import annotations

from functools import partial

from millrace_contract.language.streams import Stamp
from millrace_contract.language.telemetry import encode_telemetry
from millrace_contract.language.words import Quality
from millrace_contract.plant import Device
from millrace_contract.store_forward.numbering import Draft

from .decoder import Snapshot


def telemetry_draft(topic: str, device: Device, snapshot: Snapshot, arrived_ms: int) -> Draft:
    """A draft that is encoded on the outbox's thread, once its number and its final timestamp are known."""
    return Draft(topic, device.id, arrived_ms, partial(_encode, device, snapshot))


def _encode(device: Device, snapshot: Snapshot, stamp: Stamp) -> bytes:
    quality = snapshot.quality
    if stamp.is_uncertain:  # The clock stands behind an earlier reading: the values are right, their time is not.
        quality = {**dict.fromkeys(snapshot.readings, Quality.UNCERTAIN), **quality}
    return encode_telemetry(
        device_id=device.id,
        timestamp_ms=stamp.timestamp_ms,
        readings=snapshot.readings,
        quality=quality,
        tags=device.tags,
        stream=stamp.stream,
        seq=stamp.seq,
        prev=stamp.prev,
    )
