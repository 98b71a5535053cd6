"""From a snapshot to the telemetry message that the outbox will number (contracts.md 2.2). Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from millrace_contract.language.streams import Stamp
from millrace_contract.language.telemetry import encode_refusal, encode_telemetry
from millrace_contract.language.words import Quality
from millrace_contract.plant import Device
from millrace_contract.store_forward.numbering import Draft

from .decoder import Snapshot

STAMPED_HERE: Final = {"stamped": "arrival"}
"""The tag of a reading that is dated by its arrival at the gateway, because its sensor does not say when it measured."""


def telemetry_draft(topic: str, device: Device, snapshot: Snapshot, arrived_ms: int) -> Draft:
    """A draft that is encoded on the outbox's thread, once its number and its final timestamp are known."""
    return Draft(topic, device.id, arrived_ms, partial(_encode, device, snapshot))


def sensor_draft(
    topic: str,
    device: Device,
    snapshot: Snapshot,
    arrived_ms: int,
    *,
    event_ms: int | None,
    is_stamped_here: bool,
    is_copy: bool = False,
    settled: Callable[[], None],
) -> Draft:
    """A message of a sensor. `event_ms`: when it says that it measured; without it, it is dated by its arrival, and says so."""
    tags = {**device.tags, **STAMPED_HERE} if is_stamped_here else device.tags
    encode = partial(_encode, device, snapshot, tags=tags)
    return Draft(topic, device.id, arrived_ms, encode, event_ms=event_ms, is_copy=is_copy, settled=settled)


def refusal_draft(
    topic: str, device: Device, arrived_ms: int, *, reason: str, payload: bytes, settled: Callable[[], None]
) -> Draft:
    """A message of a sensor that cannot be read, as it came: ingest keeps it as a dead letter with this reason."""
    return Draft(topic, None, arrived_ms, partial(_encode_refusal, device, reason, payload), settled=settled)


def _encode_refusal(device: Device, reason: str, payload: bytes, stamp: Stamp) -> bytes:
    return encode_refusal(device.id, stamp, reason, payload)


def _encode(device: Device, snapshot: Snapshot, stamp: Stamp, *, tags: Mapping[str, str] | None = None) -> bytes:
    quality = snapshot.quality
    if stamp.is_uncertain:  # The clock stands behind an earlier reading: the values are right, their time is not.
        quality = {**dict.fromkeys(snapshot.readings, Quality.UNCERTAIN), **quality}
    return encode_telemetry(
        device_id=device.id,
        timestamp_ms=stamp.timestamp_ms,
        readings=snapshot.readings,
        quality=quality,
        tags=device.tags if tags is None else tags,
        stream=stamp.stream,
        seq=stamp.seq,
        prev=stamp.prev,
        unreachable=snapshot.is_unreachable and not stamp.is_uncertain,
    )
