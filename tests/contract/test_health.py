"""Health: loops that turn are live, a silent one is not, and a process with a hung loop ends itself."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_contract.runtime.health import HealthServer, Heartbeats, Watchdog, live_answer
from millrace_contract.testing import ManualClock, free_port

HUNG = """
import time
from millrace_contract.runtime.health import Heartbeats, Watchdog
beats = Heartbeats()
beats.beat("engine")
Watchdog(beats, limit_s=0.4).start()
time.sleep(30)
"""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def server(clock: ManualClock) -> Iterator[tuple[Heartbeats, str]]:
    beats, port = Heartbeats(clock), free_port()
    health = HealthServer("127.0.0.1", port, beats, lambda: {"broker": False})
    health.start()
    yield beats, f"http://127.0.0.1:{port}"
    health.stop()


def _get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_live_while_loops_turn_and_not_after_a_minute_of_silence(clock: ManualClock, server: tuple[Heartbeats, str]) -> None:
    beats, url = server
    beats.beat("poller")
    assert _get(f"{url}/health/live")[0] == 200
    clock.advance(61)
    code, body = _get(f"{url}/health/live")
    assert (code, json.loads(body)["silent"]) == (503, ["poller"])
    beats.retire("poller")
    assert _get(f"{url}/health/live")[0] == 200


def test_a_step_that_fails_for_a_minute_is_unhealthy_and_says_why_until_it_works(
    clock: ManualClock, server: tuple[Heartbeats, str]
) -> None:
    beats, url = server
    step = beats.step("commit")
    step.failed("no column named prev")
    for _ in range(6):
        clock.advance(10)
        step.failed("no such column: prev")
    assert _get(f"{url}/health/live")[0] == 200
    clock.advance(1)
    code, body = _get(f"{url}/health/live")
    assert code == 503
    assert json.loads(body)["failing"] == {"commit": "fails since 2025-10-09T08:53:20.000Z: no such column: prev"}
    step.done()
    assert _get(f"{url}/health/live")[0] == 200


def test_a_step_whose_needs_are_away_is_healthy_however_long(clock: ManualClock) -> None:
    beats = Heartbeats(clock)
    step = beats.step("store")
    for _ in range(30):
        step.failed("InfluxDB answers 401")
        clock.advance(40)
        step.away()
        clock.advance(3600)
        assert live_answer(beats)[0] == 200


def test_a_step_that_is_not_tried_any_more_is_not_known_to_fail(clock: ManualClock) -> None:
    beats = Heartbeats(clock)
    step = beats.step("read back")
    step.failed("InfluxDB answers 401")
    clock.advance(300)
    assert live_answer(beats)[0] == 503
    clock.advance(301)
    assert live_answer(beats)[0] == 200


def test_readiness_names_what_is_missing_and_metrics_are_there(server: tuple[Heartbeats, str]) -> None:
    _, url = server
    code, body = _get(f"{url}/health/ready")
    assert (code, json.loads(body)["needs"]) == (503, {"broker": False})
    assert b"process_cpu_seconds_total" in _get(f"{url}/metrics")[1]
    assert _get(f"{url}/nothing")[0] == 404


@pytest.mark.process
def test_a_process_with_a_hung_loop_ends_itself() -> None:
    ended = subprocess.run([sys.executable, "-c", HUNG], capture_output=True, timeout=20, check=False)
    assert ended.returncode == 70
    assert b"loop_silent" in ended.stdout + ended.stderr


def test_systemd_hears_that_the_loops_turn(tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        watchdog = Watchdog(Heartbeats(clock), limit_s=0.2)
        watchdog.start()
        assert systemd.recv(100) == b"WATCHDOG=1"
        watchdog.stop()
