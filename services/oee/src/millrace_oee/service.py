"""The running service: constructs the parts, starts them in order, stops them in reverse."""

from __future__ import annotations

import gc
import threading
from dataclasses import replace
from importlib.metadata import version

import msgspec

from millrace_contract.language.messages import PlantInUse, Status
from millrace_contract.plant.accepted import AcceptedConfiguration
from millrace_contract.plant.versions import CALENDAR, PLANT, plant_in_use
from millrace_contract.runtime.answering import Answering
from millrace_contract.runtime.clock import Clock, SystemClock
from millrace_contract.runtime.disk_space import Disks
from millrace_contract.runtime.health import STATUS_PATH, HealthServer, Heartbeats, Watchdog
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.intake import Intake
from millrace_contract.runtime.logs import get_logger
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks, Received
from millrace_contract.runtime.mqtt.trust import LEARNED
from millrace_contract.runtime.remembered_devices import RememberedDevices
from millrace_contract.runtime.serving import ServiceParts, accept
from millrace_contract.runtime.serving import serve as serve_service
from millrace_contract.runtime.status import StatusReporter, last_will
from millrace_contract.store_forward.from_ingest import FromIngest
from millrace_contract.store_forward.limits import limits_of
from millrace_contract.store_forward.losses import ledger_encoder
from millrace_contract.store_forward.outbox_file import outbox_in
from millrace_contract.store_forward.store_file import open_store

from .answers import Answers
from .gap_reader import Answer
from .master_data import read_master_data, remembered, with_master_data
from .plan import Plan, load_plan
from .receiver import subscriptions
from .settings import OeeSettings
from .store import OEE_STORE, STORE
from .worker import Worker

SERVICE = "oee"
RECEIVE_MAXIMUM = 2_000
GC_ALLOCATIONS = 20_000
"""Objects that come and do not go between two looks for garbage: messages make hardly any."""

_log = get_logger(__name__)


