"""The running process: the loop of the roll-ups, its status, its health."""

from __future__ import annotations

import random
import threading
from importlib.metadata import version

import msgspec

from millrace_contract.errors import Unavailable
from millrace_contract.language.messages import Status
from millrace_contract.language.topics import Topics
from millrace_contract.runtime import metrics
from millrace_contract.runtime.clock import Clock, SystemClock
from millrace_contract.runtime.database_restart import RestartRequest
from millrace_contract.runtime.disk_space import Disks, room_of
from millrace_contract.runtime.health import STATUS_PATH, HealthServer, Heartbeats, Watchdog
from millrace_contract.runtime.influx import Influx, NoRoom, QueryFailed, Refused
from millrace_contract.runtime.logs import get_logger
from millrace_contract.runtime.mqtt.paho_session import Callbacks, PahoSession
from millrace_contract.runtime.status import StatusReporter, last_will

from ..backoff import Backoff
from ..plant_watch import PlantWatch
from ..settings import RollupSettings
from .engine import RollUp
from .shedding import Shedding, SheddingRule

SERVICE = "rollup"
QUERY_TIMEOUT_S = 30.0
STOP_LIMIT_S = 3.0
SHEDDING_EVERY_S = 20.0

_GAUGES = metrics.Gauge("millrace_rollup_figure", "Progress and depths, as in the status topic", ["figure"])
_log = get_logger(__name__)


class RollupService:
    """Raises ConfigurationProblems on construction; nothing runs then."""

    def __init__(self, settings: RollupSettings, begin_ms: int | None = None, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._interval_s = settings.rollup_interval_s
        self._watch = PlantWatch(settings.config, settings.data)
        topics = Topics(self._watch.plant.root)
        self._heartbeats = Heartbeats(self._clock)
        self._rolling = self._heartbeats.step("roll up")
        self._influx = Influx(settings, timeout_s=QUERY_TIMEOUT_S)
        self._rollup = RollUp(self._influx, lambda: self._watch.plant, beat=self._beat, begin_ms=begin_ms)
        self._restart = RestartRequest(settings.influx_requests, f"{SERVICE}-{settings.instance}", self._clock)
        self._database_folder = settings.watched.get("influxdb")
        self._shedding = Shedding(
            self._influx, settings.data, SheddingRule(settings.shed_beyond_days), service=SERVICE, instance=settings.instance
        )
        self._shedding_due_s = 0.0
        self._problem: str | None = "nothing rolled up yet"
        self._backoff = Backoff(random.Random())  # noqa: S311 - jitter, no secret
        self._session = PahoSession(
            settings,
            f"{SERVICE}-{settings.instance}",
            Callbacks(connected=self._report),
            will=last_will(topics, SERVICE, settings.instance),
        )
        base = Status(service=SERVICE, instance=settings.instance, alive=True, version=version("millrace-ingest"))
        self._status = StatusReporter(
            self._session,
            topics,
            base,
            self._collect,
            self._clock,
            heartbeats=self._heartbeats,
            disks=Disks(settings.data, settings.watched),
        )
        self._health = HealthServer(
            settings.http_host, settings.http_port, self._heartbeats, self._readiness, {STATUS_PATH: self._status.answer}
        )
        self._watchdog = Watchdog(self._heartbeats)

    def start(self) -> None:
        """Raises CannotStart when the port of health and metrics cannot be used."""
        self._health.start()
        self._watchdog.start()
        self._session.start()
        self._status.start()
        _log.info("started", devices=len(self._watch.plant.devices))

    def run(self, stop: threading.Event) -> None:
        """Works until `stop` is set; ends at most about STOP_LIMIT_S later."""
        # A thread of its own, because a database that hangs holds it for QUERY_TIMEOUT_S. It may end with the process at any
        # instant: a window made twice is the same window.
        worker = threading.Thread(target=self._work, args=(stop,), name="rollup", daemon=True)
        worker.start()
        stop.wait()
        worker.join(STOP_LIMIT_S)
        if worker.is_alive():
            _log.warning("turn_left_unfinished", problem="the database does not answer", after_s=STOP_LIMIT_S)
        else:
            self._influx.close()

    def stop(self) -> bool:
        self._status.stop()
        self._session.stop()
        self._watchdog.stop()
        self._health.stop()
        return True

    def _work(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._beat()
            stop.wait(self._turn())

    def _turn(self) -> float:
        """One turn of the work; the seconds to wait before the next."""
        if self._watch.look():
            self._status.now()
        self._shed()
        try:
            more = self._rollup.turn(self._clock.now_ms())
        except Unavailable as problem:
            self._rolling.away()
            if isinstance(problem, NoRoom):
                self._restart.ask()
            self._trouble(str(problem))
            return self._backoff.next_s(problem.retry_after_s)
        except (Refused, QueryFailed) as problem:
            self._rolling.failed(str(problem))
            self._trouble(str(problem))
            return self._backoff.next_s()
        self._rolling.done()
        self._restart.withdraw()
        self._trouble(None)
        self._backoff.reset()
        for name, value in self._figures().items():
            _GAUGES.labels(name).set(value)
        return 0.0 if more else self._interval_s

    def _shed(self) -> None:
        """Apart from the roll-ups: what fails here is not theirs, and theirs may fail for want of the room that is made here."""
        now_s, until_ms = self._clock.monotonic_s(), self._rollup.figures.until_ms
        if self._database_folder is None or until_ms is None or now_s < self._shedding_due_s:
            return
        self._shedding_due_s = now_s + SHEDDING_EVERY_S
        try:
            self._shedding.turn(room_of("influxdb", self._database_folder), until_ms, self._clock.now_ms())
        except (Unavailable, Refused, QueryFailed) as problem:
            self._shedding.problem = f"no room can be made on the disk of influxdb: {problem}"

    def _trouble(self, problem: str | None) -> None:
        if problem == self._problem:
            return
        self._problem = problem
        if problem is None:
            _log.info("rollup_works")
        else:
            _log.error("rollup_waits", problem=problem)
        self._status.now()

    def _figures(self) -> dict[str, float]:
        figures = self._rollup.figures
        behind_ms = self._clock.now_ms() - figures.until_ms if figures.until_ms is not None else 0
        return {
            "rollup_behind_s": behind_ms / 1000,
            "rollup_windows": figures.windows,
            "rollup_late_hours": figures.late_hours,
            "rollup_late_waiting": figures.late_waiting,
            "rollup_outside_retention": figures.outside_retention,
            "shed_messages": self._shedding.shed,
        }

    def _collect(self, base: Status) -> Status:
        problems = [f"nothing is rolled up: {self._problem}"] if self._problem else []
        problems += [self._shedding.problem] if self._shedding.problem else []
        return msgspec.structs.replace(
            base,
            configuration=self._watch.configuration,
            plant=self._watch.in_use,
            problems=[*problems, *self._watch.problems],
            figures=self._figures(),
        )

    def _readiness(self) -> dict[str, bool]:
        return {"broker": self._session.is_connected, "database": self._problem is None}

    def _report(self) -> None:
        self._status.now()

    def _beat(self) -> None:
        self._heartbeats.beat("rollup")
