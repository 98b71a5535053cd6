"""Since when a value holds: `changes` beside values whose earlier ones still count for the time before (oee.md A11).

    ideal_cycle_s: 6.0
    changes:
      - {valid_from: 2026-03-12 06:00, ideal_cycle_s: 5.5}

What stands beside `changes` holds until the first of them, each changes what it names, from its instant on. Times are the
plant's local ones; a date alone is its midnight. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any

from pydantic import BeforeValidator, model_validator

from .document import Document, Path_, Strict

_FORM = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2})?")


def _local_time(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    try:
        if isinstance(value, str) and _FORM.fullmatch(value):
            return datetime.fromisoformat(value)
    except ValueError:
        pass
    raise ValueError(f"{value!r} is no time; write the plant's local time, 2026-03-12 06:00, or 2026-03-12 for its midnight")


LocalTime = Annotated[datetime, BeforeValidator(_local_time)]
"""A wall time of the plant, without a zone."""


class DatedChange(Strict):
    """What has another value from an instant on; what it does not name stays as it was."""

    valid_from: LocalTime

    @property
    def values(self) -> dict[str, Any]:
        """What it names."""
        return {key: getattr(self, key) for key in self.model_fields_set if key != "valid_from"}

    @model_validator(mode="after")
    def _says_something(self) -> DatedChange:
        if not self.values:
            known = ", ".join(name for name in type(self).model_fields if name != "valid_from")
            raise ValueError(f"changes nothing; name what is other from then on: {known}")
        return self


def check_changes(document: Document, path: Path_, changes: Sequence[DatedChange]) -> None:
    """Of two values for one time nobody would know which holds; in order of time a list of changes is read as a history."""
    for index, (earlier, later) in enumerate(pairwise(changes), start=1):
        place = (*path, index)
        if later.valid_from == earlier.valid_from:
            document.problem(place, f"valid_from {_written(later.valid_from)} stands twice; put both into one entry")
        elif later.valid_from < earlier.valid_from:
            document.problem(
                place,
                f"valid_from {_written(later.valid_from)} is before that of the entry above, {_written(earlier.valid_from)}; "
                "put them in the order of time",
            )


def _written(at: datetime) -> str:
    return f"{at:%Y-%m-%d}" if (at.hour, at.minute) == (0, 0) else f"{at:%Y-%m-%d %H:%M}"