class OeeService:
    """Start and stop once. The constructor opens the store and raises CannotStart (in use, of another instance or version) and
    DiskRefused.
    """

    def __init__(self, settings: OeeSettings, accepted: AcceptedConfiguration[Plan], clock: Clock | None = None) -> None:
        self._accepted = accepted
        clock = clock or SystemClock()
        plan = accepted.model
        sender = f"{SERVICE}-{settings.instance}"
        self._parts = ServiceParts()
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
        self._intake = intake = Intake[Answer](receive_maximum=RECEIVE_MAXIMUM, items_a_batch=1)
        self._answering = Answering(
            plan.topics,
            SERVICE,
            Answers(plan, self._influx, clock, settings.data / STORE).answer,
            clock,
            self._heartbeats,
            is_mine=lambda question: question.line not in plan.others,
        )
        self._session = LeanSession(
            settings,
            sender,
            Callbacks(
                messages=self._hear,
                connected=self._connected,
                disconnected=lambda: intake.connection(connected=False),
                published=intake.published,
            ),
            filters=subscriptions(plan.topics, sender, plan.plant.lines.keys() - plan.others if plan.others else None),
            fleeting=self._answering.filters,
            will=last_will(plan.topics, SERVICE, settings.instance),
            learned_ca=settings.data / LEARNED,
            persistent=True,
            manual_ack=True,
            receive_maximum=RECEIVE_MAXIMUM,
        )
        self._answering.attach(self._session)
        self._worker = Worker(
            plan=plan,
            remembered=RememberedDevices(settings.config, settings.data, plan.plant, clock),
            connection=self._database.connection,
            outbox=outbox,
            path=settings.data / STORE,
            limits=limits_of(settings.outbox_max_mb, settings.outbox_max_days),
            session=self._session,
            influx=self._influx,
            intake=intake,
            from_ingest=FromIngest(plan.topics, sender),
            clock=clock,
            heartbeats=self._heartbeats,
        )
        status = Status(service=SERVICE, instance=settings.instance, alive=True, version=version("millrace-oee"))
        self._reporter = StatusReporter(
            self._session,
            plan.topics,
            status,
            self._collect,
            clock,
            heartbeats=self._heartbeats,
            disks=Disks(settings.data, spare=lambda: self._worker.outbox_figures.kept_bytes),
        )
        self._health = HealthServer(
            settings.http_host, settings.http_port, self._heartbeats, self._readiness, {STATUS_PATH: self._reporter.answer}
        )

    def start(self) -> None:
        """Raises CannotStart when the health port cannot be used."""
        self._parts.at_stop(self._database.close)
        self._parts.at_stop(self._influx.close)
        self._parts.start(self._health)
        self._parts.start(self._session)  # Before the worker, so that it is there for what the worker's last turn says.
        self._parts.start(self._reporter)
        self._parts.start(self._worker)
        self._parts.start(self._answering)
        self._parts.start(self._watchdog)
        # What is there now stays; what figures are made of holds no circles, and messages come and go by the thousand.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_ALLOCATIONS)
        plan = self._accepted.model
        _log.info("started", machines=len(plan.machines), lines=len(plan.lines))

    def run(self, stop: threading.Event) -> None:
        stop.wait()

    def stop(self) -> bool:
        """Bounded in time; what was received and not committed comes again."""
        self._parts.stop()
        return True

    def _hear(self, messages: list[Received]) -> None:
        """Questions of others go their own way: a slow answer keeps no message waiting."""
        questions = [received for received in messages if self._answering.is_question(received)]
        for received in questions:
            self._answering.heard(received)
        self._intake.put_all(messages if not questions else [each for each in messages if not self._answering.is_question(each)])

    def _connected(self) -> None:
        self._intake.connection(connected=True)
        self._reporter.now()

    def _readiness(self) -> dict[str, bool]:
        return {"broker": self._session.is_connected, "store": self._worker.disk_problem is None}

    def _plant_in_use(self) -> PlantInUse:
        plan = self._accepted.model
        reads = {PLANT: plan.plant.version, CALENDAR: plan.calendar_file}
        return plant_in_use(plan.plant.version, len(plan.plant.devices), self._accepted.accepted_ms, reads)

    def _collect(self, base: Status) -> Status:
        figures, outbox = self._worker.figures, self._worker.outbox_figures
        problems = [str(problem) for problem in self._accepted.problems]
        problems += [self._session.problem] if self._session.problem is not None else []
        problems += outbox.problems
        problems += figures.problems
        if self._database.set_aside is not None:
            problems.append(self._database.set_aside.in_words)
        return msgspec.structs.replace(
            base,
            configuration=self._accepted.configuration,
            sent=outbox.sent,
            plant=self._plant_in_use(),
            problems=problems,
            notes=[f"outbox: {outbox.in_words}"],
            figures={
                "machines": figures.devices,
                "gaps_open": figures.gaps_open,
                "refused_late": figures.refused_late,
                "queue_messages": figures.queue_messages,
                "store_set_aside": float(self._database.set_aside is not None),
                **outbox.for_status,
            },
        )


def serve(settings: OeeSettings) -> int:
    """Run until a signal; returns the exit status. Raises ConfigurationProblems and CannotStart."""
    return serve_service(settings, SERVICE, lambda: OeeService(settings, accept_plan(settings)))


def accept_plan(settings: OeeSettings, clock: Clock | None = None) -> AcceptedConfiguration[Plan]:
    """The plan to run on, with what was in force before, of the instance's lines. Raises ConfigurationProblems."""
    accepted = _accept_whole(settings, clock or SystemClock())
    return replace(accepted, model=accepted.model.of_instance(settings.instance))


def _accept_whole(settings: OeeSettings, clock: Clock) -> AcceptedConfiguration[Plan]:
    accepted = accept(settings.config, settings.data, load_plan, clock)
    at_ms = clock.now_ms() if accepted.accepted_ms is None else accepted.accepted_ms
    try:
        return replace(accepted, model=remembered(settings.data, accepted.model, at_ms))
    except OSError as error:  # without room for it the figures of now are more than none
        _log.error("master_data_not_kept", problem=str(error))
        known = read_master_data(settings.data)
        return accepted if known is None else replace(accepted, model=with_master_data(accepted.model, known))
