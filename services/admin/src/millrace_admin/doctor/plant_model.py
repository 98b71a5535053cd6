"""Is plant.yaml right, do all services run on it, and do the boards show its time zone?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from millrace_contract.language.messages import Status
from millrace_contract.language.words import ConfigurationInUse
from millrace_contract.plant.not_taken import edit_not_taken

from .evidence import Evidence
from .finding import Finding, act, fine, mends

SHOWN = 3
FOLLOW = frozenset({"ingest", "rollup"})
"""They take an edit over by themselves, within seconds."""


def findings(facts: Evidence) -> Iterator[Finding]:
    if facts.plant_problems:
        problems = [str(problem) for problem in facts.plant_problems]
        more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        cause = f"the plant model has problems, so what was good before is used: {'; '.join(problems[:SHOWN])}{more}"
        yield act("plant.yaml", cause, f"{facts.commands.admin('check')} lists them all")
    elif facts.plant is not None:
        yield fine("plant.yaml", f"no problems; lines: {len(facts.plant.lines)}, devices: {len(facts.plant.devices)}")
    else:
        return
    older = [
        f"{status.service} {status.instance}"
        for status in facts.all_statuses()
        if status.alive and status.configuration is ConfigurationInUse.LAST_ACCEPTED
    ]
    if older and not facts.plant_problems:
        services = sorted({name.split()[0] for name in older})
        cause = f"{', '.join(older)} {'run' if len(older) > 1 else 'runs'} on the last good files, though those here are good now"
        yield act("plant.yaml", cause, facts.commands.restart(*services))
    yield from _not_taken(facts)
    yield from _time_zone(facts)


def _not_taken(facts: Evidence) -> Iterator[Finding]:
    """Who does not run on the files as they stand."""
    if facts.plant_files is None or facts.plant_problems:
        return
    late = [status for status in facts.all_statuses() if edit_not_taken(status, facts.plant_files)]
    for told, those in (
        (act, [status for status in late if status.service not in FOLLOW]),
        (mends, [status for status in late if status.service in FOLLOW]),
    ):
        if those:
            names = ", ".join(f"{status.service} {status.instance}" for status in those)
            yield told("plant.yaml", f"the last edit of the plant's files is not taken over by {names}", _take_it(facts, those))


def _take_it(facts: Evidence, late: Sequence[Status]) -> str:
    here = sorted({status.service for status in late if facts.is_local(status)})
    ways = [facts.commands.restart(*here)] if here else []
    if any(status.service in FOLLOW for status in late):
        return f"nothing: they follow within seconds; where they do not, {ways[0]}"
    if any(not facts.is_local(status) for status in late):
        ways.append("on the computers of gateways elsewhere: millrace-edge config DIR, with the new files")
    return "; ".join(ways)


def _time_zone(facts: Evidence) -> Iterator[Finding]:
    if facts.plant is None or facts.boards_time_zone is None or facts.boards_time_zone == facts.plant.time_zone:
        return
    cause = f"the boards show {facts.boards_time_zone}, but plant.yaml says {facts.plant.time_zone}"
    yield act("grafana", cause, f"{facts.commands.up}, then {facts.commands.restart('grafana')}")
