"""Fixtures for all rings: real servers, started when a test asks for them. With CI=true a missing server is a failure."""

from __future__ import annotations

import functools
import gc
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from millrace_contract.plant import document
from millrace_contract.testing import Influxd, Mosquitto
from millrace_contract.testing.hivemq import HiveMq

settings.register_profile("quick", max_examples=20)
"""For `make test-unit`; `make test` tries five times as many."""

SLOW = ("process", "broker", "influx", "browser")

MEMORY = Path("/dev/shm")
ROOM_BYTES = 4_000_000_000

if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES:
    # In memory, where there is room: thousands of stores are synced, and what a power cut would leave is no matter here.
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

# Hundreds of tests load the sample plant: the same text is composed once. What is made of it is made anew each time.
document.composed = functools.lru_cache(512)(document.composed)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-expected", action="store_true", help="golden cases: write what comes out now; then read the diff")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes begin first, and the many short ones fill the end: no worker is left with one of them alone."""
    slow = {item.path for item in items if any(item.get_closest_marker(each) for each in SLOW)}
    items.sort(key=lambda item: 0 if "system" in item.path.parts else 1 if item.path in slow else 2)


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end, and so do syntax trees: the collector need not look at them again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _need(binary: str | None, name: str, way_out: str) -> None:
    if binary is None:
        message = f"{name} is not on this machine: {way_out}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker of the test's own, anonymous, on a free port."""
    _need(Mosquitto.binary(), "mosquitto", "run scripts/mosquitto")
    server = Mosquitto(tmp_path / "mosquitto")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def hivemq(tmp_path: Path) -> Iterator[HiveMq]:
    """Another maker's broker."""
    yield from _hivemq(tmp_path)


@pytest.fixture(scope="session")
def shared_hivemq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HiveMq]:
    """One for many tests, because it starts slowly; each uses names of its own in it."""
    yield from _hivemq(tmp_path_factory.mktemp("shared"))


def _hivemq(folder: Path) -> Iterator[HiveMq]:
    _need(HiveMq.binary(), "HiveMQ", "run scripts/hivemq")
    server = HiveMq(folder / "hivemq")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def influxd(tmp_path: Path) -> Iterator[Influxd]:
    """A database of the test's own, with both buckets, on a free port; for tests that kill it."""
    _need(Influxd.binary(), "influxd", "run scripts/influxd")
    server = Influxd(tmp_path / "influxd")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shared_influxd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influxd]:
    """One database for many tests; each uses names of its own in it."""
    _need(Influxd.binary(), "influxd", "run scripts/influxd")
    server = Influxd(tmp_path_factory.mktemp("influxd"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def small_file_system(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts one of so many MB, which a test may fill."""
    with ExitStack() as mounted:

        def mount(megabytes: int) -> Path:
            folder = Path(tempfile.mkdtemp(prefix="disk", dir=tmp_path))
            command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
            if shutil.which("mount") is None or subprocess.run(command, check=False, capture_output=True).returncode:
                pytest.skip("this user may not mount a small file system")
            mounted.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)
            return folder

        yield mount
