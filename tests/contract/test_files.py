"""A file that is replaced as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from millrace_contract.runtime.files import replace_file

REPLACES_FOR_EVER = """
import sys
from pathlib import Path
from millrace_contract.runtime.files import replace_file
path = Path(sys.argv[1])
print("begun", flush=True)
for number in range(10**9):
    replace_file(path, str(number).encode() * 20_000, durable=False)
"""


def test_a_file_is_replaced_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "learned.json"
    replace_file(path, b"one")
    replace_file(path, b"two", mode=0o400)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o400
    assert [each.name for each in tmp_path.iterdir()] == ["learned.json"]


def test_what_a_kill_left_half_written_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "learned.json"
    (tmp_path / ".learned.json.new").write_bytes(b"hal")
    replace_file(path, b"whole")
    assert [each.name for each in tmp_path.iterdir()] == ["learned.json"]


def test_a_refusal_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "learned.json"
    replace_file(path, b"old")
    (tmp_path / ".learned.json.new").mkdir()
    with pytest.raises(OSError, match=r"learned\.json\.new"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"


@pytest.mark.process
def test_a_kill_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "number"
    with subprocess.Popen([sys.executable, "-c", REPLACES_FOR_EVER, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while not path.exists():
            os.sched_yield()
        process.kill()
    text = path.read_text()
    number = text[: len(text) // 20_000]
    assert number
    assert text == number * 20_000
