"""The running service: constructs the parts, starts them in order, stops them in reverse."""

from __future__ import annotations

import threading
from importlib.metadata import version

import msgspec

from millrace_contract.language.messages import Status
from millrace_contract.plant.accepted import Accepted
from millrace_contract.runtime.clock import Clock, SystemClock
from millrace_contract.runtime.health import HealthServer, Heartbeats, Watchdog
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.intake import Intake
from millrace_contract.runtime.logs import get_logger
from millrace_contract.runtime.mqtt.paho_session import Callbacks, PahoSession
from millrace_contract.runtime.serving import Parts, accept
from millrace_contract.runtime.serving import serve as serve_service
from millrace_contract.runtime.status import StatusReporter, last_will
from millrace_contract.store_forward.losses import ledger_encoder
from millrace_contract.store_forward.outbox_file import outbox_in
from millrace_contract.store_forward.store_file import open_store

from .gap_reader import Answer
from .plan import Plan, load_plan
from .receiver import subscriptions
from .settings import OeeSettings
from .store import OEE_STORE
from .worker import OutboxLimits, Worker

SERVICE = "oee"
STORE = "oee.db"
RECEIVE_MAXIMUM = 2_000

_log = get_logger(__name__)


class OeeService:
    """Start and stop once. The constructor opens the store and raises CannotStart (in use, of another instance or version) and
    DiskRefused.
    """

    def __init__(self, settings: OeeSettings, accepted: Accepted[Plan], clock: Clock | None = None) -> None:
        self._accepted = accepted
        clock = clock or SystemClock()
        plan = accepted.model
        sender = f"{SERVICE}-{settings.instance}"
        self._parts = Parts()
        self._database = open_store(OEE_STORE, settings.data / STORE, clock.now_ms())
        if self._database.set_aside is not None:
            _log.error("store_set_aside", path=str(self._database.set_aside.path), reason=self._database.set_aside.reason)
        outbox, _ = outbox_in(
            self._database,
            sender,
            ledger_topic=plan.topics.ledger(SERVICE, settings.instance),
            encode_loss=ledger_encoder(SERVICE, settings.instance),
            now_ms=clock.now_ms(),
        )
        self._heartbeats = Heartbeats(clock)
        self._watchdog = Watchdog(self._heartbeats)
        self._influx = Influx(settings)
        self._inbox = inbox = Intake[Answer](receive_maximum=RECEIVE_MAXIMUM, items_a_batch=1)
        self._session = PahoSession(
            settings,
            sender,
            Callbacks(
                message=inbox.put,
                connected=self._connected,
                disconnected=lambda: inbox.connection(connected=False),
                published=inbox.published,
            ),
            filters=subscriptions(plan.topics, sender),
            will=last_will(plan.topics, SERVICE, settings.instance),
            persistent=True,
            manual_ack=True,
            receive_maximum=RECEIVE_MAXIMUM,
        )
        self._worker = Worker(
            plan=plan,
            connection=self._database.connection,
            outbox=outbox,
            limits=OutboxLimits(settings.outbox_max_mb * 1024 * 1024, round(settings.outbox_max_days * 86_400_000)),
            session=self._session,
            influx=self._influx,
            inbox=inbox,
            clock=clock,
            heartbeats=self._heartbeats,
        )
        status = Status(service=SERVICE, instance=settings.instance, alive=True, version=version("millrace-oee"))
        self._reporter = StatusReporter(self._session, plan.topics, status, self._collect, clock, heartbeats=self._heartbeats)
        self._health = HealthServer(settings.http_host, settings.http_port, self._heartbeats, self._readiness)

    def start(self) -> None:
        """Raises CannotStart when the health port cannot be used."""
        self._parts.at_stop(self._database.close)
        self._parts.at_stop(self._influx.close)
        self._parts.start(self._health)
        self._parts.start(self._session)  # Before the worker, so that it is there for what the worker's last turn says.
        self._parts.start(self._reporter)
        self._parts.start(self._worker)
        self._parts.start(self._watchdog)
        plan = self._accepted.model
        _log.info("started", machines=len(plan.machines), lines=len(plan.lines))

    def run(self, stop: threading.Event) -> None:
        stop.wait()

    def stop(self) -> bool:
        """Bounded in time; what was received and not committed comes again."""
        self._parts.stop()
        return True

    def _connected(self) -> None:
        self._inbox.connection(connected=True)
        self._reporter.now()

    def _readiness(self) -> dict[str, bool]:
        return {"broker": self._session.is_connected, "store": self._worker.figures.disk_problem is None}

    def _collect(self, base: Status) -> Status:
        figures = self._worker.figures
        problems = [str(problem) for problem in self._accepted.problems]
        problems += [problem for problem in (self._session.problem, figures.disk_problem) if problem is not None]
        if self._database.set_aside is not None:
            problems.append(f"the store was damaged and is kept as {self._database.set_aside.path.name}")
        return msgspec.structs.replace(
            base,
            configuration=self._accepted.configuration,
            problems=problems,
            figures={
                "machines": figures.devices,
                "gaps_open": figures.gaps_open,
                "refused_late": figures.refused_late,
                "outbox_messages": figures.outbox_messages,
                "queue_messages": figures.queue_messages,
                "store_set_aside": float(self._database.set_aside is not None),
            },
        )


def serve(settings: OeeSettings) -> int:
    """Run until a signal; returns the exit status. Raises ConfigurationProblems and CannotStart."""
    return serve_service(settings, SERVICE, lambda: OeeService(settings, accept(settings.config, settings.data, load_plan)))
