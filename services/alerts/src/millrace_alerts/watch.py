"""What is known of the plant, and its alerts: routes each observation to the alerts that it concerns.

No clock, no I/O: the worker and a replay drive the same object, so that what a replay prints is what the live service
would have stored. Owned by one thread.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import msgspec

from millrace_contract.language.messages import Comms, ContextState, Status
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval
from millrace_contract.language.telemetry import Telemetry
from millrace_contract.language.words import Evaluation, EventCause, IsaState, Quality
from millrace_contract.plant import PlantModel
from millrace_contract.plant.maintenance import MaintenanceWindow
from millrace_contract.plant.reach import reach_of

from .alert import Alert, Transition
from .alert import alert_id as id_of
from .builtin import gateway_rule, is_built_in
from .changes import act
from .clocks import Order, begun_anew, counts_from_ms, follow, order_of, plausible_alert, plausible_record
from .concerned import Concerned, by_device
from .evaluator import evaluate
from .first_out import FirstOut
from .in_force import FIGURES_HOLD_MS, ORDER, PRODUCT, SHIFT, AroundMachines, HeldAround
from .in_order import newest_ms
from .lifecycle import Action, LearnAnew
from .observations import (
    Chosen,
    ClockStep,
    FiguresTold,
    GateReading,
    Inhibit,
    Link,
    Observation,
    PartReadings,
    Reading,
    Resume,
    Seen,
    StatusTold,
    StopTold,
    Tick,
)
from .reconcile import forget_old_names
from .records import DeviceRecord, Gateway, Latest, Saved
from .relearning import learnt_anew
from .rules import Watched
from .suppression import Suppression, covered, settled

RETURN_GRACE_MS = 45_000
"""After a gap of our own a device gets this long to be heard: gateways take up to 30 s to reconnect."""

MAX_SIGNALS = 2_000
"""So many signals of a device are remembered: a sender that invents names must not fill the memory."""


class Watch:
    """The alerts of a plant. `changed_alerts`, `changed_devices` and `changed_gateways` name what is to be saved."""

    def __init__(
        self,
        plant: PlantModel,
        watched: dict[str, Watched],
        saved: Saved,
        windows: Mapping[str, MaintenanceWindow] | None = None,
    ) -> None:
        self._plant = plant
        self._windows = windows or {}
        self.devices = {name: saved.devices.get(name, DeviceRecord()) for name in plant.devices}
        self.gateways = dict(saved.gateways)
        self.changed_alerts: set[str] = set()
        self.changed_devices: set[str] = set()
        self.changed_gateways: set[str] = set()
        self.heard: set[str] = set()
        """Devices and gateways of whose link something was said on this connection; the rest is what is remembered."""
        self.late_readings = 0
        self._reported: dict[str, str | None] = {}
        self._around = AroundMachines()
        self._in_force: dict[tuple[str, str], tuple[HeldAround, int]] = {}
        self._take_over(watched, saved)

    def adopt(self, watched: dict[str, Watched], now_ms: int) -> tuple[list[Alert], list[Transition]]:
        """From now on other rules hold: the alerts that none of them knows, and what becomes of the rest.

        An alert that a rule still knows goes on as over a restart.
        """
        before, gone = self.watched, [alert for name, alert in self.alerts.items() if name not in watched]
        self._take_over(watched, Saved(self.alerts, self.devices, self.gateways))
        for alert in gone:
            self._reported.pop(alert.rule, None)
        self.changed_alerts -= {alert.id for alert in gone}
        self.changed_alerts |= {name for name, each in watched.items() if before.get(name) != each}
        transitions = self._tell([name for name in watched if name not in before], Resume(0, now_ms + RETURN_GRACE_MS))
        for device in self._plant.devices:
            transitions += self._link(device, now_ms)
        return gone, transitions

    def _take_over(self, watched: dict[str, Watched], saved: Saved) -> None:
        self.watched = watched
        self.alerts = {each.alert_id: _restored(each, saved) for each in watched.values()}
        self._concerned = by_device(watched, self._plant.devices)
        self._of_platform = [each.alert_id for each in watched.values() if not each.device_id and not is_built_in(each.rule)]
        self._first_out = FirstOut(watched.values())
        self._in_force.clear()
        self._suppression = Suppression(self._plant, watched, self._windows)
        self._to_settle = self._suppression.members

    def telemetry(self, device_id: str, message: Telemetry, now_ms: int | None = None) -> list[Transition]:
        """A message of a device of the plant, heard at `now_ms`. Backfill is shown where it is the newest, and never evaluated."""
        heard_ms = message.timestamp_ms if now_ms is None else now_ms
        order, newest_ms = order_of(self.devices[device_id], message), self.devices[device_id].heard_ms
        at_ms = counts_from_ms(message.timestamp_ms, heard_ms)
        fresh = self._remember(device_id, message, order, at_ms)
        if message.backfill:
            return []
        concerned = self._concerned[device_id]
        if not fresh:
            return self._tell_late(concerned, message, fresh, at_ms)
        if order.is_anew and at_ms <= newest_ms:
            self._begin_anew(concerned, fresh, at_ms)
        transitions: list[Transition] = []
        for signal in fresh if concerned.gates else ():
            latest = self.devices[device_id].readings[signal]
            transitions += self._tell(concerned.gates.get(signal, ()), GateReading(latest.at_ms, latest.value, latest.hold_ms))
        for signal in fresh:
            latest = self.devices[device_id].readings[signal]
            reading = Reading(latest.at_ms, latest.value, latest.quality is Quality.UNCERTAIN, latest.hold_ms)
            transitions += self._tell(concerned.readings.get(signal, ()), reading)
            if latest.value is not None:
                transitions += self._tell(concerned.data.get(signal, ()), Seen(latest.at_ms, heard_ms))
        if concerned.parts:
            transitions += self._tell_parts(device_id, concerned.parts, fresh, at_ms)
        if message.readings:
            transitions += self._tell(concerned.data.get(None, ()), Seen(at_ms, heard_ms))
        return transitions + self._tell_late(concerned, message, fresh, at_ms)

    def _tell_late(self, concerned: Concerned, message: Telemetry, fresh: Collection[str], at_ms: int) -> list[Transition]:
        """What was overtaken by a newer message is news only for those who judge in order."""
        transitions: list[Transition] = []
        for signal, (gates, readings) in concerned.in_order.items():
            if signal in fresh or (signal not in message.readings and signal not in message.quality):
                continue
            value, is_uncertain = message.readings.get(signal), message.quality.get(signal) is Quality.UNCERTAIN
            transitions += self._tell(gates, GateReading(at_ms, value, message.hold_ms))
            transitions += self._tell(readings, Reading(at_ms, value, is_uncertain, message.hold_ms))
        return transitions

    def _tell_parts(self, device_id: str, parts: dict[str, list[str]], fresh: Iterable[str], at_ms: int) -> list[Transition]:
        """Rules that watch several signals hear what concerns them of a message at once: it is one instant."""
        told: dict[str, dict[str, tuple[float | str | None, bool, int | None]]] = {}
        for signal in fresh:
            latest = self.devices[device_id].readings[signal]
            for alert_id in parts.get(signal, ()):
                read = (latest.value, latest.quality is Quality.UNCERTAIN, latest.hold_ms)
                told.setdefault(alert_id, {})[signal] = read
        transitions: list[Transition] = []
        for alert_id, readings in told.items():
            transitions += self._tell((alert_id,), PartReadings(device_id, at_ms, readings))
        return transitions

    def comms(self, device_id: str, comms: Comms | None, at_ms: int) -> list[Transition]:
        """Whether a device can be reached, since `at_ms`; None: what was said of it was cleared."""
        self.heard.add(device_id)
        self.devices[device_id].comms = comms
        self.changed_devices.add(device_id)
        return self._link(device_id, at_ms)

    def gateway(self, instance: str, alive: bool | None, now_ms: int) -> list[Transition]:
        """A gateway came or went, with all its devices; None: what it said of itself was cleared."""
        self.heard.add(_gateway(instance))
        known = self.gateways.get(instance)
        if alive == (None if known is None else known.alive):
            return []
        if alive is None:
            del self.gateways[instance]
        else:
            self.gateways[instance] = Gateway(alive, now_ms)
        self.changed_gateways.add(instance)
        transitions = self._report_gateway(instance, now_ms)
        for device in self._plant.devices.values():
            if device.gateway == instance:
                self.changed_devices.add(device.id)
                transitions += self._link(device.id, now_ms)
        return transitions

    def told(self, statuses: Sequence[Status], now_ms: int) -> list[Transition]:
        """A service has said how it is, or was cleared: what all of them said last."""
        return self._tell(self._of_platform, StatusTold(now_ms, tuple(statuses)))

    def ordered(self, line: str, device: str | None, state: ContextState | None) -> list[Transition]:
        """The order in force of a device or a line; it counts from the next tick on."""
        self._around.ordered(line, device, state)
        return []

    def figures(self, document: OeeDocument, now_ms: int, *, is_ended: bool) -> list[Transition]:
        """What oee says of a line or a device: of a window that is over, or of the one in progress."""
        if not is_ended:
            self._around.shift_told(document, now_ms)
        concerned = self._concerned.get(document.device_id if isinstance(document.device_id, str) else "")
        return [] if concerned is None else self._tell(concerned.figures, FiguresTold(now_ms, document, is_ended))

    def stop(self, stop: OeeInterval, now_ms: int) -> list[Transition]:
        """A stop of a device, as far as oee knows it."""
        concerned = self._concerned.get(stop.device_id)
        return [] if concerned is None else self._tell(concerned.figures, StopTold(now_ms, stop))

    def _tell_around(self, now_ms: int) -> list[Transition]:
        """What is in force around each machine whose rules ask for it: when it changes, and before it holds no longer."""
        transitions: list[Transition] = []
        for device, concerned in self._concerned.items():
            asked = [what for what in (ORDER, PRODUCT, SHIFT) if what in concerned.gates or what in concerned.tables]
            if not asked:
                continue
            found = self._around.at(self._plant.devices[device].line, device, now_ms)
            for what in asked:
                before, told_ms = self._in_force.get((device, what), (None, 0))
                if found[what] == before and now_ms - told_ms < FIGURES_HOLD_MS / 2:
                    continue
                self._in_force[device, what] = found[what], now_ms
                told = GateReading(now_ms, found[what].value, found[what].hold_ms)
                transitions += self._tell(concerned.gates.get(what, ()), told)
                transitions += self._tell(concerned.tables.get(what, ()), Chosen(found[what].value))
        return transitions

    def report(self, rule: str, problem: str | None, now_ms: int) -> list[Transition]:
        """What a built-in rule is about, in words, or None where nothing is wrong. Only news is told on."""
        if self._reported.get(rule, "") == problem:
            return []
        self._reported[rule] = problem
        said = Status(service="alerts", instance="", alive=True, problems=[] if problem is None else [problem])
        return self._tell([id_of(rule, "")], StatusTold(now_ms, (said,)))

    def tick(self, now_ms: int, *, blind: bool = False) -> list[Transition]:
        """Time passed: delays run out, data grow old, shelves expire. `blind`: silence says nothing just now."""
        transitions = [] if blind else self._tell_around(now_ms)
        transitions += self._tell(self.alerts, Tick(now_ms, blind))
        concerned, said = self._suppression.look(now_ms)
        for rule, words in said.items():
            if id_of(rule, "") in self.alerts:  # A replay may be of some rules only.
                transitions += self.report(rule, words, now_ms)
        concerned, self._to_settle = concerned | self._to_settle, set()
        for alert_id in sorted(concerned):
            transitions += self._settle(alert_id, now_ms)
        return transitions

    def is_in_maintenance(self, alert_id: str) -> bool:
        """A window of maintenance is on that hides this alert."""
        return self._suppression.is_in_maintenance(alert_id)

    def resume(self, gap_ms: int, now_ms: int) -> list[Transition]:
        """We heard nothing for `gap_ms` through no fault of the devices, and the plant model may be another one."""
        transitions = self._tell(self.alerts, Resume(gap_ms, now_ms + RETURN_GRACE_MS))
        for instance in sorted({device.gateway for device in self._plant.devices.values()}):
            transitions += self._report_gateway(instance, now_ms)
        for device in self._plant.devices:
            transitions += self._link(device, now_ms)
        return transitions

    def forget_hearsay(self, now_ms: int) -> list[Transition]:
        """What is remembered of links and was not said again on this connection was cleared while we did not hear it."""
        transitions: list[Transition] = []
        for instance in [each for each in self.gateways if _gateway(each) not in self.heard]:
            transitions += self.gateway(instance, None, now_ms)
        for device_id, record in self.devices.items():
            if record.comms is not None and device_id not in self.heard:
                transitions += self.comms(device_id, None, now_ms)
        return transitions

    def command(
        self,
        alert_id: str,
        action: Action | LearnAnew,
        at_ms: int,
        *,
        actor: str | None = None,
        comment: str | None = None,
        via: str | None = None,
    ) -> list[Transition]:
        """A person's action; raises IllegalTransition, NothingLearnt, and KeyError for an unknown alert."""
        before = self.alerts[alert_id]
        if isinstance(action, LearnAnew):
            alert, made = learnt_anew(before, at_ms, actor=actor, comment=comment, via=via)
        else:
            alert, made = act(before, action, at_ms, actor=actor, comment=comment, via=via)
        self.alerts[alert_id] = alert
        self.changed_alerts.add(alert_id)
        transitions = list(made)
        if alert.facts.in_alarm != before.facts.in_alarm:
            for each in self._suppression.concerned_by(alert_id):
                transitions += self._settle(each, at_ms)
        return transitions

    def is_offline(self, device_id: str) -> bool:
        """True when the gateway says so, or is itself not alive."""
        device = self._plant.devices[device_id]
        gateway = self.gateways.get(device.gateway)
        return reach_of(device, self.devices[device_id].comms, None if gateway is None else gateway.alive).is_offline

    def _link(self, device_id: str, at_ms: int) -> list[Transition]:
        concerned = self._concerned[device_id]
        offline, cause = self.is_offline(device_id), self._cause(device_id)
        for each in concerned.every:
            explained_by = None if each == cause else cause
            if self.alerts[each].explained_by != explained_by:
                self._replace(each, msgspec.structs.replace(self.alerts[each], explained_by=explained_by))
        is_gateway = cause is not None and cause not in self._concerned[device_id].links
        transitions = self._tell(concerned.links, Link(at_ms, offline, is_gateway))
        # Without a rule that tells of it, an offline device must not hide its missing data, nor go on hiding it.
        return transitions + self._tell(concerned.inhibited, Inhibit(at_ms, cause is not None))

    def _cause(self, device_id: str) -> str | None:
        """The alert that says why nothing is heard of the device: its gateway's, else its own of being offline."""
        gateway = self.gateways.get(self._plant.devices[device_id].gateway)
        if gateway is not None and not gateway.alive:
            return id_of(gateway_rule(self._plant.devices[device_id].gateway), "")
        links = self._concerned[device_id].links
        return links[0] if links and self.is_offline(device_id) else None

    def _report_gateway(self, instance: str, now_ms: int) -> list[Transition]:
        rule, known = gateway_rule(instance), self.gateways.get(instance)
        if id_of(rule, "") not in self.alerts:
            return []
        count = sum(device.gateway == instance for device in self._plant.devices.values())
        is_gone = known is not None and not known.alive
        devices = f"its {count} devices are" if count > 1 else "its device is"
        return self.report(rule, f"gateway {instance} is gone: {devices} heard of no more" if is_gone else None, now_ms)

    def clock_stepped(self, step_ms: int, now_ms: int) -> list[Transition]:
        """Our clock was set by so much, to `now_ms`: what would lie in the future is void, spans stay as long as they were."""
        for device_id, record in self.devices.items():
            plausible = plausible_record(record, now_ms)
            if plausible is not record:
                self.devices[device_id] = plausible
                self.changed_devices.add(device_id)
        self._in_force.clear()
        transitions = self._tell(self.alerts, ClockStep(step_ms))
        for alert_id, alert in self.alerts.items():
            self._replace(alert_id, plausible_alert(alert, now_ms))
        return transitions

    def _begin_anew(self, concerned: Concerned, fresh: Iterable[str], at_ms: int) -> None:
        """What these alerts have seen has a later time than what counts now."""
        told = (concerned.readings, concerned.data, concerned.parts, concerned.gates)
        ids = [each for signal in fresh for those in told for each in those.get(signal, ())]
        for alert_id in (*ids, *concerned.data.get(None, ())):
            if newest_ms(self.alerts[alert_id]) >= at_ms:
                self._replace(alert_id, begun_anew(self.alerts[alert_id]))
                self._in_force.clear()  # what its gate knew is told it again

    def _replace(self, alert_id: str, alert: Alert) -> None:
        if alert is not self.alerts[alert_id]:
            self.alerts[alert_id] = alert
            self.changed_alerts.add(alert_id)

    def _remember(self, device_id: str, message: Telemetry, order: Order, at_ms: int) -> list[str]:
        """Takes over what is newer than what is known; returns the names of those signals."""
        record = self.devices[device_id]
        fresh: list[str] = []
        for signal in {**message.readings, **message.quality}:
            known = record.readings.get(signal)
            if known is None and len(record.readings) >= MAX_SIGNALS:
                continue
            if order.is_late or (known is not None and known.at_ms >= at_ms and not order.is_anew):
                self.late_readings += 1
                continue
            quality = message.quality.get(signal, Quality.GOOD)
            record.readings[signal] = Latest(at_ms, message.readings.get(signal), quality, message.hold_ms)
            fresh.append(signal)
        if fresh:
            follow(record, message)
            record.heard_ms = at_ms if order.is_anew else max(record.heard_ms, at_ms)
            forget_old_names(record, self._plant.profile_of(device_id))
            self.changed_devices.add(device_id)
        return fresh

    def _tell(self, alert_ids: Iterable[str], observation: Observation) -> list[Transition]:
        transitions: list[Transition] = []
        for alert_id in alert_ids:
            before = self.alerts[alert_id]
            after, made = evaluate(before, self.watched[alert_id], observation)
            if after is before:
                continue
            if made:
                after, made = self._hidden_from_the_first(before, observation, after, made)
            self.alerts[alert_id] = after
            if made or _worth_saving(before, after):
                self.changed_alerts.add(alert_id)
                followed = [each for transition in made for each in self._follow(transition)]
                transitions += [*map(self._with_cause, made), *followed]
        return transitions

    def _hidden_from_the_first(
        self, before: Alert, observation: Observation, after: Alert, made: tuple[Transition, ...]
    ) -> tuple[Alert, tuple[Transition, ...]]:
        """What is raised while something hides it is never shown: hidden first, then raised."""
        raised = next((each for each in made if each.cause is EventCause.CONDITION), None)
        if raised is None:
            return after, made
        is_first = self._first_out.would_be_first(before.id, self.alerts)
        sources = self._suppression.sources(before.id, self.alerts, is_first=is_first)
        hidden, first = covered(before, sources, raised.source_ms)
        if not first:
            return after, made
        after, made = evaluate(hidden, self.watched[before.id], observation)
        return after, first + made

    def _follow(self, transition: Transition) -> list[Transition]:
        """What a transition, which `alerts` has, makes of the flags of its group and of what its alert hides."""
        if transition.cause not in {EventCause.CONDITION, EventCause.CLEAR}:
            return []
        concerned = dict.fromkeys(self._suppression.concerned_by(transition.alert.id))
        for flagged in self._first_out.flagged(transition, self.alerts):
            self._replace(flagged.id, flagged)
            concerned[flagged.id] = None
        made: list[Transition] = []
        for alert_id in concerned:
            made += self._settle(alert_id, transition.source_ms)
        return made

    def _with_cause(self, transition: Transition) -> Transition:
        """With the alert of its group that came first, which is known only now."""
        first_cause = self.alerts[transition.alert.id].first_cause
        if transition.alert.first_cause == first_cause:
            return transition
        return replace(transition, alert=msgspec.structs.replace(transition.alert, first_cause=first_cause))

    def _settle(self, alert_id: str, at_ms: int) -> list[Transition]:
        alert = self.alerts[alert_id]
        sources = self._suppression.sources(alert_id, self.alerts, is_first=alert.first_out)
        after, made = settled(alert, sources, at_ms)
        self._replace(alert_id, after)
        return list(made)


