"""The socket that an HTTP server of ours listens on, and why a port cannot be used, in the one form of words of all services."""

from __future__ import annotations

import errno
import socket

from ..errors import CannotStart
from .settings import variable

BACKLOG = 128
"""Connections that the kernel holds until they are accepted."""


def listen_on(host: str, port: int, purpose: str) -> socket.socket:
    """A socket that listens; raises CannotStart.

    It is made with its protocol's number: asyncio takes it for TCP, and turns Nagle's delay off, only where it finds that.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise cannot_listen(host, port, purpose, error) from error
    return listening


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
