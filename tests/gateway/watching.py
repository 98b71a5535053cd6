"""Pollers and single reads against real servers, and what they hand over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from millrace_contract.language.words import CommsState
from millrace_contract.plant import Device, Profile
from millrace_contract.runtime.clock import SystemClock
from millrace_gateway.decoder import Snapshot
from millrace_gateway.endpoint import Endpoint
from millrace_gateway.modbus import ModbusConnection
from millrace_gateway.poll_plan import PollPlan
from millrace_gateway.polled_device import PolledDevice
from millrace_gateway.poller import ConnectionPoller
from millrace_gateway.read_result import ReadResult
from millrace_gateway.reader import read_plan
from millrace_gateway.schedule import shares
from millrace_gateway.wire import Wire

SIGNALS: dict[str, dict[str, object]] = {
    "first": {"address": 10, "type": "uint16"},
    "second": {"address": 12, "type": "uint16"},
    "third": {"table": "input", "address": 30, "type": "uint16"},
}
FAST = {"fast": 0.05}


class Watch:
    """Runs pollers on an event loop and collects what they hand over."""

    def __init__(self) -> None:
        self.snapshots: list[tuple[str, Snapshot, int]] = []
        self.states: list[tuple[str, CommsState | None, str | None]] = []
        self.on_snapshot: Callable[[PolledDevice], object] = lambda _device: None

    def of(self, device_id: str) -> list[Snapshot]:
        return [snapshot for device, snapshot, _ in self.snapshots if device == device_id]

    def states_of(self, device_id: str) -> list[CommsState | None]:
        return [state for device, state, _ in self.states if device == device_id]

    def run(
        self,
        devices: Sequence[tuple[Device, Profile]],
        until: Callable[[], bool],
        *steps: tuple[Callable[[], bool], Callable[[], object]],
    ) -> None:
        """Poll until the condition holds; each step acts, once, when its own condition first holds."""
        asyncio.run(self._run(devices, until, list(steps)))

    async def _run(
        self,
        devices: Sequence[tuple[Device, Profile]],
        until: Callable[[], bool],
        steps: list[tuple[Callable[[], bool], Callable[[], object]]],
    ) -> None:
        by_endpoint: dict[Endpoint, list[PolledDevice]] = {}
        for device, profile in devices:
            polled = PolledDevice(device, profile, start_s=time.monotonic(), fraction=0.0)
            by_endpoint.setdefault(Endpoint.of(device.connection), []).append(polled)
        pollers = [
            ConnectionPoller(
                endpoint, mine, SystemClock(), on_snapshot=self._snapshot, on_comms=self._comms, connections=connections
            )
            for endpoint, group in by_endpoint.items()
            for mine, connections in shares(group, endpoint.connections)
        ]
        for poller in pollers:
            poller.start()
        deadline = time.monotonic() + 20
        while not until():
            assert time.monotonic() < deadline, f"gave up waiting; states {self.states}, {len(self.snapshots)} snapshots"
            if steps and steps[0][0]():
                steps.pop(0)[1]()
            await asyncio.sleep(0.005)
        for poller in pollers:
            await poller.stop()
        await asyncio.sleep(0)

    def _snapshot(self, device: PolledDevice, snapshot: Snapshot, arrived_ms: int) -> None:
        self.on_snapshot(device)
        self.snapshots.append((device.device.id, snapshot, arrived_ms))

    def _comms(self, device: PolledDevice) -> None:
        self.states.append((device.device.id, device.comms.state, device.comms.reason))


def read_once(server: Any, plan: PollPlan, *, is_probe: bool = False, **more: Any) -> ReadResult:
    """One read of unit 1 over a fresh connection, time limit 0.2 s."""

    async def run() -> ReadResult:
        place = {"transport": "tcp", "host": "127.0.0.1", "port": server.port, **more}
        wire = Wire(ModbusConnection(Endpoint(**place)), SystemClock())
        result = await read_plan([wire], 1, 0.2, plan, SystemClock(), is_probe=is_probe)
        wire.close()
        await asyncio.sleep(0)
        return result

    return asyncio.run(run())
