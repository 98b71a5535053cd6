"""Every shell script of the repository is one that shellcheck has nothing to say about."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_shellcheck_finds_nothing_in_any_shell_script(texts: dict[Path, str]) -> None:
    scripts = [str(path) for path, text in texts.items() if re.match(r"#!/(usr/bin/env bash|bin/(ba)?sh)\b", text)]
    assert "scripts/demo" in scripts
    if shutil.which("shellcheck") is None:
        message = "shellcheck is not on this machine: install it from the system's packages"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    checked = subprocess.run(["shellcheck", *scripts], cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
