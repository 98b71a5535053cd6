"""The running gateway: starts its parts, watches them, and ends them in order."""

from __future__ import annotations

import asyncio
from collections import Counter
from importlib.metadata import version

import msgspec

from millrace_contract.language.messages import PlantInUse, Status
from millrace_contract.language.words import NOT_HEARD, CommsState
from millrace_contract.plant.accepted import AcceptedConfiguration
from millrace_contract.plant.versions import SHARE, plant_in_use
from millrace_contract.runtime.clock import Clock, SystemClock
from millrace_contract.runtime.disk_space import Disks
from millrace_contract.runtime.garbage import look_seldom
from millrace_contract.runtime.health import STATUS_PATH, HealthServer, Heartbeats, Watchdog
from millrace_contract.runtime.logs import get_logger
from millrace_contract.runtime.mqtt.session import Received
from millrace_contract.runtime.serving import accept, serve_on_loop
from millrace_contract.runtime.status import StatusReporter

from .fleet import Fleet, load_fleet
from .learned import LearnedDevice, known_of, load_learned, save_learned
from .metrics import BROKER_CONNECTED, DEVICES, OUTBOX, OUTBOX_SET_ASIDE
from .polled_device import PolledDevice
from .poller import ConnectionPoller, Moments
from .polling_cost import fleet_costs
from .schedule import phase, shares, ticks
from .sensors.desk import SensorDesk
from .settings import GatewaySettings
from .uplink import SERVICE, Uplink

HOUSEKEEPING_S = 2.0
COMMS_REFRESH_S = 60.0
LEARNED_S = 30.0
"""How often what was learned of the devices is looked at, used, and kept where it is new."""
OUTBOX_STOP_S = 3.0
LATE_PROBLEM = 0.1
"""Share of late reads from which a device is a problem that the status tells."""

_log = get_logger(__name__)


def serve(settings: GatewaySettings) -> int:
    """Run until SIGTERM or SIGINT; return the exit status. Raises ConfigurationProblems and CannotStart."""

    def construct() -> GatewayService:
        accepted = accept(settings.config, settings.data, lambda folder: load_fleet(folder, settings.instance))
        return GatewayService(settings, accepted, SystemClock())

    return serve_on_loop(settings, SERVICE, construct)


