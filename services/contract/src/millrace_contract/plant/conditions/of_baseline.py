"""What the kinds that learn what is normal of a machine have in common."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .of_number import OfNumber


class OfBaseline(OfNumber):
    """Learns what is normal of this very machine from the first `learn` means over `every_s`, and judges each later mean by it
    (alerts.md B10). With `while` in the rule only what the machine does at work counts. `direction`: which way is bad.
    """

    kind: str
    direction: Literal["up", "down"] = "up"
    every_s: float = Field(default=600, ge=1, le=86_400)
    learn: int = Field(default=200, ge=30, le=1000)
