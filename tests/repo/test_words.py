"""No module spells a closed set of words again: whoever needs the words takes them from the contract's words.py."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path

import pytest

from millrace_contract.language import words
from tests.repo.trees import nodes

REPOSITORY = Path(__file__).resolve().parents[2]
SETS = {
    each: frozenset(each)
    for each in vars(words).values()
    if isinstance(each, type) and issubclass(each, StrEnum) and each is not StrEnum
}
MODULES = sorted(
    path
    for folder in ("services", "grafana/boards", "benchmarks", "chaos", "deploy")
    for path in (REPOSITORY / folder).rglob("*.py")
    if path.name != "words.py" and "/build/" not in str(path)
)
ENOUGH = 3
"""So many words of one set side by side are the set, or a part of it that wants a name beside it."""
NOT_THE_SET = {
    # "reason" and "order" are keys and columns of other things, too.
    words.ContextKind,
    words.RevisionCause,
}


def _texts(node: ast.AST) -> list[str]:
    """What stands side by side in a collection, in the keys of a dict, in a Literal, or as values of a class."""
    match node:
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts) | ast.Dict(keys=parts):
            found: list[ast.expr | None] = list(parts)
        case ast.ClassDef(body=body):
            found = [line.value for line in body if isinstance(line, ast.Assign)]
        case _:
            return []
    return [each.value for each in found if isinstance(each, ast.Constant) and isinstance(each.value, str)]


def _spelled(found: Iterable[ast.AST]) -> Iterator[tuple[int, type[StrEnum], set[str]]]:
    for node in found:
        told = set(_texts(node))
        if isinstance(node, ast.Constant) and isinstance(node.value, str):  # SQL, InfluxQL, regular expressions
            told = set(re.findall(r"'(\w+)'", node.value)) if " IN " in node.value else set(re.split(r"[|()^$]+", node.value))
        told -= {""}
        for known, all_words in SETS.items() if len(told) > 1 else ():
            if known not in NOT_THE_SET and len(told) >= min(ENOUGH, len(all_words)) and told <= all_words:
                yield getattr(node, "lineno", 0), known, told


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_module_takes_its_words_from_the_contract(path: Path) -> None:
    for line, known, told in _spelled(nodes(path)):
        pytest.fail(f"{path.relative_to(REPOSITORY)}:{line} spells {sorted(told)}; take {known.__name__} of words.py")


@pytest.mark.parametrize(
    "code",
    [
        'OPEN = frozenset({"UNACK", "ACKED", "RTNUN"})',
        'Priority = Literal["critical", "high", "medium", "low"]',
        'LOOKS = {"execute": 1, "held": 2, "stopped": 3}',
        'class State(StrEnum):\n    EXECUTE = "execute"\n    HELD = "held"\n    IDLE = "idle"',
        'pattern = "^(low|medium|high|critical)$"',
        "sql = \"SELECT 1 FROM alert WHERE state IN ('UNACK', 'ACKED', 'RTNUN')\"",
    ],
)
def test_the_guard_finds_a_set_in_whatever_form_it_is_spelled(code: str) -> None:
    assert list(_spelled(ast.walk(ast.parse(code))))
