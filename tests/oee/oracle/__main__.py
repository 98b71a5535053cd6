"""`python -m tests.oee.oracle FIRST LAST [KIND...]`: days by seed, each held against `replay`. Prints what differs, and counts."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

import millrace_oee.__main__ as oee

from .compare import compare
from .scenarios import KINDS, Day


def main(first: int, last: int, kinds: list[str]) -> int:
    counts: Counter[str] = Counter()
    for kind in kinds or KINDS:
        for seed in range(first, last):
            with tempfile.TemporaryDirectory() as made, contextlib.redirect_stdout(io.StringIO()) as said:
                folder = Path(made)
                Day(seed, kind).write(folder)
                status = oee.main(["replay", "--config", made, "--now", "2025-12-20T00:00:00Z", str(folder / "events.jsonl")])
                found = compare([json.loads(line) for line in said.getvalue().splitlines()], folder)
            counts.update(
                {kind: 1, "documents": found.documents, "fields": found.fields, "differ": bool(found.differences or status)}
            )
            for difference in found.differences[:3]:
                print(kind, seed, *difference)
    print(dict(counts))
    return 1 if counts["differ"] else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
