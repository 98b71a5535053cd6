"""What systemd is told of a process that it supervises (sd_notify(3)): that the loops still turn. Elsewhere nothing is told."""

from __future__ import annotations

import contextlib
import os
import socket


def tell_supervisor(state: str) -> None:
    """Send one state, such as "WATCHDOG=1". Never raises: a supervisor that hears nothing does what it has to."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
