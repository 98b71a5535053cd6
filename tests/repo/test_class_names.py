"""One word, one meaning: a class name stands for one thing in all services (docs/glossary.md)."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

ONE_OF_ITS_KIND_EACH: set[str] = {"NoSurroundings", "Running", "Store", "Surroundings", "Worker"}
"""The same part of several services: the word means the same in each."""

STILL_TWICE: set[str] = {"Answer", "ApiTokens", "Link"}
"""Names that mean different things in different places. May only shrink: give the second thing a name of its own."""


def _classes() -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for module in ROOT.glob("services/*/src/millrace_*/**/*.py"):
        if "testing" in module.parts:
            continue
        for name in re.findall(r"^ *class ([A-Za-z]\w*)", module.read_text(encoding="utf-8"), re.MULTILINE):
            found[name].add(module.relative_to(ROOT).as_posix())
    return found


def test_a_class_name_stands_for_one_thing() -> None:
    twice = {name: sorted(modules) for name, modules in _classes().items() if len(modules) > 1}
    new = {name: modules for name, modules in twice.items() if name not in ONE_OF_ITS_KIND_EACH | STILL_TWICE}
    assert not new, f"the name is taken; find one that says what yours is: {new}"
    gone = sorted((STILL_TWICE | ONE_OF_ITS_KIND_EACH) - twice.keys())
    assert not gone, f"these stand once by now; take them off the lists: {gone}"
