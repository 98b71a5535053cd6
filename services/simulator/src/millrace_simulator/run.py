"""`millrace-sim run`: one asyncio loop owns the plant, its Modbus servers and the truth; HTTP threads only ask it."""

from __future__ import annotations

import asyncio
import os
import ssl
from pathlib import Path

from millrace_contract.errors import CannotStart, ConfigurationProblems, Problem
from millrace_contract.plant import Calendar, PlantModel, load_calendar, load_plant
from millrace_contract.runtime.clock import Clock, SystemClock
from millrace_contract.runtime.health import HealthServer, Heartbeats, Watchdog
from millrace_contract.runtime.listening import port_problem
from millrace_contract.runtime.logs import get_logger
from millrace_contract.runtime.serving import accept

from .control import PATH, FaultControl
from .devices import SimulatedPlant, simulated_devices
from .memory import lock
from .script import load_script
from .server import ModbusListener, listeners, start_all
from .settings import SimulatorSettings
from .truth import Boot, TruthWriter

TICK_S = 1.0
TIDY_EVERY_S = 60.0
TRUTH_FOLDER = "truth"

_log = get_logger(__name__)


class Simulator:
    """Everything that runs. Start, run and stop it once, on one loop."""

    def __init__(self, settings: SimulatorSettings, clock: Clock | None = None) -> None:
        """Raises ConfigurationProblems."""
        plant, calendar = accept(settings.config, settings.data, _load).model
        devices = simulated_devices(plant, settings.sim_only_host, with_tls=settings.sim_certificate is not None)
        if not devices:
            raise ConfigurationProblems([_nothing_to_do(settings)])
        self._settings = settings
        self._clock = clock or SystemClock()
        self._script = load_script(settings.sim_script, {device.id for device in devices}) if settings.sim_script else None
        self._truth = TruthWriter(
            settings.data / TRUTH_FOLDER, max_bytes=settings.sim_truth_mb * 1_000_000, max_hours=settings.sim_truth_hours
        )
        self.plant = SimulatedPlant(
            plant,
            calendar,
            devices,
            data=settings.data,
            truth=self._truth,
            seed=settings.sim_seed,
            speed=settings.sim_speed,
        )
        self.listeners: list[ModbusListener] = listeners(self.plant, settings.sim_bind, self._clock, _tls(settings))
        self._heartbeats = Heartbeats(self._clock)
        self._truth_step = self._heartbeats.step("write the truth")
        self._listen_step = self._heartbeats.step("listen")
        self._wanted = asyncio.Event()
        self._truth_fails = False
        self._locked: int | None = None
        self._watchdog = Watchdog(self._heartbeats)
        self._control = FaultControl(self.plant, asyncio.get_running_loop(), self._clock.now_ms, self._wanted.set)
        self._health = HealthServer(
            settings.http_host, settings.http_port, self._heartbeats, self._readiness, {PATH: self._control.answer}
        )

    async def start(self) -> None:
        """Raises CannotStart and ConfigurationProblems when a port or the data folder can't be used."""
        now_ms = self._clock.now_ms()
        try:
            self._locked = lock(self._settings.data)
            self._truth.begin(Boot(now_ms, self._settings.sim_seed, self._settings.sim_speed))
            self.plant.begin(now_ms)
        except OSError as error:
            raise CannotStart("MILLRACE_DATA", f"{self._settings.data} can't be written: {error}") from error
        problems: list[Problem] = []
        if not await start_all(self.listeners, lambda server, error: problems.append(_port_problem(self._settings, server, error))):
            raise ConfigurationProblems(problems)
        self._health.start()
        self._heartbeats.beat("tick")
        self._watchdog.start()
        _log.info("plant_started", devices=len(self.plant.devices), ports=[listener.port for listener in self.listeners])

    async def stop(self) -> bool:
        """Nobody is served any more; the truth is whole when this returns True."""
        self._watchdog.stop()
        self._health.stop()
        for listener in self.listeners:
            await listener.stop()
        if self._locked is not None:
            self._flush()
            self._truth.close()
            os.close(self._locked)
        return not self._truth_fails

    def _readiness(self) -> dict[str, bool]:
        return {f"port_{listener.port}": listener.is_listening for listener in self.listeners} | {"truth": not self._truth_fails}

    async def run(self, stop: asyncio.Event) -> None:
        """The machines live until `stop` is set."""
        script, wake = self._script, asyncio.create_task(self._wake_for(stop))
        started_s = self._clock.monotonic_s()
        tidied_s = started_s
        while not stop.is_set():
            now_s = self._clock.monotonic_s()
            for fault in script.due(now_s - started_s) if script else ():
                self._control.begin(fault)
            self.plant.advance(self._clock.now_ms())
            self._flush()
            refused = [problem for listener in self.listeners if (problem := await self._follow(listener))]
            self._listen_step.take(refused[0] if refused else None)
            if now_s - tidied_s >= TIDY_EVERY_S:
                tidied_s = now_s
                await self._tidy()
            self._heartbeats.beat("tick")
            self._wanted.clear()
            try:
                await asyncio.wait_for(self._wanted.wait(), TICK_S - self._clock.now_ms() % 1000 / 1000 + 0.001)
            except TimeoutError:
                continue
        wake.cancel()

    async def _wake_for(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wanted.set()

    def _flush(self) -> None:
        try:
            self._truth.flush(self._clock.now_ms())
        except OSError as error:
            self._truth_step.failed(str(error))
            if not self._truth_fails:
                _log.error("truth_not_written", error=str(error))
            self._truth_fails = True
        else:
            self._truth_step.done()
            self._truth_fails = False

    async def _tidy(self) -> None:
        try:
            await asyncio.to_thread(self._truth.tidy, self._clock.now_ms())
        except OSError as error:
            _log.warning("truth_not_tidied", error=str(error))

    async def _follow(self, listener: ModbusListener) -> str | None:
        try:
            await listener.follow_faults()
        except OSError as error:  # Somebody took the port while it was closed: try again at the next tick.
            _log.warning("port_not_reopened", port=listener.port, error=str(error))
            return f"port {listener.port} cannot be opened again: {error.strerror}"
        return None


def _load(folder: Path) -> tuple[PlantModel, Calendar]:
    plant = load_plant(folder)
    return plant, load_calendar(folder, plant)


def _tls(settings: SimulatorSettings) -> ssl.SSLContext | None:
    if settings.sim_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.sim_certificate)
    except OSError as error:  # an SSLError is one
        words = f"{settings.sim_certificate} can't be used: {error.strerror or error}"
        raise CannotStart("MILLRACE_SIM_CERTIFICATE", words) from error
    return context


def _nothing_to_do(settings: SimulatorSettings) -> Problem:
    if settings.sim_only_host:
        return Problem("plant.yaml", 0, "lines", f"no device is reached over TCP at host {settings.sim_only_host!r}")
    return Problem("plant.yaml", 0, "lines", "no device is reached over TCP, so there is nothing to simulate")


def _port_problem(settings: SimulatorSettings, server: ModbusListener, error: OSError) -> Problem:
    devices = ", ".join(device.id for device in server.devices.values())
    return Problem("plant.yaml", 0, f"port {server.port}", port_problem(settings.sim_bind, server.port, devices, error))
