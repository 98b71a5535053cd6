"""The disk of the database is full, and has room again: nobody has to lend a hand."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.runtime.database_restart import RestartRequest
from millrace_contract.testing import Influxd, ManualClock, Mosquitto, wait_until

from .conftest import Gateway, Ingest

RUN_SH = Path(__file__).resolve().parents[2] / "influxdb" / "run.sh"


class StartedByScript(Influxd):
    """As the compose file starts it, on a disk of its own."""

    def __init__(self, disk: Path, requests: Path) -> None:
        super().__init__(disk / "influxdb")
        self._disk = disk
        self._requests = requests

    def command(self) -> Sequence[str]:
        return [
            "env",
            "MILLRACE_LOOK_S=1",
            "sh",
            str(RUN_SH),
            str(self._disk),
            str(self._requests),
            *super().command(),
        ]

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")


@pytest.fixture
def disk(small_file_system: Callable[[int], Path]) -> Path:
    return small_file_system(64)


def fill(disk: Path) -> Path:
    """Another program takes what is left; its file."""
    ballast = disk / "somebody-elses"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1_000_000, 4_096):
            while os.statvfs(disk).f_bavail * 4_096 >= size:
                file.write(bytes(size))
    return ballast


@pytest.mark.long
@pytest.mark.broker
@pytest.mark.influx
def test_a_database_whose_disk_was_full_goes_on_by_itself(
    disk: Path, mosquitto: Mosquitto, write_plant: Callable[..., Path], tmp_path: Path
) -> None:
    requests = tmp_path / "requests"
    requests.mkdir()
    database = StartedByScript(disk, requests)
    database.start()
    config = write_plant(tmp_path / "config")
    ingest = Ingest(tmp_path / "ingest", config, mosquitto, database, MILLRACE_INFLUX_REQUESTS=str(requests))
    gateway = Gateway(tmp_path / "gateway", mosquitto)
    ingest.start()
    gateway.start()
    try:
        gateway.send(200)
        wait_until(lambda: gateway.is_drained, "readings in the database")
        wait_until((disk / "reserve").exists, "room kept back")
        ballast = fill(disk)
        wait_until(lambda: not (disk / "reserve").exists(), "the room kept back given up")
        assert "which InfluxDB may use now" in database.log
        with ballast.open("ab") as more, contextlib.suppress(OSError):
            more.write(bytes(8_000_000))
        wait_until(lambda: _refuses(ingest, gateway), "the full disk noticed")
        problem = _problem(ingest)
        assert "its disk is full, or was when it failed to write; make room on it" in problem
        ballast.unlink()
        wait_until(lambda: gateway.is_drained, "everything stored without a hand", 90)
        found = ingest.stored()
        assert {device: sorted(values) for device, values in found.items()} == {
            device: [float(one) for one in sent] for device, sent in gateway.sent.items()
        }
        assert (ingest.figure("dead_letters"), ingest.figure("lost")) == (0, 0)
        # What came behind the torn end of a log is read again by the next InfluxDB.
        gateway.send(200)
        wait_until(lambda: gateway.is_drained, "more readings in the database")
        before = ingest.stored()
        database.stop()
        database.start()
        assert ingest.stored() == before
        wait_until((disk / "reserve").exists, "room kept back again")
    finally:
        gateway.stop()
        ingest.stop()
        database.stop()


def _refuses(ingest: Ingest, gateway: Any) -> bool:
    gateway.send(200)
    return ingest.logged("restart_of_database_asked")


def _problem(ingest: Ingest) -> str:
    return ingest.command("status")[1]


def test_the_script_is_asked_once_in_five_seconds_and_a_full_disk_of_our_own_is_no_fault(tmp_path: Path) -> None:
    clock = ManualClock()
    request = RestartRequest(tmp_path, "ingest-1", clock)
    file = tmp_path / "restart-influxd.ingest-1"
    request.ask()
    os.utime(file, (1, 1))
    request.ask()
    assert file.stat().st_mtime == 1
    clock.advance(5)
    request.ask()
    assert file.stat().st_mtime > 1
    RestartRequest(tmp_path / "gone", "ingest-1", clock).ask()
