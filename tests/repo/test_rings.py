"""`make test-unit` stays a matter of seconds: what starts a process is in a ring of its own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.repo.trees import tree

TESTS = Path(__file__).resolve().parents[1]
OWN_RINGS = {"process", "broker", "influx", "browser", "stack"}
STARTS = {"sys.executable", "RunningSimulator"}
"""What starts a program or a simulator, as a test that does it spells it."""
SERVERS = {"mosquitto", "hivemq", "shared_hivemq", "influxd", "shared_influxd"}
"""Fixtures that start a server."""


def test_a_test_that_starts_a_process_is_not_a_unit_test() -> None:
    wrong = [f"{path.relative_to(TESTS.parent)}: {name}" for path in TESTS.rglob("test_*.py") for name in _unmarked(path)]
    assert not wrong, f"mark them with pytest.mark.process: {wrong}"


def _unmarked(path: Path) -> Iterator[str]:
    if not any(word in path.read_text(encoding="utf-8") for word in STARTS | SERVERS):
        return
    body = tree(path).body
    for node in body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark" and _is_marked([node.value]):
            return
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            starts = STARTS & {ast.unparse(each) for each in ast.walk(node) if isinstance(each, ast.Attribute | ast.Name)}
            starts |= SERVERS & {argument.arg for argument in node.args.args}
            if starts and not _is_marked(node.decorator_list):
                yield node.name


def _is_marked(marks: list[ast.expr]) -> bool:
    return any(f"pytest.mark.{ring}" in ast.unparse(mark) for ring in OWN_RINGS for mark in marks)


def test_a_client_without_tls_reads_no_authorities() -> None:
    """Which takes more CPU than most tests."""
    asked = re.compile(r"\bhttpx\.(?:Client|get|post|put|delete|request|stream)\((?:[^()]|\([^()]*\))*\)")
    wrong = [
        f"{path.relative_to(TESTS.parent)}: {call[0]}"
        for path in TESTS.rglob("*.py")
        if "httpx" in (text := path.read_text(encoding="utf-8"))
        for call in asked.finditer(text)
        if "verify" not in call[0]
    ]
    assert not wrong, f"give them verify=PLAIN of tests/alerts/conftest.py: {wrong}"
