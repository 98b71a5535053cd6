"""A machine stands for long, and nobody has said why."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .of_figures import OfFigures


class UnexplainedStop(OfFigures):
    """Sets when an unplanned stop lasts for `after_s` and has no reason; clears when it is given one, or ends."""

    kind: Literal["unexplained_stop"]
    after_s: float = Field(gt=0, le=7 * 86_400)
