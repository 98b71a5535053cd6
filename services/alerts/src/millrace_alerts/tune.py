"""Compares deadbands and delays of one threshold rule on recorded data: how many alerts would each have raised?"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from millrace_contract.language.event_file import ArrivalClock, Event
from millrace_contract.language.messages import Comms, ContextState, Status
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval
from millrace_contract.language.telemetry import Telemetry
from millrace_contract.language.topics import Topics
from millrace_contract.language.words import Quality
from millrace_contract.plant import PlantModel
from millrace_contract.runtime.clock import Now
from millrace_contract.runtime.recording import as_received

from .alert import Alert, Transition
from .conditions import Limit
from .evaluator import evaluate
from .observations import GateReading, Reading
from .receiver import AlertsReceiver, NoSurroundings
from .rules import Watched
from .timeline_svg import Spans

HOUR_MS = 3_600_000
CHATTER_MS = 60_000
"""Three activations within this time are chattering (alerts.md B5)."""


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """One choice of the three numbers."""

    deadband: float
    on_delay_s: float
    off_delay_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a candidate would have done, over all devices. `in_alarm_s`: for how long the condition was active; `spans`: when."""

    candidate: Candidate
    alerts: int
    per_hour: float
    chattering: int
    in_alarm_s: float
    spans: Spans = ()


Readings = dict[str, list[Reading | GateReading]]
"""Device -> what the rule's signal was, and the one that says whether it is evaluated, in order of arrival."""


class ReadingsHeard:
    """Stands in for the watch: what the live service's receiver lets through is kept where the rule looks at it."""

    def __init__(self, rule: Iterable[Watched]) -> None:
        self.alerts: dict[str, Alert] = {}
        rule = list(rule)
        self._signals = {each.device_id: each.condition.signal for each in rule if isinstance(each.condition, Limit)}
        self._gates = {each.device_id: each.gate.signal for each in rule if each.gate is not None}
        self.readings: Readings = {device: [] for device in self._signals}

    def telemetry(self, device_id: str, message: Telemetry, _now_ms: int = 0) -> list[Transition]:
        signal, gate = self._signals.get(device_id), self._gates.get(device_id)
        if (
            signal is not None
            and gate is not None
            and not message.backfill
            and (gate in message.readings or gate in message.quality)
        ):
            self.readings[device_id].append(GateReading(message.timestamp_ms, message.readings.get(gate), message.hold_ms))
        if signal is not None and not message.backfill and (signal in message.readings or signal in message.quality):
            uncertain = message.quality.get(signal) is Quality.UNCERTAIN
            reading = Reading(message.timestamp_ms, message.readings.get(signal), uncertain, message.hold_ms)
            self.readings[device_id].append(reading)
        return []

    def comms(self, _device_id: str, _comms: Comms | None, _at_ms: int) -> list[Transition]:
        return []

    def gateway(self, _instance: str, _alive: bool | None, _now_ms: int) -> list[Transition]:
        return []

    def told(self, _statuses: Sequence[Status], _now_ms: int) -> list[Transition]:
        return []

    def ordered(self, _line: str, _device: str | None, _state: ContextState | None) -> list[Transition]:
        return []

    def figures(self, _document: OeeDocument, _now_ms: int, *, is_ended: bool) -> list[Transition]:  # noqa: ARG002 - of the protocol
        return []

    def stop(self, _stop: OeeInterval, _now_ms: int) -> list[Transition]:
        return []


def recorded_readings(
    plant: PlantModel, rule: list[Watched], messages: Iterable[Event], today_ms: int
) -> tuple[Readings, Counter[str]]:
    """The readings that the rule looks at, and how many messages changed nothing, by reason."""
    listener, clock = ReadingsHeard(rule), ArrivalClock(today_ms)
    receiver = AlertsReceiver(plant, Topics(plant.root), NoSurroundings())
    for message in messages:
        now_ms = clock.hear(message)
        receiver.receive(as_received(message), listener, Now(now_ms / 1000, now_ms))
    return listener.readings, receiver.ignored


def candidates(watched: Watched, chosen: tuple[list[float], list[float], list[float]]) -> list[Candidate]:
    """Every combination of what was chosen; what was left open gets some around the rule's own number."""
    condition = watched.condition
    if not isinstance(condition, Limit):
        raise TypeError("only a threshold has a deadband")
    deadbands, on_delays, off_delays = chosen
    scale = abs(condition.limit) or 1.0
    own_on_s, own_off_s = watched.terms.delays.on_ms / 1000, watched.terms.delays.off_ms / 1000
    return sorted(
        Candidate(*numbers)
        for numbers in product(
            deadbands or sorted({0.0, round(scale * 0.01, 6), round(scale * 0.02, 6), round(scale * 0.05, 6), condition.deadband}),
            on_delays or sorted({0.0, 5.0, 15.0, 60.0, own_on_s}),
            off_delays or sorted({0.0, own_off_s}),
        )
    )


def judge(rule: list[Watched], recorded: Readings, candidate: Candidate) -> Verdict:
    """Evaluate the recording with the candidate's numbers in place of the rule's."""
    alerts = chattering = 0
    spans: list[tuple[int, int]] = []
    for watched in rule:
        readings = recorded[watched.device_id]
        transitions = list(_transitions(_with(watched, candidate), readings))
        raised = [transition.source_ms for transition in transitions if transition.cause == "condition"]
        alerts += len(raised)
        chattering += sum(third - first <= CHATTER_MS for first, third in zip(raised, raised[2:], strict=False))
        spans += _active(transitions, readings[-1].at_ms if readings else 0)
    hours = span_ms(recorded) / HOUR_MS
    in_alarm_ms = sum(end_ms - start_ms for start_ms, end_ms in spans)
    return Verdict(candidate, alerts, round(alerts / hours, 3) if hours else 0.0, chattering, in_alarm_ms / 1000, tuple(spans))


def span_ms(recorded: Readings) -> int:
    """From the first to the last reading of any device."""
    times = [reading.at_ms for readings in recorded.values() for reading in readings]
    return max(times) - min(times) if times else 0


def _transitions(watched: Watched, readings: list[Reading | GateReading]) -> Iterator[Transition]:
    alert = Alert(id=watched.alert_id, rule=watched.rule, line=watched.line, device_id=watched.device_id)
    for reading in readings:
        alert, made = evaluate(alert, watched, reading)
        yield from made


def _with(watched: Watched, candidate: Candidate) -> Watched:
    assert isinstance(watched.condition, Limit)  # noqa: S101 - `candidates` refused everything else
    return replace(
        watched,
        condition=replace(watched.condition, deadband=candidate.deadband),
        terms=replace(
            watched.terms,
            delays=replace(
                watched.terms.delays, on_ms=round(candidate.on_delay_s * 1000), off_ms=round(candidate.off_delay_s * 1000)
            ),
        ),
    )


def _active(transitions: list[Transition], end_ms: int) -> Iterator[tuple[int, int]]:
    since_ms = None
    for transition in transitions:
        if transition.cause == "condition":
            since_ms = transition.source_ms
        elif transition.cause == "clear" and since_ms is not None:
            yield since_ms, transition.source_ms
            since_ms = None
    if since_ms is not None:
        yield since_ms, max(end_ms, since_ms)
