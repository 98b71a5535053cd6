"""`millrace-oee replay` of each case: plant.yaml, calendar.yaml, profiles/ and events.jsonl in, expected.jsonl out.

A file `arguments` holds more of the command line, `complains` what is said of messages that were ignored. `stood` holds a command
line of `millrace-oee period`, stood.jsonl which machine made which one stand by it.
"""

from __future__ import annotations

import json
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


@pytest.mark.parametrize("told", sorted((Path(__file__).parent / "oee").glob("*/stood")), ids=lambda path: path.parent.name)
def test_which_machine_made_which_one_stand(
    told: Path, expect: Callable[[Path, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    case, asked = told.parent, told.read_text(encoding="utf-8").split()
    assert oee.main(["period", "--config", str(case), "--file", str(case / "events.jsonl"), *asked]) == 0
    said = json.loads(capsys.readouterr().out)
    expect(case / "stood.jsonl", "".join(json.dumps(each) + "\n" for each in (*said["stood"], *said["waits"])))
