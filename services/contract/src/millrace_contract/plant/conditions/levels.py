"""A signal beyond limits of which one is worse than the other: HH, H, L and LL."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from ...language.words import AlertLevel, Priority
from ..document import Strict
from ..profile import Profile
from .of_number import Keys, OfNumber


class LevelLimit(Strict):
    """One of the limits; what is left out is as the rule says."""

    at: float
    deadband: float = Field(default=0, ge=0)
    priority: Priority | None = None
    on_delay_s: float | None = Field(default=None, ge=0, le=86_400)
    off_delay_s: float | None = Field(default=None, ge=0, le=86_400)


class Levels(OfNumber):
    """One alert, whose level is the worst limit that is reached (alerts.md B3)."""

    kind: Literal["levels"]
    hh: LevelLimit | None = None
    h: LevelLimit | None = None
    l: LevelLimit | None = None  # noqa: E741 - what everybody calls it
    ll: LevelLimit | None = None

    @property
    def limits(self) -> dict[AlertLevel, LevelLimit]:
        """Those that are given, from the lowest to the highest."""
        given = {
            level: getattr(self, level) for level in (AlertLevel.LOW_LOW, AlertLevel.LOW, AlertLevel.HIGH, AlertLevel.HIGH_HIGH)
        }
        return {level: limit for level, limit in given.items() if limit is not None}

    @model_validator(mode="after")
    def _in_order(self) -> Levels:
        if not self.limits:
            raise ValueError("needs at least one of the keys hh, h, l and ll")
        for (lower, below), (upper, above) in pairwise(self.limits.items()):
            if below.at >= above.at:
                raise ValueError(f"{upper} at {above.at:g} is not above {lower} at {below.at:g}")
        for worst, mild in (("hh", "h"), ("ll", "l")):
            self._check_side(AlertLevel(worst), AlertLevel(mild))
        for one, other in ((AlertLevel.HIGH, AlertLevel.LOW), (AlertLevel.LOW, AlertLevel.HIGH)):
            self._check_between(one, other)
        return self

    def _check_between(self, one: AlertLevel, other: AlertLevel) -> None:
        if one not in self.limits or other not in self.limits:
            return
        ends, limit = self.ends_at(one), self.limits[other].at
        if ends <= limit if one.is_high else ends >= limit:
            where = "below" if one.is_high else "above"
            raise ValueError(f"{one} would end {where} {ends:g} only, where {other} at {limit:g} is reached: less deadband")

    def _check_side(self, worst: AlertLevel, mild: AlertLevel) -> None:
        if worst not in self.limits or mild not in self.limits:
            return
        ends, before = self.ends_at(worst), self.ends_at(mild)
        if ends < before if worst.is_high else ends > before:
            raise ValueError(
                f"{worst} would end at {ends:g} and {mild} at {before:g}: the worse one must end first, so less deadband"
            )
        priorities = self.limits[worst].priority, self.limits[mild].priority
        if priorities[0] is not None and priorities[1] is not None and priorities[0].rank < priorities[1].rank:
            raise ValueError(f"{worst} has priority {priorities[0]}, and {mild}, which is less, {priorities[1]}")

    def ends_at(self, level: AlertLevel) -> float:
        """Beyond this the level is left."""
        limit = self.limits[level]
        return limit.at - limit.deadband if level.is_high else limit.at + limit.deadband

    def problems(self, profile: Profile) -> Iterator[tuple[Keys, str]]:
        """(keys, what is wrong with it) for the devices of this profile."""
        found = list(super().problems(profile))
        yield from found
        if found:
            return
        lowest, highest = profile.signals[self.signal].span
        of = f"{self.signal} of profile {profile.name}"
        for level, limit in self.limits.items():
            farthest, nearest = (highest, lowest) if level.is_high else (lowest, highest)
            sign, ends = 1 if level.is_high else -1, self.ends_at(level)
            if farthest is not None and sign * (limit.at - farthest) > 0:
                yield (level, "at"), f"is never reached: {of} is at {'most' if level.is_high else 'least'} {farthest:g}"
            if nearest is not None and sign * (ends - nearest) <= 0:
                how, bound = ("below", "least") if level.is_high else ("above", "most")
                yield (level, "deadband"), f"never ends: it would end {how} {ends:g}, and {of} is at {bound} {nearest:g}"
