"""What kinds of conditions remember of a signal beside its newest reading: constant in size, saved with the alert."""

from __future__ import annotations

import msgspec

from millrace_contract.language.words import AlertLevel, Evaluation

from .statistics import FittedLine, Mean, NormalLevel
from .timer import Timer


class GateMemory(msgspec.Struct, frozen=True, tag="gate", omit_defaults=True):
    """since_ms: from when on the gate's test holds without a break; None: it does not. at_ms: of its signal's newest reading."""

    since_ms: int | None = None
    at_ms: int = 0
    hold_ms: int | None = None


class DriftMemory(msgspec.Struct, frozen=True, tag="drift", omit_defaults=True):
    """Of every kind that learns a baseline. learnt: the means so far, until `baseline` is made of them.

    number: of means at work since then. weighted: their weighted mean. line: those since it was last where it is normal, by number.
    excess: the sum of what they were beyond normal by. beyond: which of the newest were, as bits.
    """

    mean: Mean = Mean()
    learnt: tuple[float, ...] = ()
    first_ms: int = 0
    baseline: NormalLevel | None = None
    number: int = 0
    weighted: float = 0.0
    line: FittedLine = FittedLine()
    version: int = 1
    excess: float = 0.0
    beyond: int = 0


class StuckMemory(msgspec.Struct, frozen=True, tag="stuck", omit_defaults=True):
    """value: around which the readings have stayed since `since_ms`, up to the one of `at_ms`."""

    value: float
    since_ms: int
    at_ms: int


class TrendMemory(msgspec.Struct, frozen=True, tag="trend", omit_defaults=True):
    """means: the newest, as (number of its span, mean), oldest first; at most as many as the kind keeps."""

    mean: Mean = Mean()
    means: tuple[tuple[int, float], ...] = ()


class ValueMemory(msgspec.Struct, frozen=True, tag="value", omit_defaults=True):
    """value: what the signal was last. changed_ms: when it became so; None: it was so when it was first read."""

    value: float | str
    changed_ms: int | None = None


class LeafMemory(msgspec.Struct, frozen=True, omit_defaults=True):
    """A single condition of a combination: whether it holds; None: nobody knows, and `why`. at_ms: of the reading that says so."""

    holds: bool | None = None
    why: Evaluation = Evaluation.NEVER_SEEN
    at_ms: int = 0
    memory: StuckMemory | TrendMemory | ValueMemory | None = None


class LeavesMemory(msgspec.Struct, frozen=True, tag="leaves", omit_defaults=True):
    """leaves: in the order of the rule."""

    leaves: tuple[LeafMemory, ...] = ()


class SettlingMemory(msgspec.Struct, frozen=True, tag="settling", omit_defaults=True):
    """setpoint: what it was last. since_ms: when it was seen to change; None: it was so when it was first read."""

    setpoint: float
    since_ms: int | None = None


class CountMemory(msgspec.Struct, frozen=True, tag="count", omit_defaults=True):
    """count: where the counter stands, and has stood for `run_ms` of running time up to `at_ms`; from there on it runs, or not."""

    count: float
    run_ms: int = 0
    at_ms: int = 0
    runs: bool = False


class LevelsMemory(msgspec.Struct, frozen=True, tag="levels", omit_defaults=True):
    """Of each limit of the rule, whether it is reached, and what pends."""

    timers: dict[AlertLevel, Timer] = {}


class ConsumptionMemory(msgspec.Struct, frozen=True, tag="consumption", omit_defaults=True):
    """Where both counters stood at `at_ms`, how far they have come since it began (`used`, `made`), and earlier: `steps`."""

    energy: float
    parts: float
    at_ms: int
    steps: tuple[tuple[int, float, float], ...]
    used: float = 0.0
    made: float = 0.0


class StopMemory(msgspec.Struct, frozen=True, tag="stop", omit_defaults=True):
    """The newest stop; `is_unexplained`: it lasts, and nobody has said why."""

    id: str
    start_ms: int
    is_unexplained: bool
    state: str
    revision: int = 1


class WindowMemory(msgspec.Struct, frozen=True, tag="window", omit_defaults=True):
    """The newest window that was judged."""

    start_ms: int
    revision: int = 1


class PartReading(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """The newest reading of a signal; `value` None where it is bad. `hold_ms`: what its sender promised."""

    at_ms: int
    value: float | str | None
    hold_ms: int | None = None
    uncertain: bool = False


class PartsMemory(msgspec.Struct, frozen=True, tag="parts", omit_defaults=True):
    """newest: by `device/signal`. Up to `judged_ms` all is judged; at `next_ms` it is to be judged anew, whatever comes.

    paused: it is not evaluated now. own: what the kind keeps besides.
    """

    newest: dict[str, PartReading] = {}
    judged_ms: int = 0
    next_ms: int | None = None
    paused: bool = False
    own: LeavesMemory | SettlingMemory | CountMemory | ConsumptionMemory | None = None


Memory = DriftMemory | StuckMemory | TrendMemory | ValueMemory | LevelsMemory | StopMemory | WindowMemory | PartsMemory


def unobserved(memory: Memory | None) -> Memory | None:
    """What is left of it where nothing that was observed counts any more: what was learnt, and which levels are reached."""
    if isinstance(memory, PartsMemory | StopMemory | WindowMemory):
        return None
    if isinstance(memory, LevelsMemory):
        return LevelsMemory({level: Timer(active=timer.active) for level, timer in memory.timers.items()})
    return memory
