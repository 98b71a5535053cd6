"""Does everything run that should: containers, processes of a demo, the unit of an edge box."""

from __future__ import annotations

from collections.abc import Iterator

from .evidence import Evidence, ProcessFacts
from .finding import Finding, act, fine, mends, note

MANY_RESTARTS = 5
RECENT_S = 3_600.0
MISSING = "missing"


def findings(facts: Evidence) -> Iterator[Finding]:
    if facts.processes is None:
        return
    told = [found for one in facts.processes if (found := _of_one(facts, one)) is not None]
    if facts.memory_is_limited is False:
        yield note("kernel", "limits no memory", "on a Raspberry Pi: add cgroup_enable=memory to /boot/firmware/cmdline.txt")
    yield from told
    if not told:
        count = sum(one.runs and not one.is_once for one in facts.processes)
        yield fine("processes", "it runs" if count == 1 else f"all {count} run")


def _of_one(facts: Evidence, one: ProcessFacts) -> Finding | None:
    if one.state == MISSING:
        mend = "run install of a bundle" if facts.commands.place == "edge" else facts.commands.up
        return act(one.name, "does not run: there is none", mend) if one.is_wanted else None
    if one.is_once:
        return _of_one_shot(facts, one)
    return _of_a_running_one(facts, one) if one.state == "running" else _of_a_stopped_one(facts, one)


def _of_one_shot(facts: Evidence, one: ProcessFacts) -> Finding | None:
    if one.state != "exited":
        return mends(one.name, "is at work")
    if one.exit_code:
        return act(one.name, f"ended with {one.exit_code}{_words(one)}", f"mend what it says, then {facts.commands.up}")
    return None


def _of_a_running_one(facts: Evidence, one: ProcessFacts) -> Finding | None:
    is_recent = (one.age_s or 0) < RECENT_S
    if one.out_of_memory and is_recent:
        return _out_of_memory(facts, one)
    if one.restarts >= MANY_RESTARTS and is_recent:
        return _again_and_again(facts, one)
    if one.health == "unhealthy":
        says_why = any(part.name == one.name and (part.failing or part.silent) for part in facts.parts)
        return (
            None if says_why else act(one.name, f"runs, but its health check fails{_words(one)}", facts.commands.restart(one.name))
        )
    if one.health == "starting":
        return mends(one.name, "starts" if one.age_s is None else f"starts; it began {one.age_s:.0f} s ago")
    if not one.is_enabled:
        return act(one.name, "will not start with the computer", facts.commands.up)
    if one.restarts >= MANY_RESTARTS:
        return note(one.name, f"was started again {one.restarts} times, but not in the last hour")
    return None


def _of_a_stopped_one(facts: Evidence, one: ProcessFacts) -> Finding | None:
    if one.state == "paused":
        return act(one.name, "is paused: somebody stopped it in the middle of its work", f"docker compose unpause {one.name}")
    if one.out_of_memory:
        return _out_of_memory(facts, one)
    if one.state == "restarting":
        return _again_and_again(facts, one)
    if one.starts:
        return mends(one.name, "is about to start")
    if facts.commands.place == "demo":
        return mends(one.name, f"has ended; the demo starts it again{_words(one)}")
    return act(one.name, f"does not run ({one.state}, exit status {one.exit_code}){_words(one)}", facts.commands.up)


def _out_of_memory(facts: Evidence, one: ProcessFacts) -> Finding:
    mend = f"more memory for {one.name} in .env, then {facts.commands.up}; {facts.commands.logs(one.name)}"
    return act(one.name, "needed more memory than its limit and was killed", mend)


def _again_and_again(facts: Evidence, one: ProcessFacts) -> Finding:
    return act(one.name, f"ends again and again ({one.restarts} times so far){_words(one)}", facts.commands.logs(one.name))


def _words(one: ProcessFacts) -> str:
    return f"; its last words: {one.last_words}" if one.last_words else ""
