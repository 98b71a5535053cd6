"""A machine differs from others of its kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from .of_number import OfNumber


class Siblings(OfNumber):
    """Sets when the signal is `by` or more (in its unit), or `percent` or more, away from the median of the other devices' values.

    The others are those that the rule watches, too. Bad, old and missing ones do not count; fewer than `quorum` say nothing.
    """

    kind: Literal["siblings"]
    by: float | None = Field(default=None, gt=0)
    percent: float | None = Field(default=None, gt=0, le=1_000)
    direction: Literal["both", "up", "down"] = "both"
    deadband: float = Field(default=0, ge=0)
    quorum: int = Field(default=2, ge=2, le=100)

    @model_validator(mode="after")
    def _one_limit(self) -> Siblings:
        if (self.by is None) == (self.percent is None):
            raise ValueError("needs one of the keys by (in the unit of the signal) and percent (of the others' median)")
        if self.deadband >= self.limit:
            raise ValueError(f"deadband {self.deadband:g} is not below {self.limit:g}: with it the alert would never end")
        return self

    @property
    def limit(self) -> float:
        """In the unit of the signal, or in percent."""
        return float(self.percent if self.by is None else self.by)  # type: ignore[arg-type]

    def too_few(self, watched: int) -> Iterator[tuple[str, str]]:
        """(key, what is wrong with it) for a rule that watches so many devices."""
        if 0 < watched <= self.quorum:
            yield "quorum", f"is {self.quorum}, and each of the {watched} devices that the rule watches has {watched - 1} others"
