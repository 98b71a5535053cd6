"""Polling: one asyncio task a connection, so that one slow or dead device never delays another connection's.

The devices of one connection take turns on it, as their wire demands; one that falls silent costs its neighbours two time limits,
and then one a probe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from millrace_contract.language.words import NOT_HEARD, CommsState
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.logs import get_logger

from .decoder import Snapshot
from .endpoint import Endpoint
from .metrics import COUNTS, CRASHES
from .modbus import ModbusConnection
from .polled_device import PolledDevice
from .reader import read_plan
from .schedule import PollSlot
from .wire import Wire

CRASH_PAUSE_S: Final = 10.0
FINISH_S: Final = 2.0

OnSnapshot = Callable[[PolledDevice, Snapshot, int], None]
"""(device, what it read, when the last answer arrived in ms)"""
OnComms = Callable[[PolledDevice], None]

_log = get_logger(__name__)


class Moments:
    """Wakes all who wait for the same moment by one timer of the event loop."""

    def __init__(self) -> None:
        self._waiting: dict[float, list[asyncio.Future[None]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def wait(self, moment_s: float, left_s: float) -> asyncio.Future[None]:
        """What is done at `moment_s`, which is so far away. Call on the event loop."""
        loop = self._loop = self._loop or asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        waiting = self._waiting.get(moment_s)
        if waiting is None:
            self._waiting[moment_s] = [future]
            loop.call_later(left_s, self._wake, moment_s)
        else:
            waiting.append(future)
        return future

    def _wake(self, moment_s: float) -> None:
        for future in self._waiting.pop(moment_s):
            if not future.done():
                future.set_result(None)


class ConnectionPoller:
    """Reads devices behind one endpoint, each on its own grid, until it is stopped. Several connections share the requests of a
    read."""

    def __init__(
        self,
        endpoint: Endpoint,
        devices: Sequence[PolledDevice],
        clock: Clock,
        *,
        on_snapshot: OnSnapshot,
        on_comms: OnComms,
        connections: int = 1,
        moments: Moments | None = None,
    ) -> None:
        """The callbacks are called on the event loop and only hand over. `moments`: shared by pollers of one event loop."""
        self.endpoint = endpoint
        self.devices = tuple(devices)
        self._moments = moments or Moments()
        self._turns = [(slot, device, group) for device in self.devices for group, slot in device.slots.items()]
        self._clock = clock
        self._on_snapshot = on_snapshot
        self._on_comms = on_comms
        pause_s = max((device.pause_after_connect_s for device in self.devices), default=0.0)
        tolerates = {device.device.connection.unit: device.tolerates for device in self.devices if device.tolerates}
        self._wires = tuple(Wire(ModbusConnection(endpoint, tolerates), clock, pause_s) for _ in range(connections))
        self._task: asyncio.Task[None] | None = None
        self._is_resting = False
        self._is_stopping = False
        self._crash: tuple[float, str] | None = None

    def crash(self) -> str | None:
        """The mistake of ours at which polling stopped within the last moments, None where it goes on."""
        if self._crash is None or self._clock.monotonic_s() - self._crash[0] > 2 * CRASH_PAUSE_S:
            return None
        return self._crash[1]

    def start(self) -> None:
        """Begin polling on the running event loop."""
        self._task = asyncio.create_task(self._run(), name=f"poll {self.endpoint}")

    async def stop(self) -> None:
        """Let a read that is under way finish, for FINISH_S at most, then close the connection."""
        self._is_stopping = True
        task = self._task
        if task is None:
            return
        if self._is_resting:
            task.cancel()
        await asyncio.wait([task], timeout=FINISH_S)
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=FINISH_S)
        self._close()

    async def _run(self) -> None:
        while not self._is_stopping:
            try:
                await self._take_turns()
            except Exception as error:  # noqa: BLE001 - the worker's outer loop
                # A mistake of ours that one device's data brought to light must not stop the other connections.
                CRASHES.inc()
                self._crash = (self._clock.monotonic_s(), f"{self.endpoint}: {type(error).__name__}: {error}")
                _log.exception("poller_crashed", endpoint=str(self.endpoint), pause_s=CRASH_PAUSE_S)
                self._close()
                await self._rest(asyncio.sleep(CRASH_PAUSE_S))

    async def _take_turns(self) -> None:
        while not self._is_stopping:
            slot, device, group = self._turns[0] if len(self._turns) == 1 else min(self._turns, key=_due)
            left_s = slot.due_s - self._clock.monotonic_s()
            if left_s > 0:
                await self._rest(self._moments.wait(slot.due_s, left_s))
            else:
                await self._take_turn(slot, device, group)

    async def _rest(self, wait: Awaitable[None]) -> None:
        self._is_resting = True
        try:
            await wait
        finally:
            self._is_resting = False

    async def _take_turn(self, slot: PollSlot, device: PolledDevice, group: str) -> None:
        began_s = self._clock.monotonic_s()
        lateness_s = began_s - slot.due_s
        missed = slot.advance(began_s)
        if not device.breaker.allows(began_s):
            return
        self._count(device, lateness_s, slot.interval_s, missed)
        what, plan = device.plan_for(group)
        connection = device.device.connection
        is_probe = device.comms.state is CommsState.OFFLINE
        result = await read_plan(self._wires, connection.unit, connection.timeout_s, plan, self._clock, is_probe=is_probe)
        now_ms = self._clock.now_ms()
        state_before = device.comms.state
        snapshot, has_news = device.take(what, result, now_ms, self._clock.monotonic_s())
        if snapshot is not None:
            self._on_snapshot(device, snapshot, now_ms if result.arrived_ms is None else result.arrived_ms)
        if has_news:
            _log_transition(device, state_before)
            self._on_comms(device)

    def _count(self, device: PolledDevice, lateness_s: float, interval_s: float, missed: int) -> None:
        is_late = device.comms.turns.observe(lateness_s, interval_s, missed)
        COUNTS.cycle(lateness_s, missed, is_late=is_late)

    def _close(self) -> None:
        for wire in self._wires:
            wire.close()


def _due(turn: tuple[PollSlot, PolledDevice, str]) -> float:
    return turn[0].due_s


def _log_transition(device: PolledDevice, before: CommsState | None) -> None:
    comms = device.comms
    facts = {"device": device.device.id, "before": before or NOT_HEARD, "state": comms.state or NOT_HEARD}
    if comms.state is CommsState.ONLINE:
        _log.info("device_comms", **facts)
    else:
        _log.warning("device_comms", **facts, reason=comms.reason)
