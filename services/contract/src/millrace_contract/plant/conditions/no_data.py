"""Nothing good comes any more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from ..document import Strict
from ..profile import Profile


class NoData(Strict):
    """Sets when there is no good reading of the signal (or of any) for `after_s`."""

    kind: Literal["no_data"]
    after_s: float = Field(gt=0)
    signal: str | None = None

    def problems(self, profile: Profile) -> Iterator[tuple[str, str]]:
        """(key, what is wrong with it) for the devices of this profile."""
        if self.signal is not None and (missing := profile.missing_signal(self.signal)):
            yield "signal", missing
            return
        chosen = profile.signals.values() if self.signal is None else (profile.signals[self.signal],)
        every_s = min((each for signal in chosen if (each := signal.reported_every_s(profile)) is not None), default=None)
        if every_s is not None and self.after_s < every_s:
            what = self.signal or "any signal"
            yield "after_s", f"is shorter than the {every_s:g} s after which {what} of profile {profile.name} comes again"
