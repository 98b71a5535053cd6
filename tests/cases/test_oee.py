"""`millrace-oee replay` of each case: plant.yaml, calendar.yaml, profiles/ and events.jsonl in, expected.jsonl out.

A file `arguments` holds more of the command line, `complains` what is said of messages that were ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import millrace_oee.__main__ as oee


def test_the_windows_of_a_recorded_day(case: Path, expect: Callable[[Path, str], None], capsys: pytest.CaptureFixture[str]) -> None:
    more = case / "arguments"
    arguments = more.read_text(encoding="utf-8").split() if more.exists() else []
    assert oee.main(["replay", "--config", str(case), "--now", "2025-11-01T00:00:00Z", *arguments, str(case / "events.jsonl")]) == 0
    said = capsys.readouterr()
    complains = case / "complains"
    assert said.err.replace(f"{case}/", "") == (complains.read_text(encoding="utf-8") if complains.exists() else ""), (
        "a message that is ignored shows nothing, unless the file `complains` says so"
    )
    expect(case / "expected.jsonl", said.out)
