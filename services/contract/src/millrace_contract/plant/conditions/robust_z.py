"""A signal is far from the median that was normal of this very machine, several times running."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .of_baseline import OfBaseline


class RobustZ(OfBaseline):
    """Sets when `running` means, one after the other, are `limit` robust standard deviations (1.4826 times the median absolute
    deviation) from the median; outliers in what was learnt do no harm.
    """

    kind: Literal["robust_z"]
    limit: float = Field(default=6, ge=1, le=100)
    running: int = Field(default=5, ge=1, le=50)
