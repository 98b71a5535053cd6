"""Every shell script of the repository is one that shellcheck has nothing to say about."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[2]


def test_shellcheck_finds_nothing_in_any_shell_script(texts: dict[Path, str]) -> None:
    scripts = [str(path) for path, text in texts.items() if re.match(r"#!/(usr/bin/env bash|bin/(ba)?sh)\b", text)]
    assert "scripts/demo" in scripts
    if shutil.which("shellcheck") is None:
        message = "shellcheck is not on this machine: install it from the system's packages"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    checked = subprocess.run(["shellcheck", *scripts], cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


PYTHON = """#!/bin/sh
case "$*" in
    *version_info*) exit {is_old} ;;
    -V) echo "Python 3.9.2" ;;
    *ensurepip*) exit {lacks_ensurepip} ;;
    "-m venv"*) echo "$*" >> asked; mkdir -p .venv/bin; cp "$0" .venv/bin/python; cp "$0" .venv/bin/pip ;;
    *dev.txt*) echo "$*" >> asked; exit {pip} ;;
esac
"""
"""An interpreter, and the pip of the environments that it makes."""


class Clone:
    """A clone with scripts/setup and an interpreter of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "scripts").mkdir()
        shutil.copy(ROOT / "scripts" / "setup", folder / "scripts" / "setup")
        (folder / "services" / "one").mkdir(parents=True)

    def set_up(self, *arguments: str, is_old: int = 0, lacks_ensurepip: int = 0, pip: int = 0) -> subprocess.CompletedProcess[str]:
        python = self.folder / "python"
        python.write_text(PYTHON.format(is_old=is_old, lacks_ensurepip=lacks_ensurepip, pip=pip))
        python.chmod(0o755)
        (self.folder / "asked").write_text("")
        command: list[str | Path] = [self.folder / "scripts" / "setup", *arguments, python]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)

    @property
    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


def test_setup_says_which_python_it_needs_and_how_to_name_another(clone: Clone) -> None:
    said = clone.set_up("--look", is_old=1)
    assert said.returncode == 1
    assert "Python 3.11 or newer is needed" in said.stderr
    assert "is Python 3.9.2. Name another: make setup PYTHON=" in said.stderr


def test_setup_says_what_to_install_where_python_lacks_ensurepip(clone: Clone) -> None:
    said = clone.set_up("--look", lacks_ensurepip=1)
    assert said.returncode == 1
    assert "it lacks ensurepip. On Debian and Ubuntu: sudo apt-get install python3-venv" in said.stderr
    assert clone.set_up("--look").returncode == 0
    assert clone.asked == [], "it only looked"


def test_a_setup_that_was_broken_off_begins_with_a_new_environment(clone: Clone) -> None:
    assert clone.set_up(pip=1).returncode == 1
    assert not (clone.folder / ".venv/bin/.ready").exists()
    assert clone.set_up().returncode == 0
    assert clone.asked[0] == "-m venv --clear .venv", "what is half in it is not trusted"
    assert (clone.folder / ".venv/bin/.ready").exists()
    assert clone.set_up().returncode == 0
    assert not any("venv --clear" in each for each in clone.asked), "a whole one is kept"
