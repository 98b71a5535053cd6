"""What a rule of alerts.yaml may watch: one module a kind, of the name that its key `kind` has.

How each is evaluated stands in a module of the same name in the alerts service; a test pairs them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .device_offline import DeviceOffline
from .drift import Drift
from .no_data import NoData
from .own_data import OwnData
from .rate_of_change import RateOfChange
from .stuck import Stuck
from .threshold import Threshold
from .time_to_limit import TimeToLimit

Condition = Annotated[
    Threshold | RateOfChange | Stuck | Drift | TimeToLimit | NoData | DeviceOffline | OwnData, Field(discriminator="kind")
]

__all__ = ["Condition", "DeviceOffline", "Drift", "NoData", "OwnData", "RateOfChange", "Stuck", "Threshold", "TimeToLimit"]
