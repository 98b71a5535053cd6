"""Why a serial port cannot be opened, in words."""

from __future__ import annotations

import errno
import traceback
from typing import Final

from .endpoint import Endpoint
from .faults import NotConnected

try:
    import termios
except ImportError:  # Windows: what a port does not take is a ValueError there.
    _REFUSED: tuple[type[Exception], ...] = (ValueError,)
else:
    _REFUSED = (ValueError, termios.error)

OPEN_ERRORS: Final[tuple[type[Exception], ...]] = (OSError, *_REFUSED)
"""What opening a port or a socket raises; a ValueError also for what cannot be a host name."""

_WORDS: Final = {
    errno.ENOENT: "there is no such port; is the adapter plugged in, and was a container given it (`devices:`)?",
    errno.ENXIO: "there is no adapter behind it",
    errno.ENODEV: "there is no adapter behind it",
    errno.EACCES: "this account may not; add it to the group of the port, most often dialout",
    errno.EPERM: "this account may not; add it to the group of the port, most often dialout",
}


def port_not_opened(endpoint: Endpoint, error: Exception, timeout_s: float) -> NotConnected:
    """What a person can do about it. Lets go of the port, which a failure halfway through its settings leaves open."""
    # Nobody else has the half-made port: the frames that the error came through hold it, and would until they are collected.
    traceback.clear_frames(error.__traceback__)
    number = error.errno if isinstance(error, OSError) else None
    if "exclusively lock" in str(error) or number in (errno.EBUSY, errno.EAGAIN):
        reason = f"{endpoint} is held by another program; a running gateway holds the ports of its devices"
        return NotConnected("held", f"{reason}: stop it while you ask")
    if isinstance(error, _REFUSED) or number == errno.EINVAL:
        settings = f"{endpoint.baud_rate} baud, 8{endpoint.parity}{endpoint.stop_bits}"
        advice = "another baud_rate or stop_bits" if endpoint.parity == "N" else "parity N"
        return NotConnected("serial", f"{endpoint} does not take {settings}; try {advice}")
    if isinstance(error, TimeoutError):
        return NotConnected("timeout", f"{endpoint} did not open within {timeout_s:g} s")
    words = _WORDS.get(number or 0)
    return NotConnected("serial", f"{endpoint} cannot be opened: {words or error}")
