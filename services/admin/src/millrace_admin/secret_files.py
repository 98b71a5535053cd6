"""One folder of secrets for each consumer: who may read what, written so that a kill leaves the old file or the new one."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from millrace_contract.runtime.files import replace_file

# No look-alikes, for people who type; and nothing that a shell, an option, a URL or a configuration file treats specially.
ALPHABET = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
PASSWORD_LENGTH = 24
"""140 bits."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The user that a consumer runs as in its container."""

    uid: int
    gid: int


OURS = Owner(10001, 10001)

CONSUMERS: dict[str, Owner] = {
    "admin": Owner(0, 0),
    "mosquitto": Owner(1883, 1883),
    "grafana": Owner(472, 0),
    "gateway": OURS,
    "ingest": OURS,
    "rollup": OURS,
    "oee": OURS,
    "alerts": OURS,
    "simulator": OURS,
}
"""Every consumer of secrets. Each sees its own folder only; `admin` is what the millrace command keeps for itself."""


def new_password(length: int = PASSWORD_LENGTH) -> str:
    """Random letters and digits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


class SecretFiles:
    """The folders below one root. With `give_away` each file goes to its consumer's user (needs root), else to its maker."""

    def __init__(self, root: Path, *, give_away: bool) -> None:
        self.root = root
        self._give_away = give_away

    def path(self, consumer: str, name: str) -> Path:
        return self.root / consumer / name

    def prepare(self) -> None:
        """Make the folders that are missing, and put owners and modes right."""
        for consumer, owner in CONSUMERS.items():
            folder = self.root / consumer
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
            if self._give_away:
                os.chown(folder, owner.uid, owner.gid)

    @contextmanager
    def locked(self, consumer: str = "admin") -> Iterator[None]:
        """Keep `bootstrap` and `access` from working at the same time; the lock ends with the process.

        That of `mosquitto` is held, after the other one, by who renders the broker's files: `access follow` has no other folder.
        """
        # Made by root, it is not for the others to write; to be locked it need not be.
        handle = os.open(self.path(consumer, ".lock"), os.O_RDONLY | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def read(self, consumer: str, name: str) -> str | None:
        """The text of a file, or None where there is none (or an empty one, which a full disk may have left)."""
        try:
            return self.path(consumer, name).read_text(encoding="utf-8").strip() or None
        except FileNotFoundError:
            return None

    def write(self, consumer: str, name: str, content: str) -> bool:
        """Put `content` in place in one step; True when that changed the file."""
        path = self.path(consumer, name)
        if path.exists() and path.read_text(encoding="utf-8") == content:
            return False
        user = CONSUMERS[consumer]
        owner = (user.uid, user.gid) if self._give_away else None
        replace_file(path, content.encode(), mode=0o400, owner=owner)
        return True

    def ensure(self, consumer: str, name: str, make: Callable[[], str] = new_password) -> str:
        """The file's text, made now where it is missing."""
        present = self.read(consumer, name)
        if present is None:
            present = make()
            self.write(consumer, name, present + "\n")
        return present
