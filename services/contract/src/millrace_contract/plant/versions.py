"""Versions of the plant's files. A version changes with what a file says; comments and spaces change nothing. Pure.

Environment variables are not part of it: a gateway and `millrace check` see different ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ..language.messages import PlantInUse
from ..language.times import format_timestamp

PLANT, SHARE, CALENDAR, ALERT_RULES, MAINTENANCE = "plant", "share", "calendar", "alert_rules", "maintenance"
"""What a service may read: plant.yaml with the profiles, of these what one gateway needs, calendar, alerts, maintenance.yaml."""


def version_of(content: Any) -> str:
    """Twelve hexadecimal digits that change with the content, and with the order of what is in it."""
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:12]


def plant_in_use(version: str, devices: int, accepted_ms: int | None, reads: Mapping[str, str]) -> PlantInUse:
    """As `status` says it. `reads`: the version of each part that the service makes use of."""
    accepted_at = "" if accepted_ms is None else format_timestamp(accepted_ms)
    return PlantInUse(version=version, accepted_at=accepted_at, devices=devices, reads=dict(reads))
