"""The vibration velocity of a machine is in a zone of ISO 20816."""

from __future__ import annotations

from dataclasses import dataclass

from millrace_contract.plant import Profile, VibrationZone, hold_ms
from millrace_contract.plant.vibration_zones import Borders

from .threshold import Limit

DEADBAND_SHARE = 0.1
"""Of the border: a value that hovers around it is one alert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InZone(Limit):
    """A limit at the border at which the rule's zone begins; `borders`: where each zone does."""

    borders: Borders

    @classmethod
    def of(cls, model: VibrationZone, profile: Profile) -> InZone:  # type: ignore[override]  # of another model
        limit = model.borders["BCD".index(model.zone)]
        unit, fresh_ms = profile.signals[model.signal].unit, hold_ms(profile, model.signal)
        return cls(model.signal, limit, DEADBAND_SHARE * limit, True, unit, fresh_ms, borders=model.borders)
