"""What can be observed of a device or a signal. Times are event times, except in Tick, whose `now_ms` is the evaluation's clock."""

from collections.abc import Mapping
from dataclasses import dataclass

from millrace_contract.language.messages import Status
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval


@dataclass(frozen=True, slots=True)
class Reading:
    """The rule's signal: `value` None means that the device was asked and gave no good answer.

    hold_ms: how long it counts if nothing follows; None: as long as a reading of this signal usually does.
    """

    at_ms: int
    value: float | str | None
    uncertain: bool = False
    hold_ms: int | None = None


@dataclass(frozen=True, slots=True)
class PartReadings:
    """Of one message, what concerns a rule that watches several signals: (value, is it uncertain, how long it holds in ms), by
    signal. `paused`: it is only to be remembered, for the rule is not evaluated now.
    """

    device_id: str
    at_ms: int
    readings: Mapping[str, tuple[float | str | None, bool, int | None]]
    paused: bool = False


@dataclass(frozen=True, slots=True)
class GateReading:
    """The signal that says whether the rule is evaluated at all (`while`); told before the readings of the same message."""

    at_ms: int
    value: float | str | None
    hold_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is in force that decides which of the rule's limits holds: a product, a shift; empty: none, None: nobody knows."""

    value: str | None


@dataclass(frozen=True, slots=True)
class FiguresTold:
    """What oee says of the rule's device, heard at `now_ms`: of the window in progress, or (`is_ended`) of one that is over."""

    now_ms: int
    document: OeeDocument
    is_ended: bool


@dataclass(frozen=True, slots=True)
class StopTold:
    """A stop of the rule's device, as far as oee knows it, heard at `now_ms`."""

    now_ms: int
    stop: OeeInterval


@dataclass(frozen=True, slots=True)
class Pause:
    """From here on the rule is not evaluated: what is pending stands still."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What a no-data rule waits for has come. `heard_ms`: when, by our own clock."""

    at_ms: int
    heard_ms: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """The device can or cannot be reached. `by_gateway`: its gateway is gone, and that is an alert of its own."""

    at_ms: int
    offline: bool
    by_gateway: bool = False


@dataclass(frozen=True, slots=True)
class StatusTold:
    """A service has said how it is: what all of them said last."""

    at_ms: int
    statuses: tuple[Status, ...]


@dataclass(frozen=True, slots=True)
class Inhibit:
    """The device went offline, or came back; only for no-data rules."""

    at_ms: int
    on: bool


@dataclass(frozen=True, slots=True)
class Resume:
    """Nothing could be observed for `gap_ms`; silence in that time was ours. It ends not before `earliest_ms`."""

    gap_ms: int
    earliest_ms: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed. `blind`: we are cut off from the broker, so that silence says nothing; only shelves go on."""

    now_ms: int
    blind: bool = False


@dataclass(frozen=True, slots=True)
class ClockStep:
    """Our clock was set by so much: spans that it measured stay as long as they were."""

    step_ms: int


Observation = (
    Reading
    | PartReadings
    | GateReading
    | Chosen
    | FiguresTold
    | StopTold
    | Pause
    | Seen
    | Link
    | StatusTold
    | Inhibit
    | Resume
    | ClockStep
    | Tick
)
