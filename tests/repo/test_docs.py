"""Documents do not lead nowhere: their links, their make targets, their commands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "services/*/README.md", "grafana/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
)
DECISION_HEADINGS = ["Context", "Decision", "Consequences", "Alternatives considered"]


def _shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _commands(path: Path) -> list[str]:
    """The lines of fenced blocks, without prompt and comment."""
    blocks = re.findall(r"^```(?:sh|bash|console)?\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line.removeprefix("$ ").split(" #")[0].strip() for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("path", DOCUMENTS, ids=_shown)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), f"{_shown(path)}: {target} does not exist"
        if anchor:
            assert anchor in _anchors(file), f"{_shown(path)}: {name or 'this page'} has no heading #{anchor}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=_shown)
def test_commands_exist(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    scripts = {
        name
        for project in ROOT.glob("services/*/pyproject.toml")
        for name in tomllib.loads(project.read_text(encoding="utf-8"))["project"].get("scripts", {})
    }
    for command in _commands(path):
        words = command.split()
        if words[:1] == ["make"]:
            wanted = [word for word in words[1:] if re.fullmatch(r"[a-z][a-z-]*", word)]
            unknown = [word for word in wanted if word not in targets]
            assert not unknown, f"{_shown(path)}: `{command}`: the Makefile has no target {unknown}"
        elif words and re.fullmatch(r"(\.venv/bin/)?millrace(-[a-z]+)?", words[0]):
            name = words[0].rpartition("/")[2]
            assert name in scripts, f"{_shown(path)}: `{command}`: no package installs a command {name}"


@pytest.mark.parametrize("path", sorted(ROOT.glob("docs/decisions/[0-9]*.md")), ids=_shown)
def test_decision_records_have_their_four_parts(path: Path) -> None:
    headings = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == DECISION_HEADINGS, f"{_shown(path)}: headings are {headings}"


def test_every_page_of_the_docs_is_in_their_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    missing = [
        _shown(path)
        for path in ROOT.glob("docs/**/*.md")
        if path.name != "README.md" and path.relative_to(ROOT / "docs").as_posix() not in index
    ]
    assert not missing, f"docs/README.md does not name {missing}"


def test_the_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").count("\n")
    assert lines < 200, f"README.md has {lines} lines; move what is not for the first day to docs/"


def test_the_glossary_has_each_word_once_in_order() -> None:
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    words = [word.strip() for word in ",".join(row for row in rows[1:]).split(",")]
    assert len(words) > 50
    assert words == sorted(set(words), key=str.casefold)


_NAMED_BY_THE_PLACE = {"service", "settings", "metrics"}
"""What every service has under the same name."""


@pytest.mark.parametrize("readme", sorted(ROOT.glob("services/*/README.md")), ids=_shown)
def test_code_map_has_the_modules_that_are_there(readme: Path) -> None:
    code_map = readme.read_text(encoding="utf-8").partition("## Code map")[2]
    (package,) = (path for path in (readme.parent / "src").iterdir() if (path / "__init__.py").exists())
    there = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    named = set(re.findall(r"`(\w+)(?:\.py|/)?`", code_map))
    missing = {name for name in there if not name.startswith("_")} - named - _NAMED_BY_THE_PLACE
    assert not missing, f"{_shown(readme)}: the code map lacks {sorted(missing)}"
    cells = re.findall(r"^\| (`[^|]+`) \|", code_map, re.MULTILINE)
    first = {name for cell in cells for name in re.findall(r"`(\w+)(?:\.py|/)?`", cell)}
    gone = {name for name in first if not list(package.rglob(f"{name}.py")) and not (package / name).is_dir()}
    assert not gone, f"{_shown(readme)}: the code map names {sorted(gone)}"
