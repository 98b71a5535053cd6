"""A signal has, or has just taken, a value that is named: a text, a code, a bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from ..document import Strict, nearest
from ..profile import Profile

Word = float | str
"""A number or a text; where the profile gives a signal's numbers names (`values`), one of these names, too."""


class Value(Strict):
    """Sets while the signal is `equals`, or one of `one_of`; or for `changed_for_s` after each change of its value."""

    kind: Literal["value"]
    signal: str
    equals: Word | None = None
    one_of: tuple[Word, ...] = Field(default=(), max_length=50)
    changed_for_s: float | None = Field(default=None, gt=0, le=86_400)

    @model_validator(mode="after")
    def _one_test(self) -> Value:
        if sum((self.equals is not None, bool(self.one_of), self.changed_for_s is not None)) != 1:
            raise ValueError("needs one of the keys equals, one_of (a list with something in it) and changed_for_s")
        return self

    @property
    def words(self) -> tuple[Word, ...]:
        """What it waits for; nothing where it waits for a change."""
        return self.one_of if self.equals is None else (self.equals,)

    def problems(self, profile: Profile) -> Iterator[tuple[str, str]]:
        """(key, what is wrong with it) for the devices of this profile."""
        if missing := profile.missing_signal(self.signal):
            yield "signal", missing
            return
        signal, key = profile.signals[self.signal], "one_of" if self.equals is None else "equals"
        for word in self.words:
            if signal.is_text and not isinstance(word, str):
                yield key, f"{word:g} is a number, and signal {self.signal} of profile {profile.name} is a text; write it in quotes"
            elif not signal.is_text and isinstance(word, str) and word not in signal.values.values():
                known = (
                    f"; its values are {', '.join(signal.values.values())}" if signal.values else ", and has no values with names"
                )
                hint = nearest(word, signal.values.values())
                yield key, f"{word!r}{hint} is no value of signal {self.signal} of profile {profile.name}: it is a number{known}"

    def meant(self, profile: Profile) -> frozenset[Word]:
        """What it waits for, as readings of the profile's signal are."""
        return frozenset(meant_word(profile, self.signal, word) for word in self.words)


def meant_word(profile: Profile, signal: str, word: Word) -> Word:
    """The number of a value that the profile gives a name; anything else as it is."""
    numbers = {name: float(number) for number, name in profile.signals[signal].values.items()}
    return numbers.get(word, word) if isinstance(word, str) and not profile.signals[signal].is_text else word
