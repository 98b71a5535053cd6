"""The running service: constructs the parts, starts them in order, stops them in reverse."""

import threading
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import msgspec

from millrace_contract.errors import ConfigurationProblems
from millrace_contract.language.messages import PlantInUse, Status
from millrace_contract.language.topics import Topics
from millrace_contract.plant import (
    AlertRule,
    Calendar,
    PlantModel,
    ReasonPath,
    load_alert_rules,
    load_calendar,
    load_plant,
    load_reasons,
)
from millrace_contract.plant.accepted import AcceptedConfiguration
from millrace_contract.plant.alert_rules import rules_version
from millrace_contract.plant.maintenance import MaintenanceWindow, load_maintenance, maintenance_version
from millrace_contract.plant.products import load_products
from millrace_contract.plant.versions import ALERT_RULES, MAINTENANCE, PLANT, plant_in_use
from millrace_contract.runtime.asking import Inquiries
from millrace_contract.runtime.clock import Clock, SystemClock
from millrace_contract.runtime.disk_space import Disks
from millrace_contract.runtime.health import STATUS_PATH, HealthServer, Heartbeats, Watchdog
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.intake import Intake
from millrace_contract.runtime.listening import listen_on
from millrace_contract.runtime.logs import get_logger
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks, Received, Session
from millrace_contract.runtime.mqtt.trust import LEARNED
from millrace_contract.runtime.remembered_devices import RememberedDevices
from millrace_contract.runtime.serving import ServiceParts
from millrace_contract.runtime.status import StatusReporter, last_will
from millrace_contract.store_forward.from_ingest import FromIngest
from millrace_contract.store_forward.limits import limits_of
from millrace_contract.store_forward.losses import ledger_encoder
from millrace_contract.store_forward.outbox_file import outbox_in

from .api.app import create_app
from .api.bell import Bell
from .api.context import Context
from .api.server import HttpServer
from .api.tokens import ApiTokens
from .event_archive import EventLimits
from .receiver import subscriptions
from .settings import AlertsSettings
from .store import FILE, Reader, Store
from .worker import AnyCommand, Worker

SERVICE = "alerts"
NO_RULE = "alerts.yaml has no rule: nothing of the plant is watched"
RECEIVE_MAXIMUM = 1000
COMMAND_CAPACITY = 100
"""Commands of people that wait for the worker; beyond it the API answers 503."""

_log = get_logger(__name__)


@dataclass(frozen=True)
class Configuration:
    """What the service reads of the plant's folder."""

    plant: PlantModel
    rules: dict[str, AlertRule]
    reasons: dict[str, ReasonPath] = field(default_factory=dict)
    """By path; none where there is no reasons.yaml."""
    windows: dict[str, MaintenanceWindow] = field(default_factory=dict)
    """Of maintenance; none where there is no maintenance.yaml."""
    calendar: Calendar | None = None
    products: frozenset[str] = frozenset()
    """By name; none where there is no products.yaml."""


def load_configuration(folder: Path) -> Configuration:
    """Raises ConfigurationProblems."""
    plant = load_plant(folder)
    rules = load_alert_rules(folder, plant)
    reasons = load_reasons(folder).paths() if (folder / "reasons.yaml").exists() else {}
    calendar, products = _calendar(folder, plant), _products(folder, plant)
    return Configuration(plant, rules, reasons, load_maintenance(folder, plant), calendar, products)


def _products(folder: Path, plant: PlantModel) -> frozenset[str]:
    """As with the calendar."""
    try:
        return frozenset(load_products(folder, plant))
    except ConfigurationProblems:
        return frozenset()


def _calendar(folder: Path, plant: PlantModel) -> Calendar | None:
    """Its mistakes are told by oee and `check`: they are no reason not to watch the plant."""
    try:
        return load_calendar(folder, plant)
    except ConfigurationProblems:
        return None


