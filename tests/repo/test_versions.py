"""Every command says its version, and every service says its own in its status."""

import re
import sys
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [point for point in entry_points(group="console_scripts") if point.name.startswith("millrace")]


def test_all_commands_are_here() -> None:
    wanted = {"millrace", "millrace-gateway", "millrace-ingest", "millrace-oee", "millrace-alerts", "millrace-sim"}
    assert {command.name for command in COMMANDS} >= wanted


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_says_its_version(
    command: EntryPoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.dist is not None
    monkeypatch.setattr(sys, "argv", [command.name, "--version"])
    with pytest.raises(SystemExit) as ended:
        command.load()()
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{command.name} {version(command.dist.name)}\n"


def test_every_status_carries_the_version_of_its_own_package() -> None:
    statuses = [
        (module.relative_to(ROOT).parts[1], call)
        for module in ROOT.glob("services/*/src/**/service.py")
        for call in re.findall(r"Status\(service=SERVICE,[^\n]*alive=True[^\n]*", module.read_text(encoding="utf-8"))
    ]
    assert {service for service, _ in statuses} == {"gateway", "ingest", "oee", "alerts"}
    wrong = [(service, call) for service, call in statuses if f'version=version("millrace-{service}")' not in call]
    assert not wrong
