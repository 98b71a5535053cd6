"""The repository as a set of files: what git tracks, and what is about to be tracked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def files() -> list[Path]:
    """Every file of the repository that git does not ignore, absolute."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.fixture(scope="session")
def texts(files: list[Path]) -> dict[Path, str]:
    """Path relative to the root -> content of every text file."""
    found = {}
    for path in files:
        content = path.read_bytes()
        if b"\0" not in content:
            found[path.relative_to(ROOT)] = content.decode("utf-8")
    return found
