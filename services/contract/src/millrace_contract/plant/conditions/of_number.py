"""What the kinds that watch one number have in common."""

from __future__ import annotations

from collections.abc import Iterator

from ..document import Strict
from ..profile import Profile


class OfNumber(Strict):
    """A condition on the readings of one signal, which must be numbers."""

    signal: str

    def problems(self, profile: Profile) -> Iterator[tuple[str, str]]:
        """(key, what is wrong with it) for the devices of this profile."""
        if missing := profile.missing_signal(self.signal):
            yield "signal", missing
        elif profile.signals[self.signal].is_text:
            yield "signal", f"signal {self.signal} of profile {profile.name} is a text; this condition needs a number"
