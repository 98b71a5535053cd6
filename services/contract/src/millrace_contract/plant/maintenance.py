"""maintenance.yaml: when and where people work on machines, so that what is raised there is nobody's alarm (alerts.md B2).

Once, `from` and `until`, or each week, `days` with `start` and `end`; all in the plant's local time. Pure but for reading the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from ..errors import ConfigurationProblems
from ..language.assets import segment_problem
from .calendar import DAYS, Day
from .document import Strict, read_document
from .model import PlantModel
from .valid_from import LocalTime
from .versions import version_of
from .where import Where

MAINTENANCE_FILE = "maintenance.yaml"
LONGEST_ONCE = timedelta(days=31)
"""A window that is longer hides what should be a rule that is not enabled."""
_WEEKS = (1, 2, 3, 4, 5)


class MaintenanceWindow(Strict):
    """While it is on, the alerts of its devices are hidden (DSUPR): evaluated and recorded as before.

    weeks: only on the first, second, ... such day of a month. A weekly one ends on the next day when `end` is not after `start`.
    """

    id: str
    title: str = Field(min_length=1, max_length=100)
    where: Where = Where()
    begins: LocalTime | None = Field(default=None, alias="from")
    until: LocalTime | None = None
    days: tuple[Day, ...] = ()
    weeks: tuple[int, ...] = ()
    start: time | None = None
    end: time | None = None

    @field_validator("start", "end")
    @classmethod
    def _whole_minutes(cls, value: time | None) -> time | None:
        if value is not None and (value.second or value.microsecond or value.tzinfo):
            raise ValueError(f"{value} must be of the form HH:MM, local time")
        return value

    @field_validator("weeks")
    @classmethod
    def _of_a_month(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not set(value) <= set(_WEEKS):
            raise ValueError("a month has weeks 1 to 5")
        return value

    @model_validator(mode="after")
    def _once_or_weekly(self) -> MaintenanceWindow:
        is_weekly = bool(self.days) and self.start is not None and self.end is not None
        is_once = self.begins is not None and self.until is not None
        if is_weekly == is_once or (is_once and (self.days or self.weeks or self.start or self.end)):
            raise ValueError("needs from and until (once), or days, start and end (each week)")
        if is_weekly and (self.begins is not None or self.until is not None):
            raise ValueError("needs from and until (once), or days, start and end (each week), not some of both")
        if self.begins is not None and self.until is not None and not timedelta() < self.until - self.begins <= LONGEST_ONCE:
            raise ValueError(f"must end after it begins, and within {LONGEST_ONCE.days} days")
        return self

    def end_ms(self, now_ms: int, zone: ZoneInfo) -> int | None:
        """When the window ends that is on now; None while none is."""
        if self.begins is not None and self.until is not None:
            return _end_around(now_ms, self.begins, self.until, zone)
        today = datetime.fromtimestamp(now_ms / 1000, zone).date()
        for day in (today, today - timedelta(days=1)):
            if self._is_on(day) and self.start is not None and self.end is not None:
                last = day if self.end > self.start else day + timedelta(days=1)
                span = datetime.combine(day, self.start), datetime.combine(last, self.end)
                if (end_ms := _end_around(now_ms, *span, zone)) is not None:
                    return end_ms
        return None

    def _is_on(self, day: date) -> bool:
        week = (day.day - 1) // 7 + 1
        return DAYS[day.weekday()] in self.days and (not self.weeks or week in self.weeks)


class _WindowsFile(Strict):
    windows: dict[str, MaintenanceWindow] = {}

    @model_validator(mode="before")
    @classmethod
    def _name_windows(cls, data: Any) -> Any:
        windows = data.get("windows") if isinstance(data, dict) else None
        if not isinstance(windows, dict):
            return data
        return {**data, "windows": {k: {**w, "id": str(k)} if isinstance(w, dict) else w for k, w in windows.items()}}


def load_maintenance(folder: Path, plant: PlantModel | None) -> dict[str, MaintenanceWindow]:
    """Windows by id; none where there is no file. Raises ConfigurationProblems with every problem of it."""
    if not (folder / MAINTENANCE_FILE).exists():
        return {}
    document = read_document(folder / MAINTENANCE_FILE, MAINTENANCE_FILE)
    found = document.validate(_WindowsFile)
    for window in found.windows.values() if found is not None else ():
        if problem := segment_problem(window.id):
            document.problem(("windows", window.id), f"{window.id!r} {problem}")
        for path, message in () if plant is None else window.where.problems(plant):
            document.problem(("windows", window.id, "where", *path), message)
    if document.problems or found is None:
        raise ConfigurationProblems(document.problems)
    return found.windows


def maintenance_version(windows: Mapping[str, MaintenanceWindow]) -> str:
    return version_of({name: window.model_dump(mode="json") for name, window in windows.items()})


def _end_around(now_ms: int, start: datetime, end: datetime, zone: ZoneInfo) -> int | None:
    start_ms, end_ms = (round(each.replace(tzinfo=zone).timestamp() * 1000) for each in (start, end))
    return end_ms if start_ms <= now_ms < end_ms else None
