"""A signal leaves what was normal of this very machine, and goes on moving: days before any limit."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .of_baseline import OfBaseline


class Drift(OfBaseline):
    """Sets when a weighted mean of the means has left what is normal and goes on moving; a harmless step is none.

    weight: of the newest mean (EWMA). limit: how far it may be from normal, in standard deviations of such a weighted mean.
    severe: of normal; beyond it a level that only stepped sets, too.
    """

    kind: Literal["drift"]
    weight: float = Field(default=0.1, gt=0, le=1)
    limit: float = Field(default=6, ge=1, le=100)
    severe: float = Field(default=1.5, gt=1, le=100)
