"""Writes the boards, or with --check says which committed one differs from its code."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import health, line, losses, machine, overview, stops, year
from .panels import render

DASHBOARDS = Path(__file__).resolve().parent.parent / "dashboards"
BOARDS = {
    "plant-overview.json": overview.board,
    "line.json": line.board,
    "machine.json": machine.board,
    "data-health.json": health.board,
    "long-term.json": year.board,
    "losses.json": losses.board,
    "stops.json": stops.board,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="boards", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a committed board differs")
    check = parser.parse_args().check
    stale = [path for path in DASHBOARDS.glob("*.json") if path.name not in BOARDS]
    for name, board in BOARDS.items():
        path, text = DASHBOARDS / name, render(board())
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path)
        if not check:
            path.write_text(text, encoding="utf-8")
    for path in stale:
        known = path.name in BOARDS
        words = ("differs from its code" if check else "written") if known else "has no code: delete it, or write its board"
        print(f"{path.name}: {words}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
