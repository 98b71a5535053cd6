"""What the kinds that watch one number have in common."""

from __future__ import annotations

from collections.abc import Iterator

from ..document import Strict
from ..profile import Profile

Keys = tuple[str | int, ...]
"""What leads to a value in the file, from the condition on."""


class OfNumber(Strict):
    """A condition on the readings of one signal, which must be numbers."""

    signal: str

    def problems(self, profile: Profile) -> Iterator[tuple[Keys, str]]:
        """(keys, what is wrong with it) for the devices of this profile."""
        if problem := number_problem(profile, self.signal):
            yield ("signal",), problem


def number_problem(profile: Profile, signal: str) -> str | None:
    """Why the signal gives no numbers; None where it does."""
    if missing := profile.missing_signal(signal):
        return missing
    if profile.signals[signal].is_text:
        return f"signal {signal} of profile {profile.name} is a text; this condition needs a number"
    return None


def keys_of(said: Keys | str) -> Keys:
    """What a kind says that is wrong: one key, or those that lead there."""
    return (said,) if isinstance(said, str) else said
