"""How a device is, put together from what its gateway said, its readings and its profile. Pure."""

from collections.abc import Mapping

from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import NOT_HEARD, CommsState, MachineState
from millrace_contract.plant import Device, PlantModel, hold_ms
from millrace_contract.plant.holds import FOREVER_MS, is_fresh
from millrace_contract.plant.reach import reach_of

from ..records import DeviceRecord, Gateway, Latest
from .device_models import CommsResource, DeviceResource, LatestReading


def comms_of(device: Device, record: DeviceRecord, gateways: Mapping[str, Gateway]) -> CommsResource:
    """Whether it can be reached, since when and why not."""
    gateway = gateways.get(device.gateway)
    reach = reach_of(device, record.comms, None if gateway is None else gateway.alive)
    comms = reach.comms
    if comms is None and reach.is_offline:
        reason = f"gateway {device.gateway} is not alive"
        since = None if gateway is None else format_timestamp(gateway.changed_ms)
        return CommsResource(state=CommsState.OFFLINE, since=since, reason=reason, round_trip_ms=None, gateway=device.gateway)
    if comms is None:
        reason = f"gateway {device.gateway} has said nothing yet"
        return CommsResource(state=NOT_HEARD, since=None, reason=reason, round_trip_ms=None, gateway=device.gateway)
    return CommsResource(
        state=comms.state,
        since=comms.since,
        reason=comms.reason,
        round_trip_ms=comms.round_trip_ms,
        gateway=comms.gateway,
    )


def machine_state_of(plant: PlantModel, device: Device, record: DeviceRecord) -> tuple[MachineState, Latest] | None:
    """The machine's state and the reading that says so; None where nothing says it, unknown where it says what no state is."""
    source = plant.profile_of(device.id).state_source
    if source is None or source.signal is None:
        return None
    latest = record.readings.get(source.signal)
    if latest is None or latest.value is None:
        return None
    return source.state_of(latest.value) or MachineState.UNKNOWN, latest


def device_resource(
    plant: PlantModel,
    device: Device,
    record: DeviceRecord,
    gateways: Mapping[str, Gateway],
    *,
    now_ms: int,
    open_alerts: int,
) -> DeviceResource:
    state = machine_state_of(plant, device, record)
    return DeviceResource(
        device_id=device.id,
        line=device.line,
        title=device.title or device.id,
        profile=device.profile,
        comms=comms_of(device, record, gateways),
        machine_state=None if state is None else state[0],
        open_alerts=open_alerts,
        heard_at=format_timestamp(record.heard_ms) if record.heard_ms else None,
        readings={name: _reading(plant, device, name, latest, now_ms) for name, latest in sorted(record.readings.items())},
    )


def good_until_ms(plant: PlantModel, device: Device, signal: str, latest: Latest) -> int | None:
    """Until when the reading counts if nothing follows; None where no next one is due."""
    holds_ms = hold_ms(plant.profile_of(device.id), signal, latest.hold_ms)
    return None if holds_ms == FOREVER_MS else latest.at_ms + holds_ms


def is_stale(plant: PlantModel, device: Device, signal: str, latest: Latest, now_ms: int) -> bool:
    """The next reading is overdue, or this one has a time that is still to come."""
    return not is_fresh(latest.at_ms, hold_ms(plant.profile_of(device.id), signal, latest.hold_ms), now_ms)


def _reading(plant: PlantModel, device: Device, signal: str, latest: Latest, now_ms: int) -> LatestReading:
    known = plant.profile_of(device.id).signals.get(signal)
    until_ms = good_until_ms(plant, device, signal, latest)
    return LatestReading(
        value=latest.value,
        quality=latest.quality,
        timestamp=format_timestamp(latest.at_ms),
        good_until=None if until_ms is None else format_timestamp(until_ms),
        stale=is_stale(plant, device, signal, latest, now_ms),
        unit=None if known is None else known.unit or None,
    )
