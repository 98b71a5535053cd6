"""`millrace-alerts replay --json` of each case: plant.yaml, profiles/, alerts.yaml and events.jsonl in, expected.jsonl out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import millrace_alerts.__main__ as alerts


def test_the_alert_events_of_a_recorded_day(
    case: Path, expect: Callable[[Path, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert alerts.main(["replay", "--config", str(case), "--json", str(case / "events.jsonl")]) == 0
    said = capsys.readouterr()
    assert said.err == "", "a message that is ignored shows nothing"
    expect(case / "expected.jsonl", said.out)
