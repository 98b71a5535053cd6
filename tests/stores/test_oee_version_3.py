"""A store of oee from before revisions were kept: it goes on, and says of the earlier ones that it does not know.

`oee-version-3.tar.xz` is what a replay of the golden case about scrap left that was killed before the lab changed its mind.
"""

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

import millrace_oee.__main__ as oee

CASE = Path(__file__).parents[1] / "cases" / "oee" / "scrap-that-is-found-later-lowers-the-hours-that-made-it"
NOW = "2025-11-01T00:00:00Z"


def test_it_is_migrated_goes_on_and_keeps_revisions_from_then_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tarfile.open(Path(__file__).parent / "fixtures" / "oee-version-3.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    path = tmp_path / "oee.db"
    whole = ["replay", "--config", str(CASE), "--now", NOW, str(CASE / "events.jsonl"), "--store"]
    assert oee.main([*whole, str(path)]) == 0
    assert (tmp_path / "oee.db.copy-of-version-3").exists()
    told = capsys.readouterr().out
    assert oee.main([*whole, str(tmp_path / "whole.db")]) == 0
    assert told == capsys.readouterr().out, "the last revisions are those of a replay that nobody interrupted"
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT revision, message IS NULL, basis IS NULL FROM revision WHERE kind = 'hour' AND scope = 'CNC-01' "
            "ORDER BY id, revision"
        ).fetchall()
    # Of the first hour revision 2 was told by the old program; of the second revision 1, and the case ends with revision 4.
    assert rows[:2] == [(2, 0, 1), (3, 0, 0)]
    assert rows[-1][1:] == (1, 0)
