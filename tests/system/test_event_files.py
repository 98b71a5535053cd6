"""One file, two replays: what is wrong with it is told by both in the same words, and both go on behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import millrace_alerts.__main__ as alerts
import millrace_oee.__main__ as oee

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "tests/cases/event_files"
CASES = sorted(FOLDER.glob("*.jsonl"))


@pytest.mark.parametrize("main", [oee.main, alerts.main], ids=["oee", "alerts"])
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_both_replays_say_the_same_of_a_file(
    path: Path, main: Callable[[Sequence[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["replay", "--config", str(FOLDER / "plant"), str(path)])
    said = capsys.readouterr().err
    assert said.replace(f"{path}: ", "") == path.with_suffix(".words").read_text()
    assert status == ("lines left out" in said)


@pytest.mark.parametrize("main", [oee.main, alerts.main], ids=["oee", "alerts"])
def test_both_replays_refuse_a_file_that_is_not_there(
    main: Callable[[Sequence[str]], int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "none.jsonl"
    assert main(["replay", "--config", str(FOLDER / "plant"), str(path)]) == 2
    assert capsys.readouterr().err == f"{path}: cannot be read: No such file or directory\nnothing started\n"
