"""Can a device be reached now? What was last said on its comms topic and of its gateway, together; for everybody who asks. Pure.

* A device whose gateway's status is not alive is offline, whatever comms says: nobody asks it any more (contracts.md 2.1).
* Else its comms decides. It is believed only from the gateway that the plant model names for the device.
* A topic that was cleared says nothing, as one on which nothing was ever said: whoever starts now sees no difference, so nobody may
  go on with what stood there before.
* A message that breaks the contract, or is not believed, changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import Malformed
from ..language.messages import Comms, decode
from ..language.times import parse_timestamp
from ..language.words import CommsState
from .model import Device


@dataclass(frozen=True, slots=True)
class Reach:
    """`state` None: nobody has said anything. `comms`: what decided, or None; then an offline device's gateway is not alive."""

    state: CommsState | None
    comms: Comms | None = None

    @property
    def is_offline(self) -> bool:
        return self.state is CommsState.OFFLINE


def reach_of(device: Device, comms: Comms | None, gateway_alive: bool | None) -> Reach:
    """From the last words of both; None for what was never said, or cleared."""
    if gateway_alive is False:
        return Reach(CommsState.OFFLINE)
    if comms is None or comms.gateway != device.gateway:
        return Reach(None)
    return Reach(comms.state, comms)


def read_comms(device: Device, payload: bytes) -> Comms | None:
    """What a message on the device's comms topic says; None where it clears it. Raises Malformed for what changes nothing."""
    if not payload:
        return None
    comms = decode(Comms, payload)
    if comms.device_id != device.id:
        raise Malformed("device", f"device_id is {comms.device_id!r}, but the topic is of device {device.id!r}")
    if comms.gateway != device.gateway:
        raise Malformed("gateway", f"says gateway {comms.gateway!r}, but {device.id} is read by {device.gateway!r}")
    try:
        parse_timestamp(comms.since)
    except ValueError as error:
        raise Malformed("timestamp", str(error)) from error
    return comms


class LastWords:
    """What was last said of devices and gateways, in memory. Not thread-safe: one loop tells and asks."""

    def __init__(self, devices: Mapping[str, Device]) -> None:
        self._devices = devices
        self._comms: dict[str, Comms] = {}
        self._gateways: dict[str, bool] = {}

    def comms(self, device_id: str, comms: Comms | None) -> None:
        """None: its topic was cleared."""
        if comms is None:
            self._comms.pop(device_id, None)
        else:
            self._comms[device_id] = comms

    def gateway(self, instance: str, alive: bool | None) -> None:
        """None: its status was cleared."""
        if alive is None:
            self._gateways.pop(instance, None)
        else:
            self._gateways[instance] = alive

    def reach(self, device_id: str) -> Reach:
        device = self._devices[device_id]
        return reach_of(device, self._comms.get(device_id), self._gateways.get(device.gateway))

    def offline(self) -> set[str]:
        """Devices that cannot be reached now."""
        return {name for name in self._devices if self.reach(name).is_offline}
