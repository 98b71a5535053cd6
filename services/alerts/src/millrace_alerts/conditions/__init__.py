"""How each kind of condition is evaluated: one module a kind, of the same name as its model in the contract.

A kind says what it listens to and what an observation does to an alert; pure, without a clock.
"""

from __future__ import annotations

from typing import assert_never

from millrace_contract.plant import Condition as Model
from millrace_contract.plant import DeviceOffline, Drift, NoData, OwnData, Profile, RateOfChange, Stuck, Threshold, TimeToLimit

from .device_offline import Unreachable
from .drift import Leaving
from .no_data import Silence
from .own_data import SelfReport
from .rate_of_change import Rate
from .stuck import Hanging
from .threshold import Limit
from .time_to_limit import Approach

Condition = Limit | Rate | Hanging | Leaving | Approach | Silence | Unreachable | SelfReport


def condition_of(model: Model, profile: Profile) -> Condition:
    """What the rule's condition is for a device of this profile."""
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
        case NoData():
            return Silence.of(model, profile)
        case DeviceOffline():
            return Unreachable.of(model, profile)
        case OwnData():
            return SelfReport.of(model)
    assert_never(model)


__all__ = [
    "Approach",
    "Condition",
    "Hanging",
    "Leaving",
    "Limit",
    "Rate",
    "SelfReport",
    "Silence",
    "Unreachable",
    "condition_of",
]
