"""What doctor gathers of a platform on which all is well: the sample plant, as its services report it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from millrace_admin.broker_accounts import Account, Rights, render_access_rules
from millrace_admin.doctor.evidence import (
    AccessFacts,
    BrokerFacts,
    DatabaseFacts,
    DiskFacts,
    Evidence,
    PartFacts,
    ProcessFacts,
    StatusFacts,
    TlsFacts,
    TokenFacts,
)
from millrace_admin.own_accounts import own_accounts
from millrace_contract.language.measurements import BUCKETS
from millrace_contract.language.messages import Comms, Status
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import CommsState
from millrace_contract.plant import load_plant
from millrace_contract.plant.not_taken import read_plant_files

REPOSITORY = Path(__file__).resolve().parents[2]
NOW_MS = 1_790_000_000_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
PLANT = load_plant(REPOSITORY / "config")
PLANT_FILES = read_plant_files(REPOSITORY / "config")
OUTBOX = {"messages_per_s": 20.0, "outbox_messages": 12.0, "outbox_oldest_s": 0.6, "outbox_holds_h": 700.0, "outbox_dropped": 0.0}
FIGURES: dict[str, dict[str, float]] = {
    "gateway": {"devices": 13, "devices_online": 13, "devices_offline": 0, **OUTBOX},
    "ingest": {"queue": 0, "dead_letters": 0, "spool": 0, "lost": 0, "fuse_blown": 0},
    "rollup": {"rollup_behind_s": 75, "rollup_late_waiting": 0},
    "oee": {"machines": 9, "gaps_open": 0, **OUTBOX},
    "alerts": {"alerts_open": 1, **OUTBOX},
}
INSTANCES = {"gateway": "edge-1", "ingest": "1", "rollup": "1", "oee": "1", "alerts": "1"}
NEEDS = {
    "gateway": ("broker", "outbox"),
    "ingest": ("broker", "database"),
    "rollup": ("broker", "database"),
    "oee": ("broker", "store"),
    "alerts": ("broker", "store", "watching"),
}
CONTAINERS = ("mosquitto", "influxdb", "gateway", "ingest", "rollup", "oee", "alerts", "grafana", "simulator")


def status(service: str, **changes: Any) -> Status:
    said = Status(
        service=service,
        instance=INSTANCES[service],
        alive=True,
        timestamp=format_timestamp(NOW_MS - 4_000),
        version="0.1.0",
        started=format_timestamp(NOW_MS - DAY_MS),
        taking=True if service == "ingest" else None,
        figures=FIGURES[service],
    )
    return msgspec.structs.replace(said, **changes)


def comms(device: str, state: CommsState = CommsState.ONLINE, reason: str | None = None) -> Comms:
    since = format_timestamp(NOW_MS - HOUR_MS)
    return Comms(device_id=device, state=state, since=since, timestamp=since, gateway="edge-1", reason=reason)


def accounts() -> AccessFacts:
    named = {
        one.name: Account(one.name, one.role, "$7$1000$x$x", "2026-01-01T00:00:00Z", instance=one.instance)
        for one in own_accounts()
    }
    rights = Rights().with_plant(PLANT)
    return AccessFacts(
        named,
        rights,
        rules=render_access_rules(PLANT.root, named.values(), rights),
        known=frozenset(named),
        passwords_fit=dict.fromkeys(named, True),
    )


def well() -> Evidence:
    """Nothing is wrong."""
    statuses = {service: status(service) for service in FIGURES}
    return Evidence(
        now_ms=NOW_MS,
        version="0.1.0",
        plant=PLANT,
        plant_files=PLANT_FILES,
        hostnames=("plant-server.example",),
        broker=BrokerFacts(
            "mosquitto:1883",
            tls=TlsFacts(
                "mosquitto:8883",
                from_ms=NOW_MS - 30 * DAY_MS,
                until_ms=NOW_MS + 1_500 * DAY_MS,
                authority_until_ms=NOW_MS + 7_000 * DAY_MS,
                names=("localhost", "mosquitto", "127.0.0.1", "plant-server.example"),
            ),
        ),
        database=DatabaseFacts(
            "http://influxdb:8086",
            buckets=frozenset(BUCKETS),
            wanted_buckets=frozenset(BUCKETS),
            tokens=tuple(TokenFacts(name) for name in ("ingest", "rollup", "oee", "alerts", "simulator", "grafana")),
            date_ms=NOW_MS // 1000 * 1000,
            asked_ms=NOW_MS + 40,
        ),
        parts=tuple(
            PartFacts(name, live=True, needs=dict.fromkeys(NEEDS[name], True), status=None if name == "alerts" else said)
            for name, said in statuses.items()
        ),
        processes=(
            *(ProcessFacts(name, "running", health="healthy", age_s=86_400) for name in CONTAINERS),
            *(ProcessFacts(name, "exited", age_s=86_400, is_once=True) for name in ("bootstrap", "bootstrap-influxdb")),
        ),
        statuses=tuple(StatusFacts(said, NOW_MS - 3_900, is_fresh=True) for said in statuses.values()),
        comms={name: comms(name) for name in PLANT.devices},
        last_stored_ms=dict.fromkeys(PLANT.devices, NOW_MS - 20_000),
        disks=(DiskFacts("gateway", 100_000_000_000, 60_000_000_000),),
        access=accounts(),
        boards_time_zone=PLANT.time_zone,
    )


def with_status(evidence: Evidence, service: str, **changes: Any) -> Evidence:
    """The service says this instead, at its health address and on its topic; an instance of another name is one more."""
    said = status(service, **changes)
    is_more = said.instance != INSTANCES[service]
    others = [one for one in evidence.statuses or () if is_more or one.status.service != service]
    parts = [
        replace(part, status=said) if part.name == service and part.status is not None and not is_more else part
        for part in evidence.parts
    ]
    return replace(evidence, statuses=(*others, StatusFacts(said, NOW_MS - 3_900, is_fresh=True)), parts=tuple(parts))


def with_part(evidence: Evidence, name: str, **changes: Any) -> Evidence:
    needs = changes.pop("lacks", ())
    changed = tuple(
        replace(part, needs={need: need not in needs for need in part.needs}, **changes) if part.name == name else part
        for part in evidence.parts
    )
    return replace(evidence, parts=changed)


def with_process(evidence: Evidence, name: str, **changes: Any) -> Evidence:
    changed = tuple(replace(one, **changes) if one.name == name else one for one in evidence.processes or ())
    return replace(evidence, processes=changed)


def with_broker(evidence: Evidence, **changes: Any) -> Evidence:
    assert evidence.broker is not None
    return replace(evidence, broker=replace(evidence.broker, **changes))


def with_tls(evidence: Evidence, **changes: Any) -> Evidence:
    assert evidence.broker is not None
    assert evidence.broker.tls is not None
    return with_broker(evidence, tls=replace(evidence.broker.tls, **changes))


def with_database(evidence: Evidence, **changes: Any) -> Evidence:
    assert evidence.database is not None
    return replace(evidence, database=replace(evidence.database, **changes))


def with_access(evidence: Evidence, **changes: Any) -> Evidence:
    assert evidence.access is not None
    return replace(evidence, access=replace(evidence.access, **changes))
