"""Master data as they were in force, over the edits of the plant's files: `master-data.json` in the data folder (decision 0027).

A value that a file dates counts from its date. One without a date counts from when the file was taken over: of a machine and a
line from that instant on, of the calendar from the next date on. So an edit changes no figure that was told, and a figure of the
past can be computed again. Each value is kept by its name, with the time from which on it held; a machine's by its place, too
(places.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from millrace_contract.plant import Calendar, Pattern, Shift
from millrace_contract.plant.calendar import PatternChange
from millrace_contract.runtime.files import replace_file

from .lines import KEYS, written_lines
from .machine import IDENTITY, Machine, written_machines
from .plan import Plan, build_plan
from .steps import ALWAYS, Steps, ValueStep, in_order, taken_over, value_at

FILE = "master-data.json"
_HINTS = get_type_hints(Machine)
_LINE_HINTS: dict[str, Any] = {
    "method": str, "coverage_min": float, "outside": tuple[str, ...], "machines": tuple[str | tuple[str, ...], ...]
}  # fmt: skip

History = list[tuple[int | None, Any]]
"""A value as JSON has it, with since when it holds; None: always."""


class MasterData(msgspec.Struct, frozen=True, kw_only=True):
    """By machine and place, and by line: values by name. `patterns`: of shifts, by the number of the date from which they hold."""

    machines: dict[str, dict[str, History]] = {}
    lines: dict[str, dict[str, History]] = {}
    patterns: History = []


class CalendarWithPast(Calendar):
    """The calendar with patterns that its file no longer has. `written`: as the file is, for exceptions."""

    written: Calendar

    def _shift(self, name: str, day: date) -> Shift:
        try:
            return super()._shift(name, day)
        except KeyError:
            return self.written._shift(name, day)


def read_master_data(data: Path) -> MasterData | None:
    """None where there is none, or where it cannot be read: then the present files hold for all times."""
    try:
        return msgspec.json.decode((data / FILE).read_bytes(), type=MasterData)
    except (OSError, msgspec.MsgspecError):
        return None


def write_master_data(data: Path, known: MasterData) -> None:
    """Raises OSError."""
    replace_file(data / FILE, msgspec.json.encode(known))


def remembered(data: Path, plan: Plan, at_ms: int) -> Plan:
    """The plan with what was in force before its files were taken over, at `at_ms`; that is kept for later. Raises OSError."""
    known = read_master_data(data)
    master = taken_over_at(known, plan, at_ms)
    if master != known:
        write_master_data(data, master)
    return with_master_data(plan, master)


def with_master_data(plan: Plan, known: MasterData) -> Plan:
    """The plan with what was in force before."""
    machines: dict[str, dict[str, Steps]] = {}
    for machine_id, (base, written) in written_machines(plan.plant, plan.zone, plan.reasons, plan.products).items():
        steps, before = _all_keys(base, written), known.machines.get(_place(base), {})
        machines[machine_id] = {key: _typed(_HINTS[key], before[key], steps[key]) for key in steps if key in before}
    lines: dict[str, dict[str, Steps]] = {}
    for name, written in written_lines(plan.plant, plan.zone).items():
        before = known.lines.get(name, {})
        lines[name] = {**written, **{key: _typed(_LINE_HINTS[key], before[key], written[key]) for key in KEYS if key in before}}
    return build_plan(
        plan.plant, _calendar(plan.calendar, known), plan.reasons, machine_steps=machines, line_steps=lines, products=plan.products
    )


def taken_over_at(known: MasterData | None, plan: Plan, at_ms: int) -> MasterData:
    """What holds since when, once these files are taken over. What the plan no longer has is kept: it may come back."""
    written = as_written(plan)
    if known is None:
        return written
    tomorrow = (datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(plan.zone).date() + timedelta(days=1)).toordinal()
    return MasterData(
        machines={**known.machines, **_merged(known.machines, written.machines, at_ms)},
        lines={**known.lines, **_merged(known.lines, written.lines, at_ms)},
        patterns=_merge(known.patterns, written.patterns, tomorrow),
    )


def dated_back(known: MasterData, from_ms: int, now_ms: int, plan: Plan, device: str | None = None) -> MasterData:
    """What holds now counts from an earlier time on, of one machine or of all, of lines and the calendar."""
    place = None if device is None else _place(plan.machines[device])
    day = datetime.fromtimestamp(from_ms / 1000, UTC).astimezone(plan.zone).date().toordinal()
    today = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(plan.zone).date().toordinal() + 1

    def back(values: Mapping[str, History]) -> dict[str, History]:
        return {key: _dated_back(history, from_ms, now_ms) for key, history in values.items()}

    return MasterData(
        machines={name: back(values) if place in (None, name) else values for name, values in known.machines.items()},
        lines=known.lines if place else {name: back(values) for name, values in known.lines.items()},
        patterns=known.patterns if place else _dated_back(known.patterns, day, today),
    )


def as_written(plan: Plan) -> MasterData:
    """What the files alone say."""
    machines = written_machines(plan.plant, plan.zone, plan.reasons, plan.products).values()
    calendar = plan.calendar.written if isinstance(plan.calendar, CalendarWithPast) else plan.calendar
    later = (ValueStep(each.valid_from.toordinal(), _dump(each)) for each in calendar.changes)
    return MasterData(
        machines={
            _place(base): {key: _history(steps) for key, steps in _all_keys(base, written).items()} for base, written in machines
        },
        lines={
            name: {key: _history(steps) for key, steps in written.items()}
            for name, written in written_lines(plan.plant, plan.zone).items()
        },
        patterns=_history(in_order([ValueStep(ALWAYS, _dump(calendar)), *later])),
    )


def _all_keys(base: Machine, written: Mapping[str, Steps]) -> dict[str, Steps]:
    return {key: written.get(key, (ValueStep(ALWAYS, getattr(base, key)),)) for key in _HINTS if key not in IDENTITY}


def _place(machine: Machine) -> str:
    return f"{machine.id}@{machine.line}/{machine.measurement}"


def _merged(
    known: Mapping[str, dict[str, History]], written: Mapping[str, dict[str, History]], at: int
) -> dict[str, dict[str, History]]:
    return {
        name: {key: _merge(known.get(name, {}).get(key), history, at) for key, history in values.items()}
        for name, values in written.items()
    }


def _merge(known: History | None, written: History, at: int) -> History:
    return _history(taken_over(_steps(known), _steps(written), at)) if known else written


def _dated_back(history: History, start: int, now: int) -> History:
    steps = _steps(history)
    return _history(
        in_order(
            [
                *(step for step in steps if step.at < start),
                ValueStep(start, value_at(steps, now)),
                *(step for step in steps if step.at > now),
            ]
        )
    )


def _steps(history: History) -> Steps:
    return tuple(ValueStep(ALWAYS if at is None else at, value) for at, value in history)


def _history(steps: Steps) -> History:
    return [(None if step.at == ALWAYS else step.at, _plain(step.value)) for step in steps]


def _plain(value: Any) -> Any:
    """As JSON has it, so that what was read and what is to be written can be held against each other."""
    return msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(value, str_keys=True, order="sorted")))


def _typed(kind: Any, history: History, written: Steps) -> Steps:
    """Values of the program's types. What it no longer understands gives way to what the files say."""
    try:
        return in_order(ValueStep(at, msgspec.convert(value, kind, str_keys=True)) for at, value in _steps(history))
    except msgspec.ValidationError:
        return written


def _dump(pattern: Pattern) -> dict[str, Any]:
    return Pattern(shifts=pattern.shifts, lines=pattern.lines).model_dump(mode="json")


def _calendar(written: Calendar, known: MasterData) -> Calendar:
    if len(known.patterns) < 2 and not written.changes:
        return written
    (_, first), *later = known.patterns
    return CalendarWithPast(
        **first,
        exceptions=written.exceptions,
        changes=tuple(PatternChange(valid_from=date.fromordinal(day), **pattern) for day, pattern in later if day is not None),
        written=written,
    )
