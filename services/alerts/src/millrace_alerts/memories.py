"""What kinds of conditions remember of a signal beside its newest reading: constant in size, saved with the alert."""

from __future__ import annotations

import msgspec

from .statistics import FittedLine, Mean, NormalLevel


class GateMemory(msgspec.Struct, frozen=True, tag="gate", omit_defaults=True):
    """since_ms: from when on the gate's test holds without a break; None: it does not. at_ms: of its signal's newest reading."""

    since_ms: int | None = None
    at_ms: int = 0
    hold_ms: int | None = None


class DriftMemory(msgspec.Struct, frozen=True, tag="drift", omit_defaults=True):
    """learnt: the means so far, until `baseline` is made of them. number: of means at work since then.

    weighted: their weighted mean. line: those since it was last where it is normal, by number.
    """

    mean: Mean = Mean()
    learnt: tuple[float, ...] = ()
    first_ms: int = 0
    baseline: NormalLevel | None = None
    number: int = 0
    weighted: float = 0.0
    line: FittedLine = FittedLine()
    version: int = 1


class StuckMemory(msgspec.Struct, frozen=True, tag="stuck", omit_defaults=True):
    """value: around which the readings have stayed since `since_ms`, up to the one of `at_ms`."""

    value: float
    since_ms: int
    at_ms: int


class TrendMemory(msgspec.Struct, frozen=True, tag="trend", omit_defaults=True):
    """means: the newest, as (number of its span, mean), oldest first; at most as many as the kind keeps."""

    mean: Mean = Mean()
    means: tuple[tuple[int, float], ...] = ()


Memory = DriftMemory | StuckMemory | TrendMemory
