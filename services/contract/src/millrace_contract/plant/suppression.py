"""What hides an alert by design: other alerts that say why already (`suppressed_by` of a rule; alerts.md B2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field

from .document import Strict, nearest


class SuppressedBy(Strict):
    """While an alert of one of these rules is in alarm (on the device, its line, or anywhere in the plant) this rule's is hidden
    (DSUPR): evaluated and recorded as before. What is flagged as first of its group is never hidden so.
    """

    rules: tuple[str, ...] = Field(min_length=1, max_length=20)
    within: Literal["device", "line", "plant"] = "device"


def suppression_problems(named: Mapping[str, SuppressedBy | None]) -> Iterator[tuple[str, str]]:
    """(rule, what is wrong with its `suppressed_by`); `named` has every rule.

    A circle could hide both of two alerts, so that nobody is told of either.
    """
    for rule, by in named.items():
        for other in () if by is None else by.rules:
            if other == rule:
                yield rule, "names the rule itself: an alert cannot hide itself"
            elif other not in named:
                yield rule, f"no rule {other!r}{nearest(other, named)}"
        if (circle := _circle(rule, named)) is not None:
            yield rule, f"is a circle, which could hide all of its alerts: {' <- '.join(circle)}"


def _circle(rule: str, named: Mapping[str, SuppressedBy | None]) -> list[str] | None:
    """The way from the rule back to it, over at least one other."""
    ways, seen = [[rule]], {rule}
    while ways:
        way = ways.pop()
        by = named.get(way[-1])
        for other in () if by is None else by.rules:
            if other == rule and len(way) > 1:
                return [*way, rule]
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return None
