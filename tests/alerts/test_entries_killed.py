"""Killed at any instant, what was entered is there once or not at all: kept, and to be sent, in one."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from millrace_contract.language.entries import decode_entry
from millrace_contract.testing import wait_until

from .conftest import PLAIN, TOKENS, Running

pytestmark = pytest.mark.process
ROUNDS = 3


class Process:
    """`millrace-alerts run`, without broker and database."""

    def __init__(self, setup: Running) -> None:
        self._url = f"http://127.0.0.1:{setup.settings.http_port}"
        environment = {
            **os.environ,
            "MILLRACE_CONFIG": str(setup.settings.config),
            "MILLRACE_DATA": str(setup.settings.data),
            "MILLRACE_HTTP_PORT": str(setup.settings.http_port),
            "MILLRACE_MQTT_PORT": str(setup.settings.mqtt_port),
            "MILLRACE_INFLUX_URL": setup.settings.influx_url,
            "MILLRACE_API_TOKENS_FILE": str(setup.tokens_file),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "millrace_alerts", "run"], env=environment, stderr=subprocess.DEVNULL
        )
        wait_until(self._lives, "the API", 120)

    def enter(self, number: int) -> int | None:
        """Status of the answer, None without one."""
        body = {"id": f"e{number}", "device": "CNC-01", "kind": "scrap", "count": number, "start": "2025-10-01T06:00:00Z"}
        try:
            return httpx.post(
                f"{self._url}/v1/quality", json=body, headers={"Authorization": "Bearer writer-token"}, timeout=20, verify=PLAIN
            ).status_code
        except httpx.TransportError:
            return None

    def kill(self) -> None:
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait(60)

    def _lives(self) -> bool:
        try:
            return httpx.get(f"{self._url}/health/live", timeout=20, verify=PLAIN).status_code == 200
        except httpx.TransportError:
            return False


@pytest.mark.long
def test_an_entry_that_was_answered_is_kept_and_sent_once_and_a_repeat_after_a_kill_is_none(tmp_path: Path) -> None:
    setup = Running(tmp_path)
    setup.write_tokens({**TOKENS, "writer": ["write"]})
    setup.settings.data.mkdir(parents=True, exist_ok=True)
    rng = random.Random(5)
    answered: list[int] = []
    unsure: int | None = None
    number = 0
    for _ in range(ROUNDS):
        process = Process(setup)
        if unsure is not None:
            assert process.enter(unsure) in {200, 201}, "sent again: it was done, or it is done now"
            answered.append(unsure)
        killer = threading.Timer(rng.uniform(0.2, 1.5), process.kill)
        killer.start()
        while True:
            number += 1
            if (status := process.enter(number)) is None:
                unsure = number
                break
            assert status == 201
            answered.append(number)
        killer.join()
    assert len(answered) > ROUNDS
    with closing(sqlite3.connect(setup.settings.data / "alerts.db")) as connection:
        kept = [decode_entry(body) for (body,) in connection.execute("SELECT body FROM entry ORDER BY entered_ms")]
        rows = connection.execute("SELECT topic, payload FROM outbox_message ORDER BY id").fetchall()
    sent = [decode_entry(payload) for topic, payload in rows if topic.endswith("/context/event")]
    assert sent == kept, "each is in both, once"
    assert len({entry.id for entry in kept}) == len(kept)
    assert {f"e{each}" for each in answered} <= {entry.id for entry in kept} <= {f"e{each}" for each in [*answered, unsure]}
    assert [entry.prev for entry in sent[1:]] == [entry.seq for entry in sent[:-1]]
