"""A machine makes less in this shift than its ideal cycle allows."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .of_figures import OfFigures


class BehindTarget(OfFigures):
    """Sets when the good parts of the shift so far are `percent` (or `parts`) or more behind its target so far.

    The target is what the ideal cycle allows in the planned production time so far, as in the API's outlook. after_s: so much
    planned production time must have passed. coverage: a shift of which less is known says nothing.
    """

    kind: Literal["behind_target"]
    percent: float | None = Field(default=None, gt=0, le=100)
    parts: int | None = Field(default=None, gt=0)
    deadband: float = Field(default=0, ge=0)
    after_s: float = Field(default=1_800, ge=0, le=86_400)
    coverage: float = Field(default=0.9, gt=0, le=1)

    @model_validator(mode="after")
    def _one_limit(self) -> BehindTarget:
        if (self.percent is None) == (self.parts is None):
            raise ValueError("needs one of the keys percent (of the target) and parts")
        if self.deadband >= self.limit:
            raise ValueError(f"deadband {self.deadband:g} is not below {self.limit:g}: with it the alert would never end")
        return self

    @property
    def limit(self) -> float:
        """In percent, or parts."""
        return float(self.parts if self.percent is None else self.percent)  # type: ignore[arg-type]
