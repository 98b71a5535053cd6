"""What each of our services says of itself: at its health address, and in its status."""

from __future__ import annotations

from collections.abc import Iterator

from millrace_contract.language.messages import Status
from millrace_contract.language.times import parse_timestamp

from . import broker, database
from .complaints import Complaint, judged, speaks_of
from .evidence import Evidence, PartFacts, StatusFacts
from .finding import Finding, act, fine, mends, note

HANGS_MS = 60_000
"""Alive by its own word, and nothing heard for so long."""


def findings(facts: Evidence) -> Iterator[Finding]:
    waiting: list[str] = []
    ill: list[Finding] = []
    for part in facts.parts:
        ill += _of_part(facts, part, waiting)
    ill += _complaints(facts)
    ill += [found for one in facts.statuses or () if (found := _silent(facts, one)) is not None]
    yield from ill
    if waiting:
        yield note("services", f"these keep what they have, and go on once the above is mended: {', '.join(sorted(set(waiting)))}")
    if not ill and not waiting and facts.parts:
        names = [part.name for part in facts.parts]
        yield fine("services", f"{', '.join(names)} {'has what it needs' if len(names) == 1 else 'have what they need'}")


def _of_part(facts: Evidence, part: PartFacts, waiting: list[str]) -> Iterator[Finding]:
    if part.problem is not None:
        yield from _no_answer(facts, part)
        return
    for loop in part.silent:
        yield mends(part.name, f"its loop {loop} does not turn; the process ends itself in a moment and is started again")
    told = part.status.problems if part.status is not None else []
    for need, is_there in part.needs.items():
        if is_there or (need == "watching" and not part.needs.get("broker", True)):
            continue
        if (need == "broker" and broker.is_unwell(facts)) or (need == "database" and database.is_unwell(facts)):
            waiting.append(part.name)
        elif not any(speaks_of(text, "outbox" if need == "store" else need) for text in told):
            yield _unexplained(facts, part, need)
    for step, since in part.failing.items():
        if f"unhealthy: {step} {since}" not in told and not ("InfluxDB" in since and database.is_unwell(facts)):
            yield act(part.name, f"its step {step} {since}", facts.commands.logs(part.name))


def _no_answer(facts: Evidence, part: PartFacts) -> Iterator[Finding]:
    process, commands = facts.process(part.name), facts.commands
    if process is not None and process.starts:
        if process.health != "starting":  # else told with the processes
            began = "" if process.age_s is None else f"; it began {process.age_s:.0f} s ago"
            yield mends(part.name, f"does not answer yet{began}")
    elif process is None or process.runs:
        yield act(part.name, f"does not answer: {part.problem}", f"{commands.restart(part.name)}; {commands.logs(part.name)}")


def _unexplained(facts: Evidence, part: PartFacts, need: str) -> Finding:
    """It waits, and does not say why."""
    process = facts.process(part.name)
    if need in ("outbox", "store"):
        return act(part.name, "its disk takes nothing", f"free room on its volume; {facts.commands.logs(part.name)}")
    if need == "watching" or (process is not None and process.starts):
        return mends(part.name, f"waits for: {need}")
    return act(part.name, f"waits for: {need}, which doctor does reach", facts.commands.logs(part.name))


def _complaints(facts: Evidence) -> Iterator[Finding]:
    """Once for each cause: two services that complain of the same are one finding."""
    told: set[tuple[str, str]] = set()
    for status in facts.all_statuses():
        for text in status.problems if status.alive else ():
            finding = judged(facts, Complaint(_name(facts, status), status, text, is_local=facts.is_local(status)))
            if finding is not None and (finding.cause, finding.mend) not in told:
                told.add((finding.cause, finding.mend))
                yield finding


def _silent(facts: Evidence, one: StatusFacts) -> Finding | None:
    """Alive by its last word, but that is old. A clock that is behind makes no difference: it speaks while we listen."""
    if not one.status.alive or one.is_fresh or not one.status.timestamp:
        return None
    if facts.now_ms - parse_timestamp(one.status.timestamp) < HANGS_MS:
        return None
    name = _name(facts, one.status)
    mend = facts.commands.restart(one.status.service) if facts.is_local(one.status) else f"look at the computer of {name}"
    return act(name, f"has said nothing since {one.status.timestamp}, and the broker does not know it as gone: it hangs", mend)


def _name(facts: Evidence, status: Status) -> str:
    """As the parts are called here; with its instance where there may be several."""
    if status.service == "gateway" or sum(each.service == status.service for each in facts.all_statuses()) > 1:
        return f"{status.service} {status.instance}"
    return status.service
