"""Where a server of this machine may stand, and how a half-made one is kept apart from a whole one."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

INFLUXD_VERSION = "2.9.1"
SYSTEM_FOLDERS = "/usr/sbin:/usr/local/sbin"
"""Where distributions put servers; seldom on the PATH of who is not root."""

Tell = Callable[[str], None]


class NotToBeHad(Exception):
    """Why a server is neither here nor to be got, in one line that says what a person can do."""


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Ours in the user's cache; programs stand in its folder `bin`."""
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "millrace"


def cached(name: str, environ: Mapping[str, str]) -> str | None:
    path = cache_folder(environ) / "bin" / name
    return str(path) if path.is_file() else None


def find_mosquitto(environ: Mapping[str, str]) -> str | None:
    """PATH, the system's folders of servers, our cache."""
    path = environ.get("PATH", "")
    return shutil.which("mosquitto", path=f"{path}:{SYSTEM_FOLDERS}") or cached("mosquitto", environ)


def find_influxd(environ: Mapping[str, str]) -> str | None:
    """MILLRACE_INFLUXD, PATH, our cache."""
    return environ.get("MILLRACE_INFLUXD") or shutil.which("influxd", path=environ.get("PATH", "")) or cached("influxd", environ)


@contextlib.contextmanager
def alone(cache: Path, name: str, say: Tell) -> Iterator[None]:
    """One at a time gets a server; who comes second waits."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is getting it; waiting for that one")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def half_made(cache: Path, name: str) -> Iterator[Path]:
    """An empty folder for what is not whole yet. It is gone afterwards, and what a killed run left in it is gone before."""
    folder = cache / f"{name}.part"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        try:
            shutil.rmtree(folder, ignore_errors=True)
        except SystemExit:  # told to end while clearing up: that is finished first
            shutil.rmtree(folder, ignore_errors=True)
            raise
