"""Ended windows of a machine have a figure that is too low."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ...language.words import WindowKind
from .of_figures import OfFigures


class OeeBelow(OfFigures):
    """Sets when the figure of a window that has ended is `below` or less, clears with one that is above by more than `deadband`.

    coverage: a window of which less is known says nothing.
    """

    kind: Literal["oee_below"]
    figure: Literal["oee", "availability", "performance", "quality"] = "oee"
    below: float = Field(ge=0, le=1)
    deadband: float = Field(default=0, ge=0, le=1)
    window: Literal[WindowKind.HOUR, WindowKind.SHIFT, WindowKind.DAY] = WindowKind.HOUR
    coverage: float = Field(default=0.9, gt=0, le=1)

    @model_validator(mode="after")
    def _ends(self) -> OeeBelow:
        if self.figure != "performance" and self.below + self.deadband >= 1:
            raise ValueError(f"would end above {self.below + self.deadband:g}, and {self.figure} is at most 1: less deadband")
        return self