class GatewayService:
    """Pollers on the event loop, the outbox on its thread, the broker session on its own; they meet in queues."""

    def __init__(self, settings: GatewaySettings, accepted: AcceptedConfiguration[Fleet], clock: Clock) -> None:
        self._settings = settings
        self._accepted = accepted
        self._clock = clock
        self._heartbeats = Heartbeats(clock)
        self._watchdog = Watchdog(self._heartbeats)
        self._committing = self._heartbeats.step("commit")
        self._polling = self._heartbeats.step("poll")
        self._uplink = Uplink(
            settings,
            accepted.model,
            clock,
            lambda: self._heartbeats.beat("outbox"),
            on_session=self._on_session,
            on_sensor=self._on_sensor,
        )
        self._desk = SensorDesk(accepted.model.plant, accepted.model.senders, self._uplink, clock)
        self._status = StatusReporter(
            self._uplink.session,
            self._uplink.topics,
            Status(service=SERVICE, instance=settings.instance, alive=True, version=version("millrace-gateway")),
            self._collect,
            clock,
            heartbeats=self._heartbeats,
            disks=Disks(settings.data, spare=lambda: self._uplink.outbox.stats().kept_bytes),
        )
        self._health = HealthServer(
            settings.http_host, settings.http_port, self._heartbeats, self._readiness, {STATUS_PATH: self._status.answer}
        )
        self._pollers: list[ConnectionPoller] = []
        self._learned: dict[str, LearnedDevice] = {}

    async def start(self) -> None:
        """Raises CannotStart: an outbox in use or of another instance, a port that is taken."""
        self._uplink.start_outbox()
        self._health.start()
        self._heartbeats.beat("poller")
        self._watchdog.start()
        self._uplink.start_session()
        self._status.start()
        self._pollers = self._build_pollers()
        for poller in self._pollers:
            poller.start()
        look_seldom()  # Looking through what was built again and again makes reads late.
        fleet = self._accepted.model
        _log.info("gateway_started", devices=len(fleet.devices), connections=len(self._pollers))
        if problem := fleet.problem():
            _log.warning("nothing_to_read", problem=problem)
        for cost in fleet_costs(fleet, self._learned):
            if cost.warning:
                _log.warning("will_be_late", problem=cost.warning)

    async def stop(self) -> bool:
        """Stop reading, commit what was read, say good-bye; return whether everything was committed."""
        await asyncio.gather(*(poller.stop() for poller in self._pollers))
        self._keep_learned(self._learned_now())
        self._heartbeats.retire("poller")
        self._watchdog.stop()
        self._status.stop()
        is_complete = self._uplink.stop(OUTBOX_STOP_S)
        self._health.stop()
        return is_complete

    async def run(self, stop: asyncio.Event) -> None:
        """Keep house until `stop` is set."""
        refreshed_s = kept_s = self._clock.monotonic_s()
        while not stop.is_set():
            self._heartbeats.beat("poller")
            self._judge_steps()
            self._show_metrics()
            self._desk.look_for_silence()
            if self._clock.monotonic_s() - refreshed_s >= COMMS_REFRESH_S:
                refreshed_s = self._clock.monotonic_s()
                self._uplink.publish_all_comms()
            if self._clock.monotonic_s() - kept_s >= LEARNED_S:
                kept_s = self._clock.monotonic_s()
                await self._plan_anew()
                await asyncio.to_thread(self._keep_learned, self._learned_now())
            try:
                await asyncio.wait_for(stop.wait(), HOUSEKEEPING_S)
            except TimeoutError:
                continue

    def _judge_steps(self) -> None:
        self._committing.take(self._uplink.outbox.stats().disk_problem)
        crashes = [problem for poller in self._pollers if (problem := poller.crash())]
        self._polling.take(crashes[0] if crashes else None)

    def _build_pollers(self) -> list[ConnectionPoller]:
        fleet = self._accepted.model
        start_s = self._clock.monotonic_s()
        self._learned = load_learned(self._settings.data)
        pollers = []
        moments = Moments()
        intervals = [group.interval_s for each in fleet.asked for group in fleet.plant.profile_of(each.id).groups.values()]
        spread = ticks(len(fleet.endpoints), min(intervals, default=1.0))
        for index, (endpoint, members) in enumerate(fleet.endpoints.items()):
            devices = [
                PolledDevice(
                    device,
                    fleet.plant.profile_of(device.id),
                    start_s=start_s,
                    fraction=phase(index, place, len(members), spread),
                    known=known_of(self._learned, device),
                )
                for place, device in enumerate(members)
            ]
            for mine, connections in shares(devices, endpoint.connections):
                pollers.append(
                    ConnectionPoller(
                        endpoint,
                        mine,
                        self._clock,
                        on_snapshot=self._uplink.take_snapshot,
                        on_comms=self._uplink.take_comms,
                        connections=connections,
                        moments=moments,
                    )
                )
        return pollers

    async def _plan_anew(self) -> None:
        devices = 0
        for poller in self._pollers:
            for device in poller.devices:
                if device.plan_anew():
                    devices += 1
                    await asyncio.sleep(0)  # Planning takes milliseconds: reads that are due go first.
        if devices:
            _log.info("planned_anew", devices=devices)

    def _learned_now(self) -> dict[str, LearnedDevice]:
        return {device.device.id: device.learned for poller in self._pollers for device in poller.devices}

    def _keep_learned(self, learned: dict[str, LearnedDevice]) -> None:
        if learned == self._learned:
            return
        for name, now in learned.items():
            for gap in set(now.gaps) - set(known.gaps if (known := self._learned.get(name)) else ()):
                _log.info("gap_learned", device=name, must_not_cross=gap.profile_entry)
        self._learned = learned
        try:
            save_learned(self._settings.data, learned)
        except OSError as error:
            _log.warning("learned_not_kept", reason=str(error))

    def _on_sensor(self, received: Received) -> None:
        self._desk.take(received)

    def _on_session(self) -> None:
        self._desk.connected(session_present=self._uplink.session.session_present)
        self._desk.report_everything()
        for poller in self._pollers:
            for device in poller.devices:
                device.report_everything()

    def _states(self) -> Counter[str]:
        polled = [device.comms for poller in self._pollers for device in poller.devices]
        return Counter(comms.state or NOT_HEARD for comms in [*polled, *(device.comms for device in self._desk.devices)])

    def _late_devices(self) -> list[str]:
        """Those of which a tenth of the reads begin late, the worst first."""
        late = [(device.comms.turns, device.device.id) for poller in self._pollers for device in poller.devices]
        late = sorted(
            ((turns, name) for turns, name in late if turns.late_share > LATE_PROBLEM), key=lambda each: -each[0].late_share
        )
        return [f"{name}: {turns.late_share:.0%} of its reads begin late, by {turns.lateness_s:.2g} s" for turns, name in late[:5]]

    def _readiness(self) -> dict[str, bool]:
        return {"broker": self._uplink.session.is_connected, "outbox": self._uplink.outbox.stats().disk_problem is None}

    def _show_metrics(self) -> None:
        states = self._states()
        for state in (*CommsState, NOT_HEARD):
            DEVICES.labels(state).set(states[state])
        stats = self._uplink.outbox.stats()
        OUTBOX.show(stats)
        OUTBOX_SET_ASIDE.set(stats.set_aside)
        BROKER_CONNECTED.set(self._uplink.session.is_connected)

    def _plant_in_use(self) -> PlantInUse:
        plant = self._accepted.model.plant
        share = plant.shares.get(self._settings.instance, "")
        return plant_in_use(plant.version, len(plant.devices), self._accepted.accepted_ms, {SHARE: share})

    def _collect(self, base: Status) -> Status:
        """What only the gateway knows of itself; called on the status thread."""
        stats, states = self._uplink.outbox.stats(), self._states()
        all_turns = [device.comms.turns for poller in self._pollers for device in poller.devices]
        fleet_problem = self._accepted.model.problem()
        problems = [str(problem) for problem in self._accepted.problems]
        problems += [fleet_problem] if fleet_problem else []
        problems += [f"the outbox was damaged or empty: {stats.set_aside} file(s) set aside beside it"] if stats.set_aside else []
        problems += self._late_devices()
        problems += self._desk.problems()
        problems += stats.problems
        figures: dict[str, float] = {
            "devices": sum(states.values()),
            **{f"devices_{state}": states[state] for state in (*CommsState, NOT_HEARD)},
            "cycles": sum(turns.cycles for turns in all_turns),
            "late_cycles": sum(turns.late for turns in all_turns),
            "missed_cycles": sum(turns.missed for turns in all_turns),
            "held_in_memory": stats.held,
            "outbox_set_aside": stats.set_aside,
            "sensor_messages_dropped": self._uplink.dropped,
            **stats.for_status,
        }
        return msgspec.structs.replace(
            base,
            configuration=self._accepted.configuration,
            plant=self._plant_in_use(),
            sent=stats.sent if self._settings.confirm == "stored" else None,
            problems=problems,
            notes=[f"outbox: {stats.in_words}"],
            figures={name: float(value) for name, value in figures.items()},
        )
