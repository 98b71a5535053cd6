"""A weighted mean of a signal leaves what was normal of this very machine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .of_baseline import OfBaseline


class Ewma(OfBaseline):
    """Sets when the exponentially weighted mean is `limit` of its standard deviations from normal. A harmless step sets it, too.

    weight: of the newest mean. 0.1 and 6 where 0.2 and 3 stand in textbooks: means of vibration follow each other.
    """

    kind: Literal["ewma"]
    weight: float = Field(default=0.1, gt=0, le=1)
    limit: float = Field(default=6, ge=1, le=100)
