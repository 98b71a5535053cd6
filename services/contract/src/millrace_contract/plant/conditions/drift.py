"""A signal leaves what was normal of this very machine, and goes on moving: days before any limit."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .of_number import OfNumber


class Drift(OfNumber):
    """Learns what is normal from the first `learn` means over `every_s`; then sets when a weighted mean of the later ones has
    left it and goes on moving (alerts.md B10). With `while` in the rule only what the machine does at work counts.

    weight: of the newest mean (EWMA). limit: how far it may be from normal, in standard deviations of such a weighted mean.
    severe: of normal; beyond it a level that only stepped sets, too.
    """

    kind: Literal["drift"]
    direction: Literal["up", "down"] = "up"
    every_s: float = Field(default=600, ge=1, le=86_400)
    learn: int = Field(default=200, ge=30, le=1000)
    weight: float = Field(default=0.1, gt=0, le=1)
    limit: float = Field(default=6, ge=1, le=100)
    severe: float = Field(default=1.5, gt=1, le=100)
