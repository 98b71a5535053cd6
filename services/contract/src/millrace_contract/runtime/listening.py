"""Why a port cannot be listened on, in the one form of words of all services."""

from __future__ import annotations

import errno
import socket

from ..errors import CannotStart
from .settings import variable


def cannot_listen(host: str, port: int, purpose: str, error: OSError) -> CannotStart:
    """For the port of health, metrics and API, which the environment names."""
    place = variable("http_host" if _is_of_the_address(error) else "http_port")
    return CannotStart(place, port_problem(host, port, purpose, error))


def port_problem(host: str, port: int, purpose: str, error: OSError) -> str:
    """What is wrong, and the way out. `purpose`: what the port is for."""
    if error.errno == errno.EADDRINUSE:
        why = "another program uses it; end that one, or choose another port"
    elif _is_of_the_address(error):
        why = "this machine has no such address"
    elif error.errno == errno.EACCES:
        why = "a port below 1024 needs a right that this user has not; choose a higher one"
    else:
        why = str(error.strerror or error)
    return f"{host}:{port} cannot be used for {purpose}: {why}"


def _is_of_the_address(error: OSError) -> bool:
    return isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
