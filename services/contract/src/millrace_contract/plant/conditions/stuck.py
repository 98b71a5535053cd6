"""A signal does not move any more: a sensor that hangs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .of_number import OfNumber


class Stuck(OfNumber):
    """Sets when the readings have stayed within `within` of one value for `after_s`. Silence is no evidence of it."""

    kind: Literal["stuck"]
    after_s: float = Field(gt=0, le=7 * 86_400)
    within: float = Field(default=0, ge=0)
