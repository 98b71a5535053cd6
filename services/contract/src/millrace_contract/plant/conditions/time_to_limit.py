"""A signal is on its way to a limit."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .of_number import OfNumber


class TimeToLimit(OfNumber):
    """Sets when a line through the last `over_h` hours at work reaches the limit within `within_h` such hours (alerts.md B10).

    Only where it explains more than half of what moves, and its slope is surely not 0.
    """

    kind: Literal["time_to_limit"]
    above: float | None = None
    below: float | None = None
    over_h: float = Field(default=24, gt=0, le=24 * 60)
    within_h: float = Field(gt=0, le=24 * 365)

    @model_validator(mode="after")
    def _one_limit(self) -> TimeToLimit:
        if (self.above is None) == (self.below is None):
            raise ValueError("needs one of the keys above and below")
        return self

    @property
    def limit(self) -> float:
        """The one limit of the two keys."""
        return float(self.below if self.above is None else self.above)  # type: ignore[arg-type]
