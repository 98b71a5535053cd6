"""How each kind of condition is evaluated: one module a kind, of the same name as its model in the contract.

A kind says what it listens to and what an observation does to an alert; pure, without a clock.
"""

from __future__ import annotations

from typing import assert_never

from millrace_contract.plant import (
    BehindTarget,
    Combination,
    Cusum,
    Deviation,
    DeviceOffline,
    Drift,
    EnergyPerPart,
    Ewma,
    Levels,
    NoData,
    NotCounting,
    OeeBelow,
    OwnData,
    Profile,
    RateOfChange,
    Ratio,
    RobustZ,
    Siblings,
    State,
    Stuck,
    Threshold,
    TimeToLimit,
    UnexplainedStop,
    Value,
    VibrationZone,
)
from millrace_contract.plant import Condition as Model

from .behind_target import TooFewParts
from .combination import Together
from .cusum import Excess
from .deviation import Away
from .device_offline import Unreachable
from .drift import Leaving
from .energy_per_part import Consumption
from .ewma import WeightedMean
from .levels import Stages
from .no_data import Silence
from .not_counting import CountStandsStill
from .oee_below import LowFigure
from .of_baseline import BaselineKind
from .own_data import SelfReport
from .rate_of_change import Rate
from .ratio import Times
from .robust_z import FarFromMedian
from .siblings import OddOneOut
from .site import RuleSite
from .state import InState
from .stuck import Hanging
from .threshold import Limit
from .time_to_limit import Approach
from .unexplained_stop import UnexplainedStand
from .value import Named
from .vibration_zone import InZone

Learnt = Leaving | WeightedMean | Excess | FarFromMedian | Times
Condition = (
    Limit
    | Stages
    | InZone
    | Rate
    | Hanging
    | Learnt
    | Approach
    | Named
    | InState
    | CountStandsStill
    | Away
    | OddOneOut
    | Together
    | Consumption
    | UnexplainedStand
    | LowFigure
    | TooFewParts
    | Silence
    | Unreachable
    | SelfReport
)


OfBaseline = Drift | Ewma | Cusum | RobustZ | Ratio
OfOneSignal = Threshold | Levels | VibrationZone | RateOfChange | Stuck | OfBaseline | TimeToLimit | Value | State


def condition_of(model: Model, site: RuleSite) -> Condition:
    """What the rule's condition is for a device."""
    match model:
        case Threshold() if model.by_device:
            return Limit.of(model.of_device(site.device.id), site.profile)
        case NotCounting():
            return CountStandsStill.of(model, site)
        case Deviation():
            return Away.of(model, site)
        case Siblings():
            return OddOneOut.of(model, site)
        case Combination():
            return Together.of(model, site)
        case EnergyPerPart():
            return Consumption.of(model, site)
        case UnexplainedStop() | OeeBelow() | BehindTarget():
            return _of_figures(model, site.profile)
        case NoData():
            return Silence.of(model, site.profile)
        case DeviceOffline():
            return Unreachable.of(model, site.profile)
        case OwnData():
            return SelfReport.of(model)
    return of_one_signal(model, site.profile)


def _of_figures(model: UnexplainedStop | OeeBelow | BehindTarget, profile: Profile) -> Condition:
    match model:
        case UnexplainedStop():
            return UnexplainedStand.of(model, profile)
        case OeeBelow():
            return LowFigure.of(model, profile)
        case BehindTarget():
            return TooFewParts.of(model, profile)
    assert_never(model)


def of_one_signal(model: OfOneSignal, profile: Profile) -> Condition:
    """The same for the kinds that judge each reading of one signal."""
    match model:
        case Threshold():
            return Limit.of(model, profile)
        case Levels():
            return Stages.of(model, profile)
        case VibrationZone():
            return InZone.of(model, profile)
        case RateOfChange():
            return Rate.of(model, profile)
        case Stuck():
            return Hanging.of(model, profile)
        case Drift() | Ewma() | Cusum() | RobustZ() | Ratio():
            return _learnt(model, profile)
        case TimeToLimit():
            return Approach.of(model, profile)
        case Value():
            return Named.of(model, profile)
        case State():
            return InState.of(model, profile)
    assert_never(model)


def _learnt(model: OfBaseline, profile: Profile) -> Learnt:
    match model:
        case Drift():
            return Leaving.of(model, profile)
        case Ewma():
            return WeightedMean.of(model, profile)
        case Cusum():
            return Excess.of(model, profile)
        case RobustZ():
            return FarFromMedian.of(model, profile)
        case Ratio():
            return Times.of(model, profile)
    assert_never(model)


def judges_in_order(condition: Condition) -> bool:
    """Whether what it remembers must not depend on the order in which readings came; then it lags behind (`in_order`)."""
    return isinstance(condition, BaselineKind | Approach)


__all__ = [
    "Approach",
    "Away",
    "Condition",
    "Consumption",
    "CountStandsStill",
    "Excess",
    "FarFromMedian",
    "Hanging",
    "InState",
    "InZone",
    "Leaving",
    "Limit",
    "LowFigure",
    "Named",
    "OddOneOut",
    "OfOneSignal",
    "Rate",
    "RuleSite",
    "SelfReport",
    "Silence",
    "Stages",
    "Times",
    "Together",
    "TooFewParts",
    "UnexplainedStand",
    "Unreachable",
    "WeightedMean",
    "condition_of",
    "judges_in_order",
    "of_one_signal",
]
