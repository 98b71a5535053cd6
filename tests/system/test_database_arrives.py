"""The demo on a machine without a database: everything else runs, readings wait, and once there is an influxd they are stored. And
Ctrl-C at any moment: no process and nothing half made is left."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from millrace_contract.testing import Influxd, Mosquitto, wait_until

from .conftest import System

pytestmark = [pytest.mark.broker, pytest.mark.influx]

WAITING = re.compile(r"database: .*messages waiting in the outboxes: ([\d,]+)")
SHOWN_WAITING = 150


class Bare:
    """A demo that finds no influxd, and cannot get one: somebody else is at it already, for as long as the test likes."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache" / "millrace"
        self.cache.mkdir(parents=True)
        self._lock = (self.cache / "influxd.lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        folders = [each for each in os.environ["PATH"].split(":") if not (Path(each) / "influxd").exists()]
        environ = {**os.environ, "XDG_CACHE_HOME": str(self.cache.parent), "PATH": ":".join(folders)}
        environ.pop("MILLRACE_INFLUXD", None)
        self.system = System(folder / "state", environ)
        self.system.state.mkdir()

    @property
    def said(self) -> str:
        return (self.system.state.parent / "demo.log").read_text(errors="replace")

    @property
    def waiting(self) -> int:
        """Messages, as last shown."""
        shown = WAITING.findall(self.said)
        return int(shown[-1].replace(",", "")) if shown else 0

    def put_influxd(self) -> None:
        """Bit by bit, as `cp` does."""
        place = self.cache / "bin" / "influxd"
        place.parent.mkdir(exist_ok=True)
        with Path(shutil.which("influxd") or Influxd.binary() or "").open("rb") as source, place.open("wb") as target:
            target.write(source.read(1 << 20))
            target.flush()
            place.chmod(0o755)
            before = len(self.said)
            wait_until(lambda: self.said[before:].count("\n") >= 2, "the demo to look at half of it", 60)
            shutil.copyfileobj(source, target)

    def processes(self) -> list[str]:
        """What runs with this test's folder in its command or environment."""
        ours = str(self.system.state.parent).encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            except OSError:
                continue  # it has ended, or is somebody else's
            if ours in text and int(process.name) != os.getpid():
                found.append(text.split(b"\0")[0].decode(errors="replace"))
        return found

    def close(self) -> None:
        self._lock.close()
        self.system.stop()


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Bare]:
    for name, binary in (("mosquitto", Mosquitto.binary()), ("influxd", Influxd.binary())):
        if binary is None:
            message = f"{name} is not on this machine"
            pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    bare = Bare(tmp_path)
    yield bare
    bare.close()


def test_readings_wait_for_the_database_and_are_all_stored_once_it_is_there(bare: Bare) -> None:
    bare.system.start()
    wait_until(lambda: re.search(r"OEE line1 \d", bare.said), "OEE without a database", 300)
    wait_until(lambda: re.search(r"open alerts [1-9]", bare.said), "an alert without a database", 120)
    wait_until(lambda: bare.waiting > SHOWN_WAITING, "readings to be shown waiting", 180)
    assert "another run is getting it" in bare.said
    bare.put_influxd()
    wait_until(lambda: "database: ready, catching up" in bare.said, "the catching up to be shown", 120)
    wait_until(lambda: "database: stored" in bare.said, "everything to be stored", 180)
    first_ms = min(int(row[0]) for row in bare.system.rows("telemetry", "SELECT first(reads_served) FROM /./"))
    assert first_ms, "something is stored"
    scored = bare.system.run("millrace-sim", "score", "--json", "--wait", "60", timeout_s=150)
    assert scored.returncode == 0, scored.stdout + scored.stderr
    assert bare.system.stop() == 0
    assert bare.processes() == []


def _soon(bare: Bare) -> None:
    wait_until(lambda: "making passwords" in bare.said, "the demo to begin", 60)


def _waiting(bare: Bare) -> None:
    wait_until(lambda: bare.waiting > 0, "readings to wait", 120)


def _starting(bare: Bare) -> None:
    _waiting(bare)
    bare.put_influxd()
    wait_until(lambda: "database: starting" in bare.said, "the database to start", 120)


def _catching_up(bare: Bare) -> None:
    _waiting(bare)
    bare.put_influxd()
    wait_until(lambda: "catching up" in bare.said, "the catching up", 120)


@pytest.mark.parametrize("moment", [_soon, _waiting, _starting, _catching_up])
def test_ctrl_c_leaves_no_process_and_nothing_half_made(bare: Bare, moment: Callable[[Bare], None]) -> None:
    bare.system.launch()
    moment(bare)
    assert bare.system.stop() == 0
    assert bare.processes() == []
    assert [path.name for path in bare.cache.glob("*.part")] == []


def test_a_second_ctrl_c_waits_for_nobody_and_leaves_nobody(bare: Bare) -> None:
    bare.system.launch()
    _waiting(bare)
    os.kill(bare.system.pid("alerts"), signal.SIGSTOP)  # hangs, as a first Ctrl-C alone would wait for it to end
    bare.system.interrupt()
    wait_until(lambda: "stopping" in bare.said, "the demo to stop", 30)
    assert bare.system.stop() == 128 + signal.SIGINT
    wait_until(lambda: bare.processes() == [], "every process to end", 30)


def test_an_influxd_that_does_not_run_is_named_and_stops_nothing(bare: Bare) -> None:
    place = bare.cache / "bin" / "influxd"
    place.parent.mkdir()
    place.write_bytes(b"\x7fELF of another machine")
    place.chmod(0o755)
    bare.system.start()
    wait_until(lambda: f"no database: {place} does not run" in bare.said, "its flaw to be said", 60)
    _waiting(bare)
    place.unlink()
    bare.put_influxd()
    wait_until(lambda: "database: stored" in bare.said, "everything to be stored", 180)