def _gateway(instance: str) -> str:
    """A name that no device can have."""
    return f"gateway/{instance}"


def _restored(watched: Watched, saved: Saved) -> Alert:
    alert = saved.alerts.get(watched.alert_id)
    if alert is None:
        alert = Alert(id=watched.alert_id, rule=watched.rule, line=watched.line, device_id=watched.device_id)
        return msgspec.structs.replace(alert, evaluation=Evaluation.GOOD) if is_built_in(watched.rule) else alert
    alert = msgspec.structs.replace(alert, line=watched.line)
    if alert.facts.in_alarm and alert.activation_value is None:  # from before there were three figures
        alert = msgspec.structs.replace(alert, activation_value=alert.value)
    # An observation that changed nothing of an alert is saved with its device only.
    device = saved.devices.get(watched.device_id)
    if device is None:
        return alert
    return watched.condition.restored(alert, device)


def _worth_saving(before: Alert, after: Alert) -> bool:
    """Whether more changed than the newest observation, which is saved with the device."""
    return (
        before.timer != after.timer
        or before.evaluation != after.evaluation
        or before.inhibited != after.inhibited
        or before.facts != after.facts
        or before.memory is not after.memory
        or before.gate is not after.gate
        or before.chosen != after.chosen
        or before.waiting is not after.waiting
        or before.re_alarm_at_ms != after.re_alarm_at_ms
        or before.blind_since_ms != after.blind_since_ms
        or (after.state is not IsaState.NORM and (before.seen_value, before.peak) != (after.seen_value, after.peak))
        or (before.quiet_from_ms is None) != (after.quiet_from_ms is None)
    )
