"""What the platform says of itself: a figure of a service's status, or a problem that it names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from ..document import Strict
from ..profile import Profile


class OwnData(Strict):
    """Sets while a figure of any instance of the service is at or beyond the limit, or one of its problems holds these words.

    Without a service: those of all. One alert a rule, of no device (alerts.md B3).
    """

    kind: Literal["own_data"]
    service: Literal["gateway", "ingest", "rollup", "oee", "alerts", "simulator"] | None = None
    problem: str = ""
    figure: str = ""
    above: float | None = None
    below: float | None = None
    deadband: float = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _one_thing(self) -> OwnData:
        if bool(self.problem.strip()) == bool(self.figure):
            raise ValueError("needs one of the keys problem and figure: words of a problem, or the name of a figure")
        limits = [limit for limit in (self.above, self.below) if limit is not None]
        if self.figure and len(limits) != 1:
            raise ValueError("a figure needs one of the keys above and below")
        if self.problem and (limits or self.deadband):
            raise ValueError("a problem is there or not; above, below and deadband go with a figure")
        return self

    @property
    def limit(self) -> float | None:
        """The one limit of the two keys; None for a problem."""
        return self.above if self.below is None else self.below

    def problems(self, _profile: Profile) -> Iterator[tuple[str, str]]:
        """Nothing: it is about no device."""
        yield from ()
