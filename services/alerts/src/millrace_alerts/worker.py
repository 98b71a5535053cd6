"""The worker: its thread owns the alerts, the store and the outbox.

Each turn (`turns` of the contract) commits state, events and outgoing messages in one transaction. Only then are the messages
acknowledged to the broker, the commands answered, and the changes published: a kill at any instant repeats work, and loses none.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from millrace_contract.errors import Unavailable
from millrace_contract.language.messages import encode, numbered
from millrace_contract.language.topics import Topics
from millrace_contract.language.words import EVALUABLE, EventCause
from millrace_contract.plant import AlertRule, PlantModel, ReasonPath
from millrace_contract.plant.alert_rules import RULES_FILE
from millrace_contract.plant.maintenance import MaintenanceWindow
from millrace_contract.runtime.clock import Clock, Now, moment
from millrace_contract.runtime.health import Heartbeats
from millrace_contract.runtime.intake import Batch, Intake
from millrace_contract.runtime.logs import get_logger
from millrace_contract.runtime.mqtt.session import Session
from millrace_contract.runtime.remembered_devices import RememberedDevices
from millrace_contract.store_forward.from_ingest import FromIngest
from millrace_contract.store_forward.limits import Limits
from millrace_contract.store_forward.losses import Loss
from millrace_contract.store_forward.numbering import Draft, Row
from millrace_contract.store_forward.outbox import Outbox
from millrace_contract.store_forward.outbox_figures import OutboxFigures
from millrace_contract.store_forward.turns import TICK_S, Turns

from . import metrics
from .alert import Alert, Transition, event_message, state_message
from .alert import alert_id as id_of
from .blindness import blind_rules
from .builtin import FLOOD, FUTURE, NOT_WATCHING, is_built_in
from .changes import ended
from .clocks import plausible
from .commands import Bulk, Command, Comment, StaleVersion, UnknownAlert
from .entry_desk import Asset, EntryCommand, EntryDesk, Receipt
from .entry_rules import EntryRefused
from .event_archive import EventArchive, EventLimits
from .flood import FLOOD_IN_WORDS, Flood
from .lifecycle import IllegalTransition, NothingLearnt
from .receiver import AlertsReceiver, Running
from .reconcile import begins_anew, forgetful, reconciled
from .rule_changes import difference, keep_rules, load_rules, said_by
from .rule_desk import RuleCommand, RuleDesk, RuleRefused, RulesInForce
from .rule_set import RuleSet
from .rules import Watched
from .state_pace import StatePace
from .store import Store, StoredAnswer
from .vigil import Vigil
from .watch import Watch

TICK_LAG_MS = 1_000
"""Timers look this far back, so that a reading that is on its way is seen before its delay runs out."""
OBSERVED_EVERY_S = 5.0
BLIND_LOOK_S = 1.0
HOUSEKEEPING_S = 60.0
BACKLOG_WINDOW = 200
LIVE_LIMIT = 1_000

_log = get_logger(__name__)

AnyCommand = Command | Bulk | EntryCommand | RuleCommand


@dataclass
class _Outcome:
    """What is to be done after the commit."""

    rows: list[Row] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    done: list[tuple[Command, Alert]] = field(default_factory=list)
    entered: list[tuple[EntryCommand, Receipt]] = field(default_factory=list)
    ordered: set[Asset] = field(default_factory=set)
    """Whose order in force is to be published."""
    bulks: list[Bulk] = field(default_factory=list)
    ruled: list[tuple[RuleCommand, RuleSet]] = field(default_factory=list)
    gone: list[Alert] = field(default_factory=list)
    """That no rule knows any more."""
    has_messages: bool = False


@dataclass(frozen=True, slots=True)
class AlertFigures:
    """How the worker is, for status and readiness; replaced as a whole, so any thread may read it."""

    observing: bool = False
    open_alerts: int = 0
    unevaluable: int = 0
    late_readings: int = 0
    queue_messages: int = 0
    blind_since_ms: int | None = None
    problems: tuple[str, ...] = ()


class Worker:
    """Constructed and stopped by the main thread; everything else happens on its own. `changed` is called after a commit,
    `to_tell` when what the status says has changed. `rules`: those of the file.

    `outbox_figures`: how the outbox is, replaced as a whole once a second.
    """

    def __init__(
        self,
        *,
        plant: PlantModel,
        remembered: RememberedDevices,
        rules: Mapping[str, AlertRule],
        reasons: Mapping[str, ReasonPath],
        store: Store,
        outbox: Outbox,
        limits: Limits,
        session: Session,
        intake: Intake[AnyCommand],
        from_ingest: FromIngest,
        clock: Clock,
        heartbeats: Heartbeats,
        changed: Callable[[], None],
        to_tell: Callable[[], None] = lambda: None,
        windows: Mapping[str, MaintenanceWindow] | None = None,
        products: Collection[str] = (),
        event_limits: EventLimits | None = None,
    ) -> None:
        self.outbox_figures = OutboxFigures()
        self._plant = plant
        self._windows = windows
        self._rule_desk = RuleDesk(plant, rules, store.connection, windows)
        self._store = store
        self._outbox = outbox
        self._desk = EntryDesk(plant, reasons, store.connection, outbox, products)
        self._session = session
        self._intake = intake
        self._clock = clock
        self._changed = changed
        self._to_tell = to_tell
        self._topics = Topics(plant.root)
        self._watch = Watch(plant, self._watched, plausible(store.load(), clock.now_ms()), self._windows)
        self._remembered = remembered
        self._receiver = AlertsReceiver(plant, self._topics, Running(store, session.publish), remembered.look())
        self._event_seq = store.last_event_seq()
        self._observed_ms = store.observed_ms()
        now_ms = clock.now_ms()
        self._vigil = Vigil(now_ms if self._observed_ms is None else min(self._observed_ms, now_ms))
        self.figures = AlertFigures(blind_since_ms=self._vigil.blind_since_ms)  # Until the first turn nobody watches.
        self._ticked_s = 0.0
        self._looked_blind_s = 0.0
        self._saved_observed_s = 0.0
        self._kept_house_s = 0.0
        self._outcome = _Outcome()
        self._pace = StatePace()
        self._archive = None if event_limits is None else EventArchive(store.connection, store.path.parent, event_limits)
        self._flood = Flood()
        self._turns = Turns(
            self,
            outbox,
            path=store.path,
            limits=limits,
            session=session,
            intake=intake,
            from_ingest=from_ingest,
            clock=clock,
            heartbeats=heartbeats,
            window=BACKLOG_WINDOW,
            live_limit=LIVE_LIMIT,
            commits=metrics.COMMITS,
        )

    @property
    def disk_problem(self) -> str | None:
        """Why the disk takes nothing at present."""
        return self._turns.disk_problem

    @property
    def rules(self) -> RulesInForce:
        """Any thread."""
        return self._rule_desk.shown

    @property
    def _watched(self) -> dict[str, Watched]:
        return self._rule_desk.rules.watched

    def start(self) -> None:
        """Brings the store in line with the plant and its rules, then runs. Raises DiskRefused."""
        self._adopt_rules()
        self._turns.start()

    def stop(self) -> None:
        """What was received and not committed comes again."""
        self._turns.stop()

    # A turn, on the worker's thread

    def hear(self, batch: Batch[AnyCommand], now: Now) -> None:
        """News of the connection."""
        if batch.connected is False or batch.reconnected:
            self._vigil.lost(now)
        if batch.connected:
            self._vigil.connected(now)
            self._watch.heard.clear()

    def apply(self, batch: Batch[AnyCommand], now: Now) -> list[Row]:
        """Everything of the batch, and the time that passed, in the store; returns the events to be sent."""
        outcome = self._outcome = _Outcome(has_messages=bool(batch.messages))
        batch.items += self._intake.take_items()  # While the disk refuses, people do not wait longer than they must.
        commands = [command for command in batch.items if command.answer.set_running_or_notify_cancel()]
        transitions = self._heed_clocks(now)
        self._receiver.known = self._remembered.look()
        for received in batch.messages:
            transitions += self._receiver.receive(received, self._watch, now)
        transitions += self._watch_time(now, outcome)
        self._record(transitions, now, outcome)
        for command in commands:
            if isinstance(command, EntryCommand):
                self._enter(command, now, outcome)
            elif isinstance(command, Bulk):
                for each in command.commands:
                    self._carry_out(each, now, outcome)
                outcome.bulks.append(command)
            elif isinstance(command, RuleCommand):
                self._change_rule(command, now, outcome)
            else:
                self._carry_out(command, now, outcome)
        self._save()
        return outcome.rows

    def committed(self, now: Now) -> None:
        """Answer commands, publish the states that changed."""
        outcome, self._outcome = self._outcome, _Outcome()
        for command, alert in outcome.done:
            command.answer.set_result(alert)
        for entry, taken in outcome.entered:
            entry.answer.set_result(taken)
        for bulk in outcome.bulks:
            bulk.answer.set_result(None)
        self._rule_desk.committed()
        for ruling, rules in outcome.ruled:
            ruling.answer.set_result(rules)
        for alert in outcome.gone:
            self._session.publish(self._topics.alert(alert.line, alert.device_id, alert.rule), b"", retain=True)
        for alert_id in outcome.changed:
            self._publish_state(alert_id)
            self._pace.published(alert_id, now.monotonic_s)
        for alert_id in self._pace.due(now.monotonic_s):
            self._publish_state(alert_id)
        for asset in outcome.ordered:
            state = encode(self._desk.state(asset, self._clock.now_ms()))
            self._session.publish(self._topics.context(*asset), state, retain=True)
        if outcome.changed or outcome.has_messages or outcome.rows:
            self._changed()

    def start_over(self, batch: Batch[AnyCommand], problem: str) -> None:
        """What is in memory goes back to what is stored. Commands are refused; who sent them tries again."""
        for command in batch.items:
            if not command.answer.done() and (command.answer.running() or command.answer.set_running_or_notify_cancel()):
                command.answer.set_exception(Unavailable(f"the store cannot be written: {problem}", 5.0))
        batch.items.clear()
        self._outcome = _Outcome()
        self._rule_desk.start_over()
        heard = self._watch.heard
        now = moment(self._clock)
        self._watch = Watch(self._plant, self._watched, plausible(self._store.load(), now.epoch_ms), self._windows)
        self._watch.heard |= heard
        self._event_seq = self._store.last_event_seq()
        self._vigil.begin_again(now)
        self._show_figures()

    def dropped(self, _losses: list[Loss]) -> None:
        """An event that its outbox gave up stays in the store: nothing waits for it."""

    def refilled(self, _since_ms: int) -> list[Row]:
        """Events are never changed, so that none was written over."""
        return []

    def show(self, figures: OutboxFigures) -> None:
        """How the outbox is."""
        self.outbox_figures = figures
        metrics.OUTBOX.show(figures)

    def _watch_time(self, now: Now, outcome: _Outcome) -> list[Transition]:
        transitions: list[Transition] = []
        has_heard_all = not len(self._intake)
        if has_heard_all and self._vigil.begins(now):
            gap_ms = 0 if self._observed_ms is None else max(now.epoch_ms - self._observed_ms, 0)
            transitions += self._watch.resume(gap_ms, now.epoch_ms)
            outcome.changed.update(self._watch.alerts)  # Every retained state is published anew.
            outcome.ordered.update(self._desk.assets())
            _log.info("watching", gap_s=gap_ms / 1000, alerts=len(self._watch.alerts))
        if has_heard_all and self._vigil.ends_hearsay(now):
            transitions += self._watch.forget_hearsay(now.epoch_ms)
        if now.monotonic_s - self._ticked_s >= TICK_S:
            self._ticked_s = now.monotonic_s
            transitions += self._watch.tick(now.epoch_ms - TICK_LAG_MS, blind=not self._vigil.is_watching)
            if self._vigil.is_watching and now.monotonic_s - self._looked_blind_s >= BLIND_LOOK_S:
                self._looked_blind_s = now.monotonic_s
                blind = blind_rules(self._watched.values(), self._watch.alerts, now.epoch_ms, self._watch.is_in_maintenance)
                for rule, problem in blind.items():
                    transitions += self._watch.report(rule, problem, now.epoch_ms)
            is_flood = self._flood.look(now.monotonic_s)
            transitions += self._watch.report(FLOOD, FLOOD_IN_WORDS if is_flood else None, now.epoch_ms)
            self._heed_time(now)
        return transitions

    def _heed_clocks(self, now: Now) -> list[Transition]:
        step_ms, transitions = self._vigil.heed_clocks(self._watch, now)
        if step_ms and self._observed_ms is not None:
            self._observed_ms = min(self._observed_ms + step_ms, now.epoch_ms)
        transitions += self._watch.report(NOT_WATCHING, self._vigil.problem(now), now.epoch_ms)
        return transitions + self._watch.report(FUTURE, self._receiver.future_problem(now), now.epoch_ms)

    def _heed_time(self, now: Now) -> None:
        if self._vigil.is_watching:
            self._observed_ms = now.epoch_ms
            if now.monotonic_s - self._saved_observed_s >= OBSERVED_EVERY_S:
                self._saved_observed_s = now.monotonic_s
                self._store.save_observed(now.epoch_ms)
        if self._archive is not None and self._outbox.are_ages_known(now):
            self._archive.turn(now.epoch_ms)
        if now.monotonic_s - self._kept_house_s >= HOUSEKEEPING_S:
            self._kept_house_s = now.monotonic_s
            if self._outbox.are_ages_known(now):
                self._store.forget_old(now.epoch_ms)
        self._show_figures()

    def _record(self, transitions: list[Transition], now: Now, outcome: _Outcome) -> None:
        drafts = []
        for transition in transitions:
            self._event_seq += 1
            alert = transition.alert
            watched = self._watched.get(alert.id)
            about = None if watched is None else watched.description
            event = event_message(transition, self._event_seq, now.epoch_ms, about)
            self._store.append_event(event, now.epoch_ms, transition.via)
            topic = self._topics.alert_event(alert.line, alert.device_id, alert.rule)
            drafts.append(Draft(topic, alert.device_id or None, now.epoch_ms, numbered(event)))
            outcome.changed.add(alert.id)
            if transition.cause is EventCause.CONDITION and alert.is_shown and not is_built_in(alert.rule):
                self._flood.told(now.monotonic_s)
            metrics.EVENTS.labels(transition.cause).inc()
            _log.info("alert", alert=alert.id, state=alert.state, was=transition.from_state, cause=transition.cause)
        if drafts:
            outcome.rows += self._outbox.append(drafts)

    def _enter(self, command: EntryCommand, now: Now, outcome: _Outcome) -> None:
        try:
            taken = self._desk.take(command, now)
        except EntryRefused as error:
            command.answer.set_exception(error)
            return
        outcome.rows += taken.rows
        outcome.entered.append((command, taken))
        if taken.ordered is not None:
            outcome.ordered.add(taken.ordered)

    def _carry_out(self, command: Command, now: Now, outcome: _Outcome) -> None:
        alert = self._watch.alerts.get(command.alert_id)
        if alert is None:
            command.answer.set_exception(UnknownAlert(command.alert_id))
            return
        if alert.version != command.version:
            command.answer.set_exception(StaleVersion(command.version, alert.version))
            return
        who = {"actor": command.actor, "comment": command.comment, "via": command.via}
        if isinstance(command.action, Comment):
            transitions = [Transition(alert, alert.state, command.action.cause, now.epoch_ms, **who)]
        else:
            try:
                transitions = self._watch.command(alert.id, command.action, now.epoch_ms, **who)
            except (IllegalTransition, NothingLearnt) as error:
                command.answer.set_exception(error)
                return
        self._record(transitions, now, outcome)
        alert = self._watch.alerts[alert.id]
        if command.remember is not None:
            remember = command.remember
            etag, body = remember.render(alert)
            answer = StoredAnswer(remember.fingerprint, etag, body)
            self._store.save_answer(remember.client, remember.key, answer, now.epoch_ms)
        outcome.done.append((command, alert))

    def _change_rule(self, command: RuleCommand, now: Now, outcome: _Outcome) -> None:
        self._save()  # What is to be written of the alerts is about the rules of before.
        try:
            change = self._rule_desk.take(command, now.epoch_ms)
        except RuleRefused as error:
            command.answer.set_exception(error)
            return
        outcome.ruled.append((command, change.rules))
        if not change.difference:
            return
        gone, transitions = self._watch.adopt(self._watched, now.epoch_ms)
        cause = EventCause.RULE_REMOVED if change.is_gone else EventCause.RULE_CHANGED
        said = " - ".join(text for text in (change.difference, command.comment) if text)
        who = {"actor": command.actor, "comment": said, "via": command.via}
        self._record([self._about_rule(command.rule, cause, now, **who)], now, outcome)
        for alert in gone:
            self._store.delete_alert(alert.id)
            self._record(list(ended(alert, now.epoch_ms)), now, outcome)
            outcome.gone.append(alert)
        self._record(transitions, now, outcome)

    def _about_rule(self, rule: str, cause: EventCause, now: Now, **who: str | None) -> Transition:
        """An event that is of no alert: its id is that of a rule about the platform."""
        named = id_of(rule, "")
        alert = self._watch.alerts.get(named) or Alert(id=named, rule=rule, line="", device_id="")
        return Transition(alert, alert.state, cause, now.epoch_ms, **who)

    def _save(self) -> None:
        watch = self._watch
        for alert_id in watch.changed_alerts:
            self._store.save_alert(watch.alerts[alert_id], self._watched[alert_id].description)
            self._pace.moved(alert_id)
        for device_id in watch.changed_devices:
            self._store.save_device(device_id, watch.devices[device_id])
        for instance in watch.changed_gateways:
            self._store.save_gateway(instance, watch.gateways.get(instance))
        watch.changed_gateways.clear()
        watch.changed_alerts.clear()
        watch.changed_devices.clear()

    def _adopt_rules(self) -> None:
        """Alerts of rules that are gone end, with an event; new ones get their row. OEE of what is gone is shown no more.

        What was observed of a device that is gone, or has another profile, is forgotten.
        """
        now = moment(self._clock)
        outcome = _Outcome()
        with self._store.transaction():
            self._rule_desk.drop_what_the_file_says()
            stored = self._store.load()
            saved = plausible(stored, now.epoch_ms)
            for device_id, record in saved.devices.items():
                if record is not stored.devices[device_id]:
                    self._store.save_device(device_id, record)
            for device_id, record in reconciled(self._plant, saved.devices, now.epoch_ms).items():
                self._store.save_device(device_id, record)
            for alert in saved.alerts.values():
                if (watched := self._watched.get(alert.id)) is not None:
                    if begins_anew(self._plant, alert.device_id, saved.devices.get(alert.device_id)):
                        self._store.save_alert(forgetful(alert), watched.description)
                    continue
                self._record(list(ended(alert, now.epoch_ms)), now, outcome)
                self._store.delete_alert(alert.id)
            self._record(self._rule_changes(now), now, outcome)
            for line, device in self._store.oee_assets():
                if not self._plant.has_asset(line, device):
                    self._store.forget_oee(line, device)
            self._watch = Watch(self._plant, self._watched, plausible(self._store.load(), now.epoch_ms), self._windows)
            self._watch.changed_alerts.update(self._watched)
            self._save()

    def _rule_changes(self, now: Now) -> list[Transition]:
        """One event for each rule that says something else than at the last start, with what was and what is."""
        before, told = load_rules(self._store.connection), []
        present = {name: said_by(rule) for name, rule in self._rule_desk.rules.rules.items()}
        for name, said in present.items():
            if changes := difference(before.get(name, said), said):
                told.append(self._about_rule(name, EventCause.RULE_CHANGED, now, actor=RULES_FILE, comment=changes))
        keep_rules(self._store.connection, present)
        return told

    def _publish_state(self, alert_id: str) -> None:
        """The retained state; one that never happened needs none. While disconnected, the next connect publishes it."""
        alert = self._watch.alerts.get(alert_id)
        if alert is None or not alert.version:
            return
        message = state_message(alert, self._watched[alert_id].description)
        topic = self._topics.alert(alert.line, alert.device_id, alert.rule)
        self._session.publish(topic, encode(message), retain=True)

    def _problems(self) -> Iterator[str]:
        now = moment(self._clock)
        archive = None if self._archive is None else self._archive.problem
        for problem in (self._vigil.problem(now), self._vigil.step_problem, self._receiver.future_problem(now), archive):
            if problem is not None:
                yield problem

    def _show_figures(self) -> None:
        alerts, before = self._watch.alerts.values(), self.figures
        self.figures = AlertFigures(
            observing=self._vigil.is_watching,
            open_alerts=sum(alert.is_shown for alert in alerts),
            unevaluable=sum(alert.evaluation not in EVALUABLE for alert in alerts),
            late_readings=self._watch.late_readings,
            queue_messages=len(self._intake),
            blind_since_ms=self._vigil.blind_since_ms,
            problems=tuple(self._problems()),
        )
        if (before.observing, before.problems) != (self.figures.observing, self.figures.problems):
            self._to_tell()
        metrics.OPEN_ALERTS.set(self.figures.open_alerts)
        metrics.UNEVALUABLE.set(self.figures.unevaluable)
        metrics.LATE_READINGS.set(self.figures.late_readings)
        metrics.QUEUE_DEPTH.set(self.figures.queue_messages)
