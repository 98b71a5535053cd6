"""What a signal exceeds what was normal of this very machine by adds up."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .of_baseline import OfBaseline


class Cusum(OfBaseline):
    """Sets when the sum of what each mean is beyond normal by, less `slack`, reaches `limit`; both in standard deviations.

    3 and 20 where 0.5 and 5 stand in textbooks: those tell each harmless drift.
    """

    kind: Literal["cusum"]
    slack: float = Field(default=3, gt=0, le=100)
    limit: float = Field(default=20, gt=0, le=1000)
