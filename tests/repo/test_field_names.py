"""How fields are called in the database is spelled in one module; the others ask it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.repo.trees import nodes

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "services/contract/src/millrace_contract/language/field_names.py"
# Names with something in front, like `leaf_text`, are fields of their own, listed in points.py.
SPELLED = re.compile(r"(?<![A-Za-z0-9])_(text|quality|hold_ms|stream|seq|prev|empty)(?![A-Za-z0-9_])")


def _literals(module: Path) -> Iterator[tuple[int, str]]:
    prose = {id(node.value) for node in nodes(module) if isinstance(node, ast.Expr)}
    for node in nodes(module):
        if isinstance(node, ast.Constant) and id(node) not in prose and isinstance(node.value, str | bytes):
            yield node.lineno, node.value if isinstance(node.value, str) else node.value.decode(errors="replace")


def test_suffixes_and_fields_of_stored_messages_are_spelled_in_one_module() -> None:
    modules = [*ROOT.glob("services/*/src/**/*.py"), *ROOT.glob("grafana/boards/*.py"), *ROOT.glob("chaos/*.py")]
    wrong = [
        f"{module.relative_to(ROOT)}:{line} spells {text[:40]!r}"
        for module in sorted(modules)
        if module != HOME and SPELLED.search(module.read_text(encoding="utf-8"))
        for line, text in _literals(module)
        if SPELLED.search(text)
    ]
    assert not wrong, f"ask {HOME.name}, or let stored_points.py read: {wrong}"
