"""What the store remembers, brought in line with a changed plant model at a start. Pure.

A device that is gone is remembered as gone, without what it said last. One that came back, or has another profile, begins anew:
what was read by another profile is no reading of this one.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from millrace_contract.language.words import Evaluation
from millrace_contract.plant import Device, PlantModel, Profile

from .alert import Alert
from .memories import unobserved
from .records import DeviceRecord
from .timer import Timer

UNDECLARED_KEPT_MS = 600_000
"""So much older than the newest reading of its device a reading may be that no profile declares: from a gateway that has not taken
over an edit yet, or from somebody else's sensor."""


def reconciled(plant: PlantModel, saved: Mapping[str, DeviceRecord], now_ms: int) -> dict[str, DeviceRecord]:
    """The records that change, as they are now."""
    found = {name: _gone(record, now_ms) for name, record in saved.items() if name not in plant.devices}
    for device in plant.devices.values():
        found[device.id] = _present(plant, device, saved.get(device.id, DeviceRecord()))
    return {name: record for name, record in found.items() if record != saved.get(name)}


def begins_anew(plant: PlantModel, device_id: str, saved: DeviceRecord | None) -> bool:
    """Whether nothing that was observed of the device holds under this plant model."""
    return saved is not None and (saved.gone_ms is not None or saved.version not in ("", _version(plant, device_id)))


def forgetful(alert: Alert) -> Alert:
    """The alert as it is, with its history, but without what was observed: what pends begins anew with the next observation."""
    return msgspec.structs.replace(
        alert,
        timer=Timer(active=alert.timer.active),
        evaluation=Evaluation.NEVER_SEEN,
        seen_value=None,
        seen_hold_ms=None,
        quiet_from_ms=None,
        memory=unobserved(alert.memory),
        gate=None,
    )


def forget_old_names(record: DeviceRecord, profile: Profile) -> None:
    """What the profile does not declare is remembered only as long as it comes: a signal that was renamed does not stand twice."""
    for name in record.readings.keys() - profile.signals.keys():  # hardly ever any; this is asked for each message
        latest = record.readings[name]
        if latest.at_ms + max(UNDECLARED_KEPT_MS, latest.hold_ms or 0) < record.heard_ms:
            del record.readings[name]


def _present(plant: PlantModel, device: Device, record: DeviceRecord) -> DeviceRecord:
    if begins_anew(plant, device.id, record):
        record = DeviceRecord(comms=None if record.gone_ms is not None else record.comms)
    declared = plant.profile_of(device.id).signals
    return msgspec.structs.replace(
        record,
        readings={name: latest for name, latest in record.readings.items() if name in declared},
        line=device.line,
        title=device.title,
        profile=device.profile,
        version=_version(plant, device.id),
    )


def _gone(record: DeviceRecord, now_ms: int) -> DeviceRecord:
    if record.gone_ms is not None:
        return record
    return msgspec.structs.replace(record, readings={}, comms=None, gone_ms=now_ms)


def _version(plant: PlantModel, device_id: str) -> str:
    profile = plant.devices[device_id].profile
    return f"{profile}/{plant.profile_versions.get(profile, '')}"
