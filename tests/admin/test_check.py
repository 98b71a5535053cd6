from __future__ import annotations

import json
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


def test_a_broken_plant_file_says_which_files_wait_for_it(
    sample_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config"
    shutil.copytree(sample_config, config)
    plant = config / "plant.yaml"
    plant.write_text(plant.read_text().replace("profile: demo-cnc", "profile: demo-cmc", 1))
    assert main(["check", "--config", str(config)]) == 1
    printed = capsys.readouterr().out
    assert "demo-cmc" in printed
    assert "calendar.yaml: not checked yet" in printed


def test_a_folder_without_a_plant_is_answered_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--config", str(tmp_path / "nowhere")]) == 1
    assert "plant.yaml: is missing" in capsys.readouterr().out


def test_a_wrong_environment_is_a_usage_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MILLRACE_GRAFANA_PORT", "many")
    assert main(["check"]) == 2
    assert "MILLRACE_GRAFANA_PORT" in capsys.readouterr().err
