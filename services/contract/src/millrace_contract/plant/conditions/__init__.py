"""What a rule of alerts.yaml may watch: one module a kind, of the name that its key `kind` has.

How each is evaluated stands in a module of the same name in the alerts service; a test pairs them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .behind_target import BehindTarget
from .combination import Combination
from .cusum import Cusum
from .deviation import Deviation
from .device_offline import DeviceOffline
from .drift import Drift
from .energy_per_part import EnergyPerPart
from .ewma import Ewma
from .levels import Levels
from .no_data import NoData
from .not_counting import NotCounting
from .oee_below import OeeBelow
from .own_data import OwnData
from .rate_of_change import RateOfChange
from .ratio import Ratio
from .robust_z import RobustZ
from .siblings import Siblings
from .state import State
from .stuck import Stuck
from .threshold import Threshold
from .time_to_limit import TimeToLimit
from .unexplained_stop import UnexplainedStop
from .value import Value
from .vibration_zone import VibrationZone

OfBaseline = Drift | Ewma | Cusum | RobustZ | Ratio
"""The kinds that learn what is normal."""
Condition = Annotated[
    Threshold
    | Levels
    | VibrationZone
    | RateOfChange
    | Stuck
    | OfBaseline
    | TimeToLimit
    | Value
    | State
    | NotCounting
    | Deviation
    | Siblings
    | Combination
    | EnergyPerPart
    | UnexplainedStop
    | OeeBelow
    | BehindTarget
    | NoData
    | DeviceOffline
    | OwnData,
    Field(discriminator="kind"),
]

__all__ = [
    "BehindTarget",
    "Combination",
    "Condition",
    "Cusum",
    "Deviation",
    "DeviceOffline",
    "Drift",
    "EnergyPerPart",
    "Ewma",
    "Levels",
    "NoData",
    "NotCounting",
    "OeeBelow",
    "OwnData",
    "RateOfChange",
    "Ratio",
    "RobustZ",
    "Siblings",
    "State",
    "Stuck",
    "Threshold",
    "TimeToLimit",
    "UnexplainedStop",
    "Value",
    "VibrationZone",
]
