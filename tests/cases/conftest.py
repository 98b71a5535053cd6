"""Golden cases: a folder holds what went in and what must come out; its name says what it shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CASES = Path(__file__).parent

Expect = Callable[[Path, str], None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `case` runs once for each folder of its kind: test_oee.py for those of oee/."""
    if "case" in metafunc.fixturenames:
        kind = metafunc.module.__name__.rpartition("test_")[2]
        folders = sorted(path for path in (CASES / kind).iterdir() if path.is_dir())
        assert folders, f"tests/cases/{kind} holds no case"
        metafunc.parametrize("case", folders, ids=lambda path: path.name)


@pytest.fixture
def expect(request: pytest.FixtureRequest) -> Expect:
    """Holds JSON lines, or a text, against those of a file; with `make cases` it writes the file anew instead."""

    def agree(path: Path, said: str) -> None:
        if request.config.getoption("--write-expected"):
            path.write_text(said, encoding="utf-8")
        assert path.exists(), f"{path} is missing: write what must come out by hand, or let `make cases` write what comes out now"
        written = path.read_text(encoding="utf-8")
        if path.suffix == ".txt":
            assert said.splitlines() == written.splitlines()
        else:
            assert _documents(said) == _documents(written)

    return agree


def _documents(lines: str) -> list[Any]:
    return [json.loads(line) for line in lines.splitlines()]
