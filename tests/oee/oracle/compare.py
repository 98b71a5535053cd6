"""Documents as `replay` printed them against those of the oracle, field by field."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .reckon import Key, reckon

NOT_RECKONED = {"versions", "stream", "seq", "prev", "revision", "cause", "products", "order", "running"}


@dataclass
class Comparison:
    fields: int
    documents: int
    differences: list[tuple[Key, str, Any, Any]]


def compare(printed: list[dict[str, Any]], folder: Path) -> Comparison:
    ours = reckon(folder)
    theirs: dict[Key, dict[str, Any]] = {}
    for said in printed:
        if "device_id" in said and said["window"]["kind"] != "order":
            theirs[said["device_id"], said["window"]["kind"], said["window"]["id"]] = said
    differences: list[tuple[Key, str, Any, Any]] = [
        (key, "", key in theirs, key in ours) for key in sorted(set(ours) ^ set(theirs))
    ]
    fields = 0
    for key in sorted(set(ours) & set(theirs)):
        for name in sorted((set(theirs[key]) | set(ours[key])) - NOT_RECKONED):
            fields += 1
            a, b = theirs[key].get(name), ours[key].get(name)
            if a != b:
                differences.append((key, name, a, b))
    return Comparison(fields, len(theirs), differences)
