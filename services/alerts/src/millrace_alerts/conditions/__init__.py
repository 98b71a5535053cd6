"""How each kind of condition is evaluated: one module a kind, of the same name as its model in the contract.

A kind says what it listens to and what an observation does to an alert; pure, without a clock.
"""

from __future__ import annotations

from typing import assert_never

from millrace_contract.plant import (
    Combination,
    Deviation,
    DeviceOffline,
    Drift,
    NoData,
    NotCounting,
    OwnData,
    Profile,
    RateOfChange,
    Siblings,
    State,
    Stuck,
    Threshold,
    TimeToLimit,
    Value,
)
from millrace_contract.plant import Condition as Model

from .combination import Together
from .deviation import Away
from .device_offline import Unreachable
from .drift import Leaving
from .no_data import Silence
from .not_counting import CountStandsStill
from .own_data import SelfReport
from .rate_of_change import Rate
from .siblings import OddOneOut
from .site import RuleSite
from .state import InState
from .stuck import Hanging
from .threshold import Limit
from .time_to_limit import Approach
from .value import Named

Condition = (
    Limit
    | Rate
    | Hanging
    | Leaving
    | Approach
    | Named
    | InState
    | CountStandsStill
    | Away
    | OddOneOut
    | Together
    | Silence
    | Unreachable
    | SelfReport
)


OfOneSignal = Threshold | RateOfChange | Stuck | Drift | TimeToLimit | Value | State


def condition_of(model: Model, site: RuleSite) -> Condition:
    """What the rule's condition is for a device."""
    match model:
        case NotCounting():
            return CountStandsStill.of(model, site)
        case Deviation():
            return Away.of(model, site)
        case Siblings():
            return OddOneOut.of(model, site)
        case Combination():
            return Together.of(model, site)
        case NoData():
            return Silence.of(model, site.profile)
        case DeviceOffline():
            return Unreachable.of(model, site.profile)
        case OwnData():
            return SelfReport.of(model)
    return _of_one_signal(model, site.profile)


def _of_one_signal(model: OfOneSignal, profile: Profile) -> Condition:
    match model:
        case Threshold():
            return Limit.of(model, profile)
        case RateOfChange():
            return Rate.of(model, profile)
        case Stuck():
            return Hanging.of(model, profile)
        case Drift():
            return Leaving.of(model, profile)
        case TimeToLimit():
            return Approach.of(model, profile)
        case Value():
            return Named.of(model, profile)
        case State():
            return InState.of(model, profile)
    assert_never(model)


__all__ = [
    "Approach",
    "Away",
    "Condition",
    "CountStandsStill",
    "Hanging",
    "InState",
    "Leaving",
    "Limit",
    "Named",
    "OddOneOut",
    "Rate",
    "RuleSite",
    "SelfReport",
    "Silence",
    "Together",
    "Unreachable",
    "condition_of",
]
