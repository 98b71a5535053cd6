"""Does the database answer, hold its buckets, take and return a point, and let each consumer do what it must?"""

from __future__ import annotations

from collections.abc import Iterator

from .evidence import DatabaseFacts, Evidence
from .finding import Finding, act, fine, mends

NAME = "influxdb"
SUBJECT = "database"
SHARD_CLOSED = "not attempting to open shard"
"""What influxd says of a part of its data that it could not open once: it does not try again until it is restarted."""
NO_SPACE = "no space left"
FULL_DISK = "make room on the database's disk; its start script begins it anew within a minute then"


def is_unwell(facts: Evidence) -> bool:
    """Whether who waits for the database waits for a reason that is told here."""
    database = facts.database
    if database is None:
        return False
    return bool(database.reach or database.refused or _missing(database) or database.echo)


def refuses(facts: Evidence, consumer: str) -> bool:
    """Whether what is wrong with this consumer's token is told here."""
    tokens = facts.database.tokens if facts.database is not None else ()
    return any(token.consumer == consumer and (token.problem or token.lacks) for token in tokens)


def findings(facts: Evidence) -> Iterator[Finding]:
    database = facts.database
    if database is None:
        return
    told = list(_causes(facts, database))
    yield from told
    if not told and not database.reach:
        yield fine(SUBJECT, f"takes and returns points at {database.url}; all {len(database.wanted_buckets)} buckets are there")


def _causes(facts: Evidence, database: DatabaseFacts) -> Iterator[Finding]:
    up = facts.commands.up
    if database.reach:
        process = facts.process(NAME)
        if process is not None and process.starts:
            yield mends(SUBJECT, f"is not there yet: {database.reach}")
        elif process is None or process.runs:
            yield act(SUBJECT, f"cannot be reached: {database.reach}", up)
        return
    if database.refused:
        yield act(
            SUBJECT,
            f"refuses the administrator's token: {database.refused}",
            "its data and the admin secrets are not of one installation: restore both from one backup",
        )
        return
    if missing := _missing(database):
        text = f"bucket {missing[0]} is not there" if len(missing) == 1 else f"buckets {', '.join(missing)} are not there"
        yield act(SUBJECT, f"{text}: what belongs there waits with its senders", f"{up} makes it, and tokens for it")
    elif database.echo:
        yield _echo(facts, database.echo)
    for token in database.tokens:
        lacks = [what for what in token.lacks if what.split(" ", 1)[1] not in missing]
        if token.problem or lacks:
            what = token.problem or f"may not {', '.join(lacks)}"
            then = f", then {facts.commands.restart('grafana')}" if token.consumer == "grafana" else "; it reads that by itself"
            yield act(SUBJECT, f"the token of {token.consumer} {what}", f"{up} makes a new one{then}")


def _echo(facts: Evidence, problem: str) -> Finding:
    if SHARD_CLOSED in problem or NO_SPACE in problem:
        return act(SUBJECT, "takes nothing: its disk is full, or was", FULL_DISK)
    return act(SUBJECT, f"answers, but what doctor writes does not come back: {problem}", facts.commands.logs(NAME))


def _missing(database: DatabaseFacts) -> list[str]:
    return [] if database.buckets is None else sorted(database.wanted_buckets - database.buckets)
