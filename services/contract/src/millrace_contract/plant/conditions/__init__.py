"""What a rule of alerts.yaml may watch: one module a kind, of the name that its key `kind` has.

How each is evaluated stands in a module of the same name in the alerts service; a test pairs them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from .device_offline import DeviceOffline
from .no_data import NoData
from .own_data import OwnData
from .threshold import Threshold

Condition = Annotated[Threshold | NoData | DeviceOffline | OwnData, Field(discriminator="kind")]

__all__ = ["Condition", "DeviceOffline", "NoData", "OwnData", "Threshold"]
