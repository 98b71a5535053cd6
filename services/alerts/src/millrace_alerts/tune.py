"""Compares deadbands and delays of one threshold rule on recorded data: how many alerts would each have raised?"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from millrace_contract.errors import Malformed
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.language.topics import Kind, Topics
from millrace_contract.plant import PlantModel

from .alert import Alert, Transition
from .evaluator import Reading, evaluate
from .event_file import Recorded
from .rules import Limit, Watched

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
    """What a candidate would have done, over all devices. `in_alarm_s` is the time in which the condition was active."""

    candidate: Candidate
    alerts: int
    per_hour: float
    chattering: int
    in_alarm_s: float


Recording = dict[str, list[Reading]]


def recorded_readings(plant: PlantModel, rule: list[Watched], messages: Iterable[Recorded], today_ms: int) -> Recording:
    """The readings that the rule looks at, by device, in order of arrival."""
    topics = Topics(plant.root)
    signals = {each.device_id: each.condition.signal for each in rule if isinstance(each.condition, Limit)}
    found: Recording = {device: [] for device in signals}
    for message in messages:
        topic = topics.parse(message.topic)
        if topic is None or topic.kind is not Kind.TELEMETRY or topic.device not in signals:
            continue
        try:
            telemetry = decode_telemetry(message.payload, today_ms, topic.device)
        except Malformed:
            continue
        signal = signals[topic.device]
        if telemetry.backfill or (signal not in telemetry.readings and signal not in telemetry.quality):
            continue
        uncertain = telemetry.quality.get(signal) == "uncertain"
        found[topic.device].append(Reading(telemetry.timestamp_ms, telemetry.readings.get(signal), uncertain))
    return found


def candidates(watched: Watched, chosen: tuple[list[float], list[float], list[float]]) -> list[Candidate]:
    """Every combination of what was chosen; what was left open gets some around the rule's own number."""
    condition = watched.condition
    if not isinstance(condition, Limit):
        raise TypeError("only a threshold has a deadband")
    deadbands, on_delays, off_delays = chosen
    scale = abs(condition.limit) or 1.0
    own_on_s, own_off_s = watched.delays.on_ms / 1000, watched.delays.off_ms / 1000
    return sorted(
        Candidate(*numbers)
        for numbers in product(
            deadbands or sorted({0.0, round(scale * 0.01, 6), round(scale * 0.02, 6), round(scale * 0.05, 6), condition.deadband}),
            on_delays or sorted({0.0, 5.0, 15.0, 60.0, own_on_s}),
            off_delays or sorted({0.0, own_off_s}),
        )
    )


def judge(rule: list[Watched], recording: Recording, candidate: Candidate) -> Verdict:
    """Evaluate the recording with the candidate's numbers in place of the rule's."""
    alerts = chattering = 0
    in_alarm_ms = 0
    for watched in rule:
        readings = recording[watched.device_id]
        transitions = list(_transitions(_with(watched, candidate), readings))
        raised = [transition.source_ms for transition in transitions if transition.cause == "condition"]
        alerts += len(raised)
        chattering += sum(third - first <= CHATTER_MS for first, third in zip(raised, raised[2:], strict=False))
        in_alarm_ms += _active_ms(transitions, readings[-1].at_ms if readings else 0)
    hours = span_ms(recording) / HOUR_MS
    return Verdict(candidate, alerts, round(alerts / hours, 3) if hours else 0.0, chattering, in_alarm_ms / 1000)


def span_ms(recording: Recording) -> int:
    """From the first to the last reading of any device."""
    times = [reading.at_ms for readings in recording.values() for reading in readings]
    return max(times) - min(times) if times else 0


def _transitions(watched: Watched, readings: list[Reading]) -> Iterator[Transition]:
    alert = Alert(id=watched.alert_id, rule=watched.rule, line=watched.line, device_id=watched.device_id)
    for reading in readings:
        alert, made = evaluate(alert, watched, reading)
        yield from made


def _with(watched: Watched, candidate: Candidate) -> Watched:
    assert isinstance(watched.condition, Limit)  # noqa: S101 - `candidates` refused everything else
    return replace(
        watched,
        condition=replace(watched.condition, deadband=candidate.deadband),
        delays=replace(watched.delays, on_ms=round(candidate.on_delay_s * 1000), off_ms=round(candidate.off_delay_s * 1000)),
    )


def _active_ms(transitions: list[Transition], end_ms: int) -> int:
    total_ms, since_ms = 0, None
    for transition in transitions:
        if transition.cause == "condition":
            since_ms = transition.source_ms
        elif transition.cause == "clear" and since_ms is not None:
            total_ms += transition.source_ms - since_ms
            since_ms = None
    return total_ms + (max(end_ms - since_ms, 0) if since_ms is not None else 0)
