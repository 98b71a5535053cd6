"""The command line without servers: what a person sees, and the answers to mistakes."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from millrace_ingest.__main__ import main
from millrace_ingest.dead_letters import DeadLetter
from millrace_ingest.disk import FILE_NAME
from millrace_ingest.local_store import Changes, DiskLimits, LocalStore, open_local_store

pytestmark = pytest.mark.process

Run = Callable[..., int]


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalStore]:
    made, _ = open_local_store(tmp_path / "data", DiskLimits(10**9, 10**9), 0)
    letters = [
        DeadLetter("plant/line1/D-0/telemetry", b"hello", "not_json", "not JSON: hello", 1_760_000_000_000, "D-0"),
        DeadLetter("plant/line1/D-1/telemetry", b'{"a": "\xc3\xa9"}', "schema", "no time", 1_760_000_100_000, "D-1", "edge-1.a", 7),
        DeadLetter("plant/line1/D-1/telemetry", b"\xff\x00", "not_json", "not JSON", 1_760_000_200_000, "D-1"),
    ]  # fmt: skip
    assert made.apply(Changes(letters=letters), 0)
    yield made
    made.close()


@pytest.fixture
def run(tmp_path: Path, config_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def call(*arguments: str, **environ: str) -> int:
        monkeypatch.setattr("sys.argv", ["millrace-ingest", *arguments])
        for name, value in {"CONFIG": str(config_dir), "DATA": str(tmp_path / "data"), **environ}.items():
            monkeypatch.setenv(f"MILLRACE_{name}", value)
        return main()

    return call


def test_list_shows_the_newest_first(run: Run, local: LocalStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("dead-letters", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["id", "last", "came", "times", "device", "code", "reason"]
    assert [line.split()[0] for line in lines[2:5]] == ["3", "2", "1"]
    assert "no time" in lines[3]
    assert lines[5].startswith("3 shown of 3")


def test_list_filters_and_prints_json(run: Run, local: LocalStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("dead-letters", "list", "--json", "--device", "D-1", "--reason", "schema") == 0
    [one] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (one["id"], one["stream"], one["seq"], one["last"]) == (2, "edge-1.a", 7, "2025-10-09T08:55:00.000Z")
    run("dead-letters", "list", "--json", "--since", "2025-10-09T10:56:00+02:00")
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == [3]


def test_show_prints_any_payload(run: Run, local: LocalStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("dead-letters", "show", "2", "--json") == 0
    assert json.loads(capsys.readouterr().out)["payload"] == '{"a": "é"}'
    assert run("dead-letters", "show", "3", "--json") == 0
    assert json.loads(capsys.readouterr().out)["payload_base64"] == "/wA="
    assert run("dead-letters", "show", "3") == 0
    assert "\\xff" in capsys.readouterr().out
    assert run("dead-letters", "show", "99") == 1


def test_replay_without_a_running_service_waits_and_says_so(
    run: Run, local: LocalStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("dead-letters", "replay", "--device", "D-1", "--wait", "0") == 1
    assert "2 selected, 0 stored, 0 parked again, 2 waiting" in capsys.readouterr().out
    assert [one.id for one in local.dead_letters.to_replay(10, 10**9)] == [2, 3]


def test_replay_of_everything_must_be_said(run: Run, local: LocalStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("dead-letters", "replay") == 2
    assert "--all" in capsys.readouterr().out
    assert local.dead_letters.to_replay(10, 10**9) == []


def test_a_wrong_age_is_answered_with_the_forms_allowed(run: Run, local: LocalStore, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("dead-letters", "list", "--since", "yesterday")
    assert ended.value.code == 2
    assert "30m, 2h or 3d" in capsys.readouterr().err


def test_a_folder_without_data_is_named(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("dead-letters", "list") == 2
    assert "MILLRACE_DATA" in capsys.readouterr().err


def test_a_wrong_setting_is_answered_with_its_variable(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run", INGEST_BATCH_LINES="many", MQTT_PORT="0") == 2
    answer = capsys.readouterr().err
    assert "MILLRACE_INGEST_BATCH_LINES" in answer
    assert "MILLRACE_MQTT_PORT" in answer


def test_a_broken_plant_refuses_the_first_start(run: Run, config_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config_dir / "plant.yaml").write_text("root: plant\ntime_zone: Mars\nlines: {}\n")
    assert run("run") == 2
    assert "plant.yaml:2" in capsys.readouterr().err


def test_a_second_service_on_one_folder_is_refused(run: Run, local: LocalStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run") == 2
    assert "in use by another process" in capsys.readouterr().err


def test_a_port_in_use_is_named(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert run("run", HTTP_PORT=port) == 2
    assert port in capsys.readouterr().err


def test_a_data_folder_that_cannot_be_written_is_named(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run("run", DATA=str(tmp_path / "file")) == 2
    assert "MILLRACE_DATA" in capsys.readouterr().err


def test_the_status_without_a_broker_says_so(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", MQTT_PORT="1") == 1
    assert "no answer from 127.0.0.1:1" in capsys.readouterr().out


def test_the_store_has_the_name_that_the_readme_gives(local: LocalStore, tmp_path: Path) -> None:
    assert (tmp_path / "data" / "ingest.sqlite").exists()
    assert FILE_NAME == "ingest.sqlite"
