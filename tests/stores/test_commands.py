"""What a person reads who starts a command on a store that it cannot work with: one sentence with the way out, status 2."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from millrace_contract.testing import free_port

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
COMMANDS = {
    "outbox.sqlite": ["millrace_gateway", "run"],
    "oee.db": ["millrace_oee", "run"],
    "alerts.db": ["millrace_alerts", "run"],
    "ingest.sqlite": ["millrace_ingest", "run"],
}


def started(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "MILLRACE_CONFIG": str(ROOT / "config"),
        "MILLRACE_DATA": str(folder),
        "MILLRACE_INSTANCE": "edge-1",
        "MILLRACE_HTTP_PORT": str(free_port()),
        "MILLRACE_MQTT_PORT": str(free_port()),
        "MILLRACE_INFLUX_URL": f"http://127.0.0.1:{free_port()}",
    }
    return subprocess.run(
        [sys.executable, "-m", *command], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 0x4D4C5243")
        connection.execute("PRAGMA user_version = 99")
        connection.execute("CREATE TABLE outbox_state (one INTEGER)")


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmark (url TEXT)")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(_newer, "is of version 99, this program knows versions up to"), (_foreign, "a database of another program")],
)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_service_refuses_a_store_that_is_not_its_own(
    tmp_path: Path, name: str, spoil: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / name
    spoil(path)
    before = path.read_bytes()
    ended = started(tmp_path, *COMMANDS[name])
    assert ended.returncode == 2, ended.stderr
    [sentence] = [line for line in ended.stderr.splitlines() if words in line]
    assert sentence.startswith(f"{path}: ")
    assert "Traceback" not in ended.stderr + ended.stdout
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*set-aside*"))


def test_a_gateway_refuses_an_outbox_with_other_columns_and_is_not_healthy_on_it(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            """PRAGMA application_id = 0x4D4C5243;
            CREATE TABLE outbox_state (one INTEGER PRIMARY KEY CHECK (one = 1), sender TEXT NOT NULL, version INTEGER NOT NULL,
                next_id INTEGER NOT NULL, depth INTEGER NOT NULL, bytes INTEGER NOT NULL);
            INSERT INTO outbox_state VALUES (1, 'edge-1', 1, 1, 0, 0);
            CREATE TABLE outbox_stream (first_id INTEGER PRIMARY KEY, name TEXT NOT NULL);
            INSERT INTO outbox_stream VALUES (1, 'edge-1.00c0ffee');
            CREATE TABLE outbox_device (device TEXT PRIMARY KEY, seq INTEGER NOT NULL, last_ms INTEGER NOT NULL,
                peak_ms INTEGER NOT NULL) WITHOUT ROWID;
            CREATE TABLE outbox_message (id INTEGER PRIMARY KEY, topic TEXT NOT NULL, device TEXT, made_ms INTEGER NOT NULL,
                bytes INTEGER NOT NULL, is_ledger INTEGER NOT NULL, payload BLOB NOT NULL, priority INTEGER NOT NULL);"""
        )
    ended = started(tmp_path, "millrace_gateway", "run")
    assert ended.returncode == 2, ended.stderr
    assert "table outbox_message has no column created_ms; start the program that wrote it, or move the file away" in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout


def test_a_replay_refuses_a_store_of_an_older_form(tmp_path: Path) -> None:
    path = tmp_path / "replay.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 0x4D4C5243")
        connection.execute("CREATE TABLE sample (device TEXT NOT NULL, ts_ms INTEGER NOT NULL, state)")
    ended = started(tmp_path, "millrace_oee", "replay", "--store", str(path), os.devnull)
    assert ended.returncode == 2, ended.stderr
    assert f"{path}: this is not the store of oee as version 1 of it is: table sample has no column total" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_commands_of_ingest_refuse_a_newer_store(tmp_path: Path) -> None:
    _newer(tmp_path / "ingest.sqlite")
    ended = started(tmp_path, "millrace_ingest", "dead-letters", "list")
    assert ended.returncode == 2, ended.stderr
    assert "is of version 99, this program knows versions up to 2" in ended.stderr
