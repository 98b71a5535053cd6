"""The account with which a command of ours listens to the broker: one that no other command on this server uses meanwhile."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from millrace_contract.errors import CannotStart, Unavailable

from .broker_accounts import Role
from .own_accounts import BROKER_PASSWORD, COMMAND_ACCOUNTS
from .secret_files import SecretFiles


@contextmanager
def command_account(files: SecretFiles) -> Iterator[tuple[str, str]]:
    """Name and password; the name is the client id, too. It may read everything and write nothing.

    Raises CannotStart where there are no secrets, or not for this user, and Unavailable when all are in use.
    """
    try:
        password = files.read(Role.ADMIN, BROKER_PASSWORD)
        if password is None:
            place = files.path(Role.ADMIN, BROKER_PASSWORD)
            way_out = "is not there: name the secrets folder with --secrets, or an account with MILLRACE_MQTT_USERNAME"
            raise CannotStart(str(place), way_out)
        name, lock = _free(files)
    except PermissionError as denied:
        raise CannotStart(str(denied.filename), "permission denied; who records must own the secrets folder") from denied
    with lock:
        yield name, password


def _free(files: SecretFiles) -> tuple[str, TextIO]:
    """The lock ends with the process; commands in several containers share the folder."""
    for name in COMMAND_ACCOUNTS:
        lock = files.path(Role.ADMIN, f".{name}.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            return name, lock
    raise Unavailable(f"{len(COMMAND_ACCOUNTS)} commands listen to the broker already; end one of them")