class AlertsService:
    """Start and stop once. `start` raises CannotStart (a store in use or of another instance, a port taken) and DiskRefused."""

    def __init__(
        self, settings: AlertsSettings, accepted: AcceptedConfiguration[Configuration], clock: Clock | None = None
    ) -> None:
        self._settings = settings
        self._accepted = accepted
        self._clock = clock or SystemClock()
        self._plant = accepted.model.plant
        self._topics = Topics(self._plant.root)
        self._heartbeats = Heartbeats(self._clock)
        self._watchdog = Watchdog(self._heartbeats)
        self._bell = Bell()
        self._parts = ServiceParts()

    @property
    def port(self) -> int:
        """Where the API listens, once started."""
        port: int = self._socket.getsockname()[1]
        return port

    def start(self) -> None:
        settings = self._settings
        self._store = Store(settings.data / FILE, self._clock.now_ms())
        self._parts.at_stop(self._store.close)
        if self._store.was_restored:
            _log.warning("store_was_restored", path=str(self._store.path), readers_of_the_feed="are told where to go on")
        if self._store.set_aside is not None:
            _log.error("store_set_aside", path=str(self._store.set_aside.path), reason=self._store.set_aside.reason)
        self._tokens = ApiTokens(settings.api_tokens_file, self._clock)
        self._worker = self._new_worker()
        self._influx = Influx(settings)
        self._parts.at_stop(self._influx.close)
        self._listen()
        self._reporter = StatusReporter(
            self._session,
            self._topics,
            Status(service=SERVICE, instance=settings.instance, alive=True, version=version("millrace-alerts")),
            self._collect,
            self._clock,
            heartbeats=self._heartbeats,
            disks=Disks(settings.data, spare=lambda: self._worker.outbox_figures.kept_bytes),
        )
        # The API's port is open outside, so the service's own words are elsewhere: they are heard there without the broker, too.
        inside = {STATUS_PATH: self._reporter.answer}
        self._parts.start(
            HealthServer(settings.http_host, settings.health_port, self._heartbeats, self._readiness, inside, has_metrics=False)
        )
        self._parts.start(self._session)  # Before the worker, so that it is there for what the worker's last turn says.
        self._parts.start(self._reporter)
        self._parts.start(self._worker)
        self._parts.start(HttpServer(create_app(self._context()), self._socket))
        self._parts.at_stop(self._bell.close)  # First of all: with it the streams end.
        self._parts.start(self._watchdog)
        _log.info("started", port=self.port, rules=len(self._accepted.model.rules), devices=len(self._plant.devices))

    def run(self, stop: threading.Event) -> None:
        stop.wait()

    def stop(self) -> bool:
        """Bounded: streams are closed after a few seconds, what was received and not committed comes again."""
        self._parts.stop()
        return True

    def _listen(self) -> None:
        self._socket = listen_on(self._settings.http_host, self._settings.http_port, "the API and the page")
        self._parts.at_stop(self._socket.close)

    def _new_worker(self) -> Worker:
        settings = self._settings
        sender = f"{SERVICE}-{settings.instance}"
        intake = Intake[AnyCommand](receive_maximum=RECEIVE_MAXIMUM, item_capacity=COMMAND_CAPACITY)
        from_ingest = FromIngest(self._topics, sender)
        self._asker = Inquiries(self._topics, sender, self._clock)
        self._session: Session = LeanSession(
            settings,
            sender,
            Callbacks(
                messages=self._hear,
                connected=lambda: intake.connection(connected=True),
                disconnected=lambda: intake.connection(connected=False),
                published=intake.published,
            ),
            filters=subscriptions(self._topics, sender),
            fleeting=self._asker.filters,
            will=last_will(self._topics, SERVICE, settings.instance),
            learned_ca=settings.data / LEARNED,
            persistent=True,
            manual_ack=True,
            receive_maximum=RECEIVE_MAXIMUM,
        )
        self._intake = intake
        self._asker.attach(self._session)
        outbox, _ = outbox_in(
            self._store.database,
            sender,
            ledger_topic=self._topics.ledger(SERVICE, settings.instance),
            encode_loss=ledger_encoder(SERVICE, settings.instance),
            now_ms=self._clock.now_ms(),
        )
        return Worker(
            plant=self._plant,
            remembered=RememberedDevices(self._settings.config, self._settings.data, self._plant, self._clock),
            rules=self._accepted.model.rules,
            reasons=self._accepted.model.reasons,
            store=self._store,
            outbox=outbox,
            limits=limits_of(settings.outbox_max_mb, settings.outbox_max_days),
            session=self._session,
            intake=intake,
            from_ingest=from_ingest,
            clock=self._clock,
            heartbeats=self._heartbeats,
            changed=self._bell.ring,
            windows=self._accepted.model.windows,
            products=self._accepted.model.products,
            event_limits=EventLimits(settings.events_max_mb * 1_000_000, round(settings.events_max_days * 86_400_000)),
            to_tell=lambda: self._reporter.now(),  # noqa: PLW0108 - made after the worker
        )

    def _hear(self, messages: list[Received]) -> None:
        """Replies go straight to who waits for them."""
        for received in messages:
            if self._asker.is_answer(received):
                self._asker.heard(received)
        self._intake.put_all(received for received in messages if not self._asker.is_answer(received))

    def _context(self) -> Context:
        return Context(
            settings=self._settings,
            plant=self._plant,
            rules=self._worker.rules,
            reasons=self._accepted.model.reasons,
            reader=Reader(self._store.path),
            submit=self._intake.hand_over,
            asker=self._asker,
            bell=self._bell,
            tokens=self._tokens,
            influx=self._influx,
            clock=self._clock,
            heartbeats=self._heartbeats,
            readiness=self._readiness,
            calendar=self._accepted.model.calendar,
            blind_since_ms=lambda: self._worker.figures.blind_since_ms,
        )

    def _readiness(self) -> dict[str, bool]:
        return {
            "broker": self._session.is_connected,
            "store": self._worker.disk_problem is None,
            "watching": self._worker.figures.observing,
        }

    def _plant_in_use(self) -> PlantInUse:
        plant, rules = self._plant, self._accepted.model.rules
        windows = maintenance_version(self._accepted.model.windows)
        reads = {PLANT: plant.version, ALERT_RULES: rules_version(rules), MAINTENANCE: windows}
        return plant_in_use(plant.version, len(plant.devices), self._accepted.accepted_ms, reads)

    def _collect(self, base: Status) -> Status:
        figures, outbox = self._worker.figures, self._worker.outbox_figures
        problems = [str(problem) for problem in self._accepted.problems]
        rules = self._worker.rules.now
        problems += [*outbox.problems, *figures.problems, *rules.problems]
        others = (self._session.problem, self._tokens.problem)
        problems += [problem for problem in others if problem is not None]
        if self._store.set_aside is not None:
            problems.append(self._store.set_aside.in_words)
        return msgspec.structs.replace(
            base,
            configuration=self._accepted.configuration,
            sent=outbox.sent,
            plant=self._plant_in_use(),
            problems=problems,
            notes=[
                f"outbox: {outbox.in_words}",
                *([] if rules.rules else [NO_RULE]),
                *rules.notes,
            ],
            figures={
                "alerts_open": figures.open_alerts,
                "watching": float(figures.observing),
                "alerts_unevaluable": figures.unevaluable,
                "late_readings": figures.late_readings,
                "queue_messages": figures.queue_messages,
                "dropped": self._intake.dropped,
                "store_set_aside": float(self._store.set_aside is not None),
                **outbox.for_status,
            },
        )
