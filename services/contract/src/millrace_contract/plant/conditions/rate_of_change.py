"""A signal rises or falls too fast."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .of_number import OfNumber


class RateOfChange(OfNumber):
    """Sets when the line through the last `over_s` rises by `above` in each `per_s`, or falls by `below` (a number below 0)."""

    kind: Literal["rate_of_change"]
    above: float | None = Field(default=None, gt=0)
    below: float | None = Field(default=None, lt=0)
    per_s: float = Field(default=60, gt=0, le=86_400)
    over_s: float = Field(gt=0, le=7 * 86_400)

    @model_validator(mode="after")
    def _one_limit(self) -> RateOfChange:
        if (self.above is None) == (self.below is None):
            raise ValueError("needs one of the keys above (a number above 0: it rises) and below (a number below 0: it falls)")
        return self
