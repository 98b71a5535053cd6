"""What scripts/doctor saw outside of the containers, as text with sections: `=== NAME`, then its lines. Pure.

sections: `services` (what compose would run, a name a line), `containers` (a JSON object a line), `disk SERVICE` (df -Pk),
`logs SERVICE` (the last lines).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from millrace_contract.language.times import from_datetime

from .evidence import DiskFacts, Evidence, ProcessFacts
from .processes import MISSING

ONCE = frozenset({"bootstrap", "bootstrap-influxdb"})
OPTIONAL = frozenset({"simulator"})
_LAST_LINES = 2
_LINE_LIMIT = 300
Sections = Mapping[str, list[str]]


def read_sections(text: str) -> Sections:
    """A line of a log that looks like a heading is indented by who writes the report."""
    sections: dict[str, list[str]] = defaultdict(list)
    name = ""
    for line in text.splitlines():
        if line.startswith("=== "):
            name = line[4:].strip()
            sections[name] = sections[name]
        elif line.strip():
            sections[name].append(line)
    return sections


def with_seen(facts: Evidence, sections: Sections) -> Evidence:
    return replace(facts, processes=processes_of(sections, facts.now_ms), disks=disks_of(sections))


def processes_of(sections: Sections, now_ms: int) -> tuple[ProcessFacts, ...]:
    """One for each service of the compose file."""
    containers = map(json.loads, sections.get("containers", ()))
    there = {str(one["service"]): one for one in containers if one.get("oneoff") != "True"}  # not what `compose run` started
    names = sorted({*sections.get("services", ()), *there})
    return tuple(_process(name, there.get(name), logs_of(sections, name), now_ms) for name in names)


def disks_of(sections: Sections) -> tuple[DiskFacts, ...]:
    found = []
    for name, lines in sections.items():
        kind, _, part = name.partition(" ")
        match lines[-1].split() if kind == "disk" and lines else []:
            case [_, total, _, free, *_] if total.isdigit() and free.isdigit():
                found.append(DiskFacts(part, int(total) * 1024, int(free) * 1024))
            case _:
                pass
    return tuple(found)


def all_logs(sections: Sections) -> dict[str, list[str]]:
    return {
        name.removeprefix("logs "): logs_of(sections, name.removeprefix("logs ")) for name in sections if name.startswith("logs ")
    }


def logs_of(sections: Sections, name: str) -> list[str]:
    return [line.strip() for line in sections.get(f"logs {name}", ())]


def _process(name: str, container: Mapping[str, Any] | None, logs: list[str], now_ms: int) -> ProcessFacts:
    if container is None:
        return ProcessFacts(name, MISSING, is_once=name in ONCE, is_wanted=name not in OPTIONAL)
    state = container["state"]
    health = (state.get("Health") or {}).get("Status", "")
    started_ms = _ms(state.get("StartedAt", ""))
    words = " / ".join(line[:_LINE_LIMIT] for line in logs[-_LAST_LINES:])
    return ProcessFacts(
        name,
        state["Status"],
        health="" if health == "none" else health,
        age_s=None if started_ms is None else max(0.0, (now_ms - started_ms) / 1000),
        restarts=int(container.get("restarts", 0)),
        exit_code=int(state.get("ExitCode", 0)),
        out_of_memory=bool(state.get("OOMKilled")),
        is_once=name in ONCE,
        is_wanted=name not in OPTIONAL,
        last_words=words,
    )


def _ms(text: str) -> int | None:
    """Docker's stamps have nine digits of a second; the year 1 means never."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z", text)
    if match is None or text.startswith("0001"):
        return None
    return from_datetime(datetime.fromisoformat(f"{match[1]}+00:00"))
