"""Values that change in time: a value, and from which instant on another one holds (oee.md A11). Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

ALWAYS = -(1 << 60)
"""From when on the first value of all holds. Steps count in milliseconds, or in days where dates decide."""


class ValueStep(NamedTuple):
    """From here on this value."""

    at: int
    value: Any


Steps = tuple[ValueStep, ...]
"""In order; the first one is from ALWAYS."""


def value_at(steps: Sequence[ValueStep], at: int) -> Any:
    return steps[bisect_right(steps, at, key=lambda step: step.at) - 1].value


def in_order(steps: Iterable[ValueStep]) -> Steps:
    """Without those that change nothing; of several at one place the last."""
    found: list[ValueStep] = []
    for step in steps:
        if found and found[-1].at == step.at:
            found.pop()
        if not found or found[-1].value != step.value:
            found.append(step)
    return tuple(found)


def taken_over(known: Steps, written: Steps, at: int) -> Steps:
    """What holds since when, once a file is taken over that says `written`.

    A value with a date counts from its date. One without (the first) counts from `at` on: what was in force before stays so.
    """
    dated = written[1:]
    first = min([at, *(step.at for step in dated[:1])])
    kept = [known[0], *(step for step in known[1:] if step.at < first)]
    undated = [ValueStep(at, written[0].value)] if not dated or at < dated[0].at else []
    return in_order([*kept, *undated, *dated])


def first_difference(one: Steps, other: Steps) -> int | None:
    """From where on they say something else; None where they never do."""
    places = sorted({step.at for step in (*one, *other)})
    return next((at for at in places if value_at(one, at) != value_at(other, at)), None)


def together(steps: Mapping[str, Steps]) -> list[tuple[int, dict[str, Any]]]:
    """All values by name, at each place where one of them changes."""
    places = sorted({ALWAYS, *(step.at for each in steps.values() for step in each)})
    return [(at, {name: value_at(each, at) for name, each in steps.items()}) for at in places]


def spans(starts: Sequence[tuple[int, T]], start: int, end: int) -> list[tuple[int, int, T]]:
    """[start, end) cut where another value begins; `starts` in order, the first at or before `start`."""
    first = bisect_right(starts, start, key=lambda each: each[0]) - 1
    inside = [each for each in starts[first + 1 :] if each[0] < end]
    edges = [start, *(at for at, _ in inside), end]
    values = [starts[first][1], *(value for _, value in inside)]
    return [(a, b, value) for (a, b), value in zip(pairwise(edges), values, strict=True)]
