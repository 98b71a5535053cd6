"""What code cites of the documents exists (`contracts.md 2.4`), and what CONTRIBUTING names of the code."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repo.trees import tree

ROOT = Path(__file__).resolve().parents[2]
NUMBER = r"[AB]?\d+(?:\.\d+)*"
CITATION = re.compile(rf"\b(contracts|oee|alerts)\.md ({NUMBER}(?:(?:, | and | to ){NUMBER})*)")
CITED_WITHOUT_ITS_PAGE = re.compile(r"\bdesign \d|\b(?:facts|measured|style|peers)\.md|\((?:[AB]\d+)(?:, [AB]\d+)*\)")
"""Pages that this repository does not ship, and sections without the page that holds them."""

OWN_SECTIONS = {"docs/contracts.md", "docs/oee.md", "docs/alerts.md", "tests/repo/test_references.py"}
"""Files that may name a section alone: the pages themselves, and this one."""


def _texts() -> Iterator[tuple[str, str]]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in listed:
        path = ROOT / name
        if path.suffix in {".py", ".json", ".yml", ".yaml", ".md", ".js", ".html", ".css", ".sh"} and path.exists():
            yield name, path.read_text(encoding="utf-8")


def _sections(page: str) -> set[str]:
    """The numbers of a page's headings, and of the items of numbered lists below them: 2.4, 2.4.3."""
    found: set[str] = set()
    heading = ""
    for line in (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines():
        if match := re.match(rf"#+ ({NUMBER}) ", line):
            heading = match[1]
            found.add(heading)
        elif (match := re.match(r"(\d+)\. ", line)) and heading:
            found.add(f"{heading}.{match[1]}")
    return found


@pytest.mark.parametrize("page", ["contracts.md", "oee.md", "alerts.md"])
def test_every_section_that_is_cited_exists(page: str) -> None:
    sections = _sections(page)
    missing = [
        f"{name}: {page} {number}"
        for name, text in _texts()
        for cited in CITATION.finditer(text)
        if f"{cited[1]}.md" == page
        for number in re.findall(NUMBER, cited[2])
        if number not in sections
    ]
    assert not missing, f"docs/{page} has no such section: {missing}"


def test_nothing_is_cited_that_the_repository_does_not_ship() -> None:
    wrong = [
        f"{name}: {match[0]}"
        for name, text in _texts()
        if name not in OWN_SECTIONS
        for match in CITED_WITHOUT_ITS_PAGE.finditer(text)
    ]
    assert not wrong, f"cite docs/contracts.md, docs/oee.md or docs/alerts.md by name and section: {wrong}"


NAMED_IN_CODE = re.compile(r"`(\w+)/([\w/]+)\.py: ([\w.]+)`")


def _defined(module: Path) -> set[str]:
    """Functions, classes, their methods and constants of a module: `read_plan`, `Outbox.append`."""
    found: set[str] = set()
    for node in tree(module).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            inside = node.body if isinstance(node, ast.ClassDef) else []
            found |= {f"{node.name}.{each.name}" for each in inside if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def test_the_code_has_what_contributing_names() -> None:
    named = NAMED_IN_CODE.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert len(named) > 20
    for package, path, name in named:
        module = ROOT / "services" / package / "src" / f"millrace_{package}" / f"{path}.py"
        assert module.exists(), f"CONTRIBUTING.md: there is no {package}/{path}.py"
        assert name in _defined(module), f"CONTRIBUTING.md: {package}/{path}.py has no {name}"
