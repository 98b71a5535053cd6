"""One measurable of a device: what it means, wherever it comes from (register_signal.py, message_signal.py)."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from .document import Strict
from .register_types import Factor
from .valid_from import DatedChange

if TYPE_CHECKING:
    from .profile import Profile

EVERY_GROUP = "*"
READS_SERVED = "reads_served"
"""The signal of simulated machines that counts the reads they answered; part of every poll group (contracts.md 7)."""

SignalKind = Literal["gauge", "counter", "state", "bit", "bits", "text", "time"]

MEASURED = frozenset({"gauge", "counter"})
ACRONYMS = frozenset({"ac", "dc", "id", "rpm"})


def _is_numbered(word: str) -> bool:
    """A letter or three with a number, as phases, inputs and flags are called: l1, x001, dd2."""
    return re.fullmatch("[a-z]{1,3}[0-9]+", word) is not None


class CounterChange(DatedChange):
    """How a counter counts from an instant on."""

    modulus: int | None = Field(default=None, ge=2)
    max_rate_per_s: float = Field(default=1.0, gt=0)


class Counter(Strict):
    """How a counter counts, both in the unit of its readings: the first value that is never shown, and the fastest it can go
    (oee.md A7)."""

    modulus: int | None = Field(default=None, ge=2)
    max_rate_per_s: float = Field(gt=0)
    changes: tuple[CounterChange, ...] = ()


class OnChange(Strict):
    """Report a signal only when it has moved by more than `deadband` (in its unit), and every `heartbeat_s` all the same."""

    deadband: float = Field(default=0.0, ge=0)
    heartbeat_s: float = Field(default=300.0, gt=0, le=86_400)


class Signal(Strict):
    """One measurable of a device, as everybody sees it who shows, stores or judges its readings."""

    name: str
    title: str = Field(default="", max_length=80)
    scale: Factor = 1.0
    divisor: Factor = 1.0
    offset: float = Field(default=0.0, allow_inf_nan=False)
    unit: str = ""
    decimals: int | None = Field(default=None, ge=0, le=9)
    group: str = ""
    values: dict[int, str] = {}
    invalid: tuple[int | float, ...] = ()
    counter: Counter | None = None
    on_change: OnChange | None = None
    minimum: float | None = None
    maximum: float | None = None
    normal: tuple[float | None, float | None] | None = None
    description: str = ""

    @property
    def is_scaled(self) -> bool:
        return self.scale != 1 or self.divisor != 1 or self.offset != 0

    @property
    def is_text(self) -> bool:
        raise NotImplementedError

    @property
    def span(self) -> tuple[float | None, float | None]:
        """The lowest and the highest that a good reading of it can be, as far as the profile says."""
        return self.minimum, self.maximum

    @property
    def kind(self) -> SignalKind:
        """What its readings are, for who shows or judges them."""
        if self.is_text:
            return "text"
        if self.counter is not None:
            return "counter"
        return "state" if self.values else "gauge"

    @property
    def label(self) -> str:
        """What people read: its title, or else its name in words."""
        if self.title:
            return self.title
        words = [word.upper() if word in ACRONYMS or _is_numbered(word) else word for word in self.name.split("_")]
        return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])

    @property
    def shown_decimals(self) -> int | None:
        """How many decimals its readings are shown with: as the profile says, or else as many as its scale makes."""
        if self.decimals is not None or self.kind not in MEASURED:
            return self.decimals
        if not self.has_fixed_point:
            return None
        factor, offset = Fraction(repr(self.scale)) / Fraction(repr(self.divisor)), Fraction(repr(self.offset))
        return next((n for n in range(10) if (factor * 10**n).denominator == (offset * 10**n).denominator == 1), None)

    @property
    def has_fixed_point(self) -> bool:
        """Whether its scale makes the decimals: of a whole number that nothing else moves."""
        return False

    def reported_every_s(self, profile: Profile) -> float | None:
        """How long after a reading the next one comes at the latest while all is well; None for what is read once."""
        groups = (profile.groups[name] for name in self.groups(profile))
        interval_s = min((group.interval_s for group in groups if not group.once), default=None)
        if interval_s is None:
            return None
        return interval_s if self.on_change is None else max(interval_s, self.on_change.heartbeat_s)

    def groups(self, profile: Profile) -> tuple[str, ...]:
        return tuple(profile.groups) if self.group == EVERY_GROUP else (self.group,)

    @model_validator(mode="after")
    def _meaning(self) -> Signal:
        if self.is_text and (self.is_scaled or self.counter or self.values or self.invalid):
            raise ValueError("a string has no scale, divisor, offset, counter, values or invalid")
        if self.on_change and (self.counter or self.values or self.name == READS_SERVED):
            raise ValueError("a counter or a state has no on_change: OEE needs every reading of it")
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            raise ValueError(f"minimum {self.minimum} is not below maximum {self.maximum}")
        if self.decimals is not None and self.kind not in MEASURED:
            raise ValueError(f"a {self.kind} has no decimals")
        if self.normal is not None:
            self._check_normal(*self.normal)
        return self

    def _check_normal(self, low: float | None, high: float | None) -> None:
        if self.kind not in MEASURED:
            raise ValueError(f"a {self.kind} has no normal range")
        if low is not None and high is not None and low >= high:
            raise ValueError(f"normal [{low}, {high}]: the lower end comes first")
