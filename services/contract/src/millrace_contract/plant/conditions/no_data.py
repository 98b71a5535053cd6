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
