"""The device cannot be reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from ..document import Strict
from ..profile import Profile


class DeviceOffline(Strict):
    """Sets when the device, or the gateway that reads it, cannot be reached."""

    kind: Literal["device_offline"]

    def problems(self, _profile: Profile) -> Iterator[tuple[str, str]]:
        """Nothing: every device has a connection."""
        yield from ()
