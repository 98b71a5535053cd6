"""What the kinds that watch figures of oee have in common."""

from __future__ import annotations

from collections.abc import Iterator

from ..document import Strict
from ..profile import Profile


class OfFigures(Strict):
    """A condition on what oee says of the rule's device, which must be a machine."""

    def problems(self, profile: Profile) -> Iterator[tuple[str, str]]:
        """(key, what is wrong with it) for the devices of this profile."""
        if profile.oee is None:
            yield "kind", f"needs figures of oee, and profile {profile.name} has no key oee: its devices are no machines"
