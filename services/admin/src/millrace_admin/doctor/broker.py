"""Can one get to the broker, in, and back; and can gateways and sensors elsewhere, over TLS?"""

from __future__ import annotations

from collections.abc import Iterator

from millrace_contract.language.times import format_timestamp

from .evidence import BrokerFacts, Evidence, TlsFacts
from .finding import Finding, act, fine, mends

NAME = "mosquitto"
SUBJECT = "broker"
DAY_MS = 86_400_000
SOON_DAYS = 30
AUTHORITY_SOON_DAYS = 180
"""Whoever trusts the old one must be given the new one by hand."""


def is_unwell(facts: Evidence) -> bool:
    """Whether who waits for the broker waits for a reason that is told here."""
    broker = facts.broker
    if broker is None:
        return False
    through = broker.tls if facts.commands.place == "edge" else None
    return bool(broker.reach or (through and _tls_problem(through, facts.now_ms)))


def findings(facts: Evidence) -> Iterator[Finding]:
    broker = facts.broker
    if broker is None:
        return
    if broker.reach:
        yield from _unreachable(facts, broker)
        return
    if broker.account:
        yield act(SUBJECT, f"does not let the account of doctor in: {broker.account}", facts.commands.up)
    elif broker.echo:
        yield act(SUBJECT, f"is reached, but what doctor publishes does not come back: {broker.echo}", facts.commands.up)
    elif facts.commands.place != "edge":
        yield fine(SUBJECT, f"takes and returns messages at {broker.address}")
    if broker.tls is not None:
        yield from _tls(facts, broker.tls)


def _unreachable(facts: Evidence, broker: BrokerFacts) -> Iterator[Finding]:
    process = facts.process(NAME)
    if process is not None and process.starts:
        yield mends(SUBJECT, f"is not there yet: {broker.reach}")
    elif process is None or process.runs:
        mend = facts.commands.up
        if facts.commands.place == "edge":
            mend = "look at name server, network and firewall (port 8883 of the server), and whether the server runs"
        yield act(SUBJECT, f"cannot be reached: {broker.reach}", mend)


def _tls(facts: Evidence, tls: TlsFacts) -> Iterator[Finding]:
    is_edge = facts.commands.place == "edge"
    if problem := _tls_problem(tls, facts.now_ms):
        clock = "; or the clock here is wrong" if tls.from_ms and facts.now_ms < tls.from_ms else ""
        mend = f"on the server: docker compose up -d{clock}" if is_edge else f"{facts.commands.up} makes a new one{clock}"
        if is_edge and tls.problem:
            mend = "a new kit from the server that this gateway is to talk to: its authority or its names have changed"
        yield act(SUBJECT, f"{problem}: no gateway and no sensor elsewhere gets in", mend)
        return
    days = _days(tls.until_ms, facts.now_ms)
    if days is not None and days < SOON_DAYS:
        yield act(
            SUBJECT,
            f"its certificate ends in {days:.0f} days",
            "on the server: docker compose up -d" if is_edge else facts.commands.up,
        )
    elif days is not None:
        yield fine(SUBJECT, f"TLS at {tls.address} is trusted; its certificate is good for {days:,.0f} days")
    if unnamed := [name for name in facts.hostnames if tls.names is not None and name not in tls.names]:
        cause = f"its certificate does not hold {', '.join(unnamed)}, by which MILLRACE_HOSTNAME says that it is reached"
        yield act(SUBJECT, cause, f"{facts.commands.up} makes a new one")
    authority_days = _days(tls.authority_until_ms, facts.now_ms)
    if authority_days is not None and authority_days < AUTHORITY_SOON_DAYS:
        cause = f"its certificate authority ends in {authority_days:.0f} days, and with it the trust of every gateway elsewhere"
        yield act(
            SUBJECT, cause, "millrace access new-ca, later use-new-ca: docs/install-an-edge-gateway.md, A new certificate authority"
        )


def _tls_problem(tls: TlsFacts, now_ms: int) -> str | None:
    if tls.reach:
        return f"does not answer to TLS at {tls.address}: {tls.reach}"
    if tls.problem:
        return f"its certificate is not trusted: {tls.problem}"
    if tls.until_ms is not None and tls.until_ms <= now_ms:
        return f"its certificate ended at {format_timestamp(tls.until_ms)}"
    if tls.from_ms is not None and tls.from_ms > now_ms:
        return f"its certificate is good from {format_timestamp(tls.from_ms)} on only, and that is in the future"
    return None


def _days(until_ms: int | None, now_ms: int) -> float | None:
    return None if until_ms is None else (until_ms - now_ms) / DAY_MS
