"""Killed at any instant, what was entered is there once or not at all: kept, and to be sent, in one; rules, too."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

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
        return self._send("POST", "/v1/quality", body)

    def change(self, number: int) -> int | None:
        """As `enter`, of a rule."""
        rule = {"title": f"Number {number}", "class": "system", "condition": {"kind": "device_offline"}}
        return self._send("PUT", f"/v1/rules/r{number}", {"actor": "anna", "rule": rule})

    def _send(self, method: str, path: str, body: dict[str, Any]) -> int | None:
        headers = {"Authorization": "Bearer writer-token"}
        try:
            return httpx.request(method, f"{self._url}{path}", json=body, headers=headers, timeout=20, verify=PLAIN).status_code
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
    setup.write_tokens({**TOKENS, "writer": ["write", "configure"]})
    setup.settings.data.mkdir(parents=True, exist_ok=True)
    rng = random.Random(5)
    answered: list[int] = []
    ruled: set[str] = set()
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
            if process.change(number) != 201:
                break
            ruled.add(f"r{number}")
        killer.join()
    assert len(answered) > ROUNDS
    with closing(sqlite3.connect(setup.settings.data / "alerts.db")) as connection:
        kept = [decode_entry(body) for (body,) in connection.execute("SELECT body FROM entry ORDER BY entered_ms")]
        rows = connection.execute("SELECT topic, payload FROM outbox_message ORDER BY id").fetchall()
        edits = {name for (name,) in connection.execute("SELECT id FROM rule_edit")}
        told = [json.loads(body) for (body,) in connection.execute("SELECT body FROM event ORDER BY seq")]
    sent = [decode_entry(payload) for topic, payload in rows if topic.endswith("/context/event")]
    assert sent == kept, "each is in both, once"
    assert len({entry.id for entry in kept}) == len(kept)
    assert {f"e{each}" for each in answered} <= {entry.id for entry in kept} <= {f"e{each}" for each in [*answered, unsure]}
    assert ruled <= edits
    assert len(edits - ruled) <= ROUNDS
    changes = [event["rule"] for event in told if event["cause"] == "rule_changed" and event["rule"] in edits]
    assert sorted(changes) == sorted(edits), "each is an event, once"
    assert [entry.prev for entry in sent[1:]] == [entry.seq for entry in sent[:-1]]
