"""What a rule of alerts.yaml may watch: one module a kind, of the name that its key `kind` has.

How each is evaluated stands in a module of the same name in the alerts service; a test pairs them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .combination import Combination
from .cusum import Cusum
from .deviation import Deviation
from .device_offline import DeviceOffline
from .drift import Drift
from .ewma import Ewma
from .levels import Levels
from .no_data import NoData
from .not_counting import NotCounting
from .own_data import OwnData
from .rate_of_change import RateOfChange
from .ratio import Ratio
from .robust_z import RobustZ
from .siblings import Siblings
from .state import State
from .stuck import Stuck
from .threshold import Threshold
from .time_to_limit import TimeToLimit
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
    | NoData
    | DeviceOffline
    | OwnData,
    Field(discriminator="kind"),
]

__all__ = [
    "Combination",
    "Condition",
    "Cusum",
    "Deviation",
    "DeviceOffline",
    "Drift",
    "Ewma",
    "Levels",
    "NoData",
    "NotCounting",
    "OwnData",
    "RateOfChange",
    "Ratio",
    "RobustZ",
    "Siblings",
    "State",
    "Stuck",
    "Threshold",
    "TimeToLimit",
    "Value",
    "VibrationZone",
]
