"""Every field of every document of days made at random, held against a second reckoning that shares nothing with the engine.

Thousands of days by hand: `nice python -m tests.oee.oracle 0 1000`, with the kinds as further arguments.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import millrace_oee.__main__ as oee

from .oracle.compare import compare
from .oracle.scenarios import KINDS, Day

SEEDS = range(4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_day_made_at_random_is_told_as_an_independent_reckoning_has_it(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in SEEDS:
        folder = tmp_path / str(seed)
        folder.mkdir()
        Day(seed, kind).write(folder)
        assert oee.main(["replay", "--config", str(folder), "--now", "2025-12-20T00:00:00Z", str(folder / "events.jsonl")]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        found = compare([json.loads(line) for line in said.out.splitlines()], folder)
        assert found.fields > 20, "a day without documents shows nothing"
        assert found.differences == [], f"{kind} {seed}: what differs, as replay says it and as the oracle does"
