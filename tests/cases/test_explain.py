"""`millrace-oee explain` of cases of oee/: explain.txt holds the explanation in words, `explain` the command line that asks for it.

explain-since: what changed since a revision.

And what nobody wrote down: every window that a case tells is explained to the last millisecond and part.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import millrace_oee.__main__ as oee
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.words import WindowKind
from millrace_contract.runtime.recording import Recording
from millrace_oee.calendar import TimeWindow
from millrace_oee.explain_line import LineExplanation, explain_line
from millrace_oee.explain_source import against, explained_window
from millrace_oee.explained import Explanation
from millrace_oee.plan import load_plan
from millrace_oee.replay import OeeReplay
from millrace_oee.store import connect_in_memory

SHORT = {WindowKind.SHIFT, WindowKind.HOUR, WindowKind.OFF_SHIFT, WindowKind.DAY, WindowKind.ORDER}
"""What is longer is a sum of days."""
NOW = "2025-11-01T00:00:00Z"
CASES = sorted(path for path in (Path(__file__).parent / "oee").iterdir() if path.is_dir())
IN_WORDS = [path for path in CASES if (path / "explain").exists()]
REVISED = [path for path in CASES if (path / "explain-since").exists()]


@pytest.mark.parametrize("told", IN_WORDS, ids=lambda path: path.name)
def test_a_window_is_explained_in_words(
    told: Path, expect: Callable[[Path, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (told / "explain").read_text(encoding="utf-8").split()
    assert oee.main(["explain", "--config", str(told), "--now", NOW, "--file", str(told / "events.jsonl"), *asked]) == 0
    expect(told / "explain.txt", capsys.readouterr().out)


@pytest.mark.parametrize("told", REVISED, ids=lambda path: path.name)
def test_what_changed_since_a_revision_is_said(
    told: Path, expect: Callable[[Path, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """explain-since holds the end of the command line, explain-since.txt what is said of the change."""
    asked = (told / "explain-since").read_text(encoding="utf-8").split()
    assert oee.main(["explain", "--config", str(told), "--now", NOW, "--file", str(told / "events.jsonl"), *asked]) == 0
    expect(told / "explain-since.txt", capsys.readouterr().out.partition("\n\nWhat changed")[2])


@pytest.mark.parametrize("told", CASES, ids=lambda path: path.name)
def test_every_window_is_explained_to_the_last_part(told: Path) -> None:
    plan = load_plan(told)
    replay = OeeReplay(plan, connect_in_memory(), parse_timestamp(NOW), by_arrival=False)
    replay.run(Recording(told / "events.jsonl"))
    documents = [each for each in replay.documents() if each.window.kind in SHORT]
    found: dict[TimeWindow, dict[str, Explanation]] = {}
    for document in sorted(documents, key=lambda each: each.device_id is msgspec.UNSET):  # lines last
        window, machines = window_of(document), found.setdefault(window_of(document), {})
        explained: Explanation | LineExplanation
        if isinstance(document.device_id, str):
            track, results, as_of_ms = replay.track_for(document.device_id, window)
            explained = against(explained_window(plan, track, results, window, as_of_ms), document)
            machines[document.device_id] = explained
        else:
            told_ms = parse_timestamp(document.timestamp)
            explained = explain_line(plan, document.line, window, told_ms, machines=machines, published=document)
        assert [check for check in explained.checks if not check.agrees] == [], document.window.id
    assert found or not list(replay.documents())


def window_of(document: OeeDocument) -> TimeWindow:
    told = document.window
    return TimeWindow(parse_timestamp(told.start), parse_timestamp(told.end), told.kind, told.id)
