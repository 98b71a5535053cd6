from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from millrace_admin.__main__ import main


def test_the_sample_plant_has_no_problems(sample_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(sample_config)]) == 0
    assert "no problems; 2 lines" in capsys.readouterr().out


def test_problems_of_all_files_come_in_one_report(sample_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config"
    shutil.copytree(sample_config, config)
    (config / "reasons.yaml").write_text("reasons: {jam: {title: Jam, leaf: no_such_leaf}}\n")
    (config / "calendar.yaml").write_text("shifts: {early: {start: '25:00', end: '14:00', days: [mon]}}\n")
    assert main(["check", "--config", str(config), "--json"]) == 1
    problems = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {problem["file"] for problem in problems} == {"reasons.yaml", "calendar.yaml"}
    assert all(problem["line"] == 1 and problem["key"] and problem["message"] for problem in problems)


def test_beside_a_broken_plant_file_the_others_are_checked_as_far_as_they_go_alone(
    sample_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config"
    shutil.copytree(sample_config, config)
    for name, old, new in [
        ("plant.yaml", "profile: demo-cnc", "profile: demo-cmc"),
        ("calendar.yaml", "start:", "strt:"),
        ("alerts.yaml", "above: 85", "abov: 85"),
    ]:
        (config / name).write_text((config / name).read_text().replace(old, new, 1))
    assert main(["check", "--config", str(config)]) == 1
    printed = capsys.readouterr().out
    assert "demo-cmc" in printed
    assert "strt: is not a key here (did you mean start?)" in printed
    assert "abov: is not a key here (did you mean above?)" in printed
    assert "calendar.yaml: what it says of lines, devices and profiles is checked once plant.yaml is right" in printed


def test_a_plant_of_own_machines_keeps_the_rules_of_the_sample(
    sample_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config"
    shutil.copytree(sample_config, config)
    (config / "plant.yaml").write_text(
        "root: factory\ntime_zone: Europe/Berlin\nlines: {line1: {title: Presses, devices: {PRESS-07: {profile: demo-press, "
        "title: Press, connection: {transport: tcp, host: 10.20.0.17}}}}}\n"
    )
    (config / "products.yaml").unlink()  # It names machines of the sample.
    assert main(["check", "--config", str(config)]) == 0
    printed = capsys.readouterr().out
    assert "no problems; 1 lines, 1 devices" in printed
    [waiting] = [line for line in printed.splitlines() if line.startswith("no device matches")]
    assert "spindle-hot" in waiting
    assert "press-overload" not in waiting


def test_what_is_no_file_is_named_and_not_waited_for(
    sample_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config"
    shutil.copytree(sample_config, config)
    os.mkfifo(config / "profiles" / "pipe.yaml")
    (config / "profiles" / "folder.yaml").mkdir()
    assert main(["check", "--config", str(config)]) == 1
    printed = capsys.readouterr().out
    assert "profiles/pipe.yaml: is not a file" in printed
    assert "profiles/folder.yaml: is not a file" in printed


def test_a_folder_without_a_plant_is_answered_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(tmp_path / "nowhere")]) == 1
    assert "plant.yaml: is missing" in capsys.readouterr().out


def test_a_wrong_environment_is_a_usage_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MILLRACE_GRAFANA_PORT", "many")
    assert main(["check"]) == 2
    assert "MILLRACE_GRAFANA_PORT" in capsys.readouterr().err
