"""A command line of ours that a document shows is one that the command knows: its words, its options."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    path
    for pattern in ("*.md", "docs/**/*.md", "services/*/README.md", "grafana/*.md", "benchmarks/*.md")
    for path in sorted(ROOT.glob(pattern))
]
COMMANDS = {each.name: each for each in entry_points(group="console_scripts") if each.value.startswith("millrace_")}
CODE = re.compile(r"`[^`\n]+`|^```.*?^```", re.MULTILINE | re.DOTALL)
LINE = re.compile(r"(?<![\w/.:=-])(?:\.venv/bin/)?(millrace(?:-[a-z]+)?)((?: +(?:\"[^\"`\n]*\"|[\w./,:<{=}*-]+))+)")
NUMBERS = {"ID": "1"}
"""What stands for a number in a document."""

Line = tuple[str, tuple[str, ...], tuple[str, ...]]


def shown_lines() -> dict[Line, str]:
    """(command, words before its first option, options) -> the document that shows it."""
    found: dict[Line, str] = {}
    for path in DOCUMENTS:
        for code in CODE.findall(path.read_text(encoding="utf-8")):
            for name, rest in LINE.findall(code):
                before_options = re.split(r" -", rest)[0].split()
                options = re.findall(r"(?<=\s)--[a-z][a-z-]*", rest)
                if name in COMMANDS:
                    words = tuple(NUMBERS.get(word, word) for word in before_options)
                    found[(name, words, tuple(options))] = path.relative_to(ROOT).as_posix()
    return found


@cache
def help_of(name: str, words: tuple[str, ...]) -> str:
    """What the command prints when these words are followed by --help; words that it does not know come before that."""
    printed = io.StringIO()
    argv, sys.argv = sys.argv, [name, *words, "--help"]
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), pytest.raises(SystemExit) as end:
            COMMANDS[name].load()()
    finally:
        sys.argv = argv
    assert not end.value.code, printed.getvalue()
    return printed.getvalue()


SHOWN = shown_lines()


def test_documents_show_every_command() -> None:
    assert {name for name, _, _ in SHOWN} == set(COMMANDS)


@pytest.mark.parametrize("line", SHOWN, ids=lambda line: " ".join([line[0], *line[1], *line[2]]))
def test_a_line_that_is_shown_is_understood(line: Line) -> None:
    name, words, options = line
    unknown = [option for option in options if not re.search(rf"{option}\b", help_of(name, words))]
    assert not unknown, f"{SHOWN[line]}: {' '.join([name, *words])} has no option {unknown}"


def test_an_unknown_word_is_noticed() -> None:
    with pytest.raises(AssertionError, match="invalid choice"):
        help_of("millrace-oee", ("recalculate",))
