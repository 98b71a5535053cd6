"""The command `status`: what ingest, roll-ups and gateways say of themselves, and what the ledger says was lost."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import msgspec

from millrace_contract.errors import ConfigurationProblems, Malformed, Unavailable
from millrace_contract.language.measurements import PRODUCTION_BUCKET
from millrace_contract.language.messages import Status
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.topics import Topics
from millrace_contract.plant import load_plant
from millrace_contract.plant.not_taken import edit_not_taken, read_plant_files
from millrace_contract.runtime.influx import Influx, QueryFailed, Refused
from millrace_contract.runtime.lifecycle import EXIT_NOT_WELL, EXIT_WELL
from millrace_contract.runtime.mqtt.paho_session import Callbacks, PahoSession, Received
from millrace_contract.runtime.status import Platform

from .service import SERVICE
from .settings import IngestSettings

SHOWN = ("ingest", "rollup", "gateway", "oee", "alerts")
CONNECT_S = 5.0
FIRST_S = 2.0
OTHERS_S = 0.3
_LOST = (
    'SELECT sum("count"), min("first_ms"), max("last_ms"), max("at_least") FROM "ledger" GROUP BY "service", "instance", "cause"'
)


@dataclass(frozen=True, slots=True)
class Lost:
    """All ledger entries of one cause from one service: how many messages, between which event times (ms; None: unknown).

    at_least: more are gone, and nobody can say how many.
    """

    service: str
    instance: str
    cause: str
    count: int
    first_ms: int | None
    last_ms: int | None
    at_least: bool = False


def status(settings: IngestSettings, arguments: argparse.Namespace) -> int:
    """Prints one picture of the data path; exit status 1 unless an ingest is alive and the database takes data."""
    statuses, broker_problem = _statuses(settings)
    if broker_problem is not None:
        _say(json.dumps({"error": broker_problem}) if arguments.json else f"no broker: {broker_problem}")
        return EXIT_NOT_WELL
    files = read_plant_files(settings.config)
    statuses = [_with_problem(one, edit_not_taken(one, files)) for one in statuses]
    lost, ledger_problem = _ledger(settings)
    say_all = _say_json if arguments.json else _say_words
    say_all(statuses, lost, ledger_problem)
    return EXIT_WELL if any(one.service == "ingest" and one.alive and one.taking for one in statuses) else EXIT_NOT_WELL


def _with_problem(one: Status, problem: str | None) -> Status:
    return one if problem is None else msgspec.structs.replace(one, problems=[*one.problems, problem])


def _statuses(settings: IngestSettings) -> tuple[list[Status], str | None]:
    """The retained statuses in the order of SHOWN, or why the broker does not answer."""
    topics = Topics(_root(settings))
    platform = Platform()
    came = threading.Event()

    def take(message: Received) -> None:
        topic = topics.parse(message.topic)
        with contextlib.suppress(Malformed):  # somebody else's mistake; ingest keeps it as a dead letter
            if topic is not None and platform.apply(topic, message.payload) is not None:
                came.set()

    filters = [topics.status(service, "+") for service in SHOWN]
    client_id, account = _login(settings)
    settings = settings.model_copy(update={"mqtt_username": account})
    session = PahoSession(settings, client_id, Callbacks(message=take), filters=filters)
    session.start()
    try:
        if not session.wait_connected(CONNECT_S):
            return [], session.problem or "no answer"
        # Retained messages follow the subscription at once; the last of several comes within the same moment.
        if came.wait(FIRST_S):
            time.sleep(OTHERS_S)
    finally:
        session.stop()
    return sorted(platform.statuses(), key=lambda one: (SHOWN.index(one.service), one.instance)), None


def _login(settings: IngestSettings) -> tuple[str, str]:
    """Client id and account of this command: under the service's own it would take the service's connection."""
    service = f"{SERVICE}-{settings.instance}"
    own = f"{service}-status"
    has_password = bool(settings.mqtt_password.get_secret_value())
    if settings.mqtt_username == service or (has_password and not settings.mqtt_username):
        return own, own
    return f"{own}-{os.getpid()}", settings.mqtt_username


def _ledger(settings: IngestSettings) -> tuple[list[Lost], str | None]:
    """What was ever lost, the greatest loss first, or why that is not known."""
    try:
        with Influx(settings) as influx:
            found = influx.query(PRODUCTION_BUCKET, _LOST)
    except Unavailable as problem:
        return [], str(problem)
    except (Refused, QueryFailed) as problem:  # to a token that may not read it, a bucket does not exist
        return [], f"this token may not read bucket {PRODUCTION_BUCKET}; `millrace bootstrap-influxdb` mends that ({problem})"
    lost = []
    for one in found:
        [[_, count, *times_ms, at_least]] = one.rows
        first_ms, last_ms = (None if each is None else int(each) for each in times_ms)
        lost.append(
            Lost(one.tags["service"], one.tags["instance"], one.tags["cause"], int(count), first_ms, last_ms, bool(at_least))
        )
    return sorted(lost, key=lambda one: -one.count), None


def _root(settings: IngestSettings) -> str:
    """The plant's root; while plant.yaml is broken, that of the copy with which the service runs."""
    copy = settings.data / "accepted-config"
    try:
        return load_plant(settings.config).root
    except ConfigurationProblems:
        if not copy.is_dir():
            raise
        return load_plant(copy).root


def _say_json(statuses: Sequence[Status], lost: Sequence[Lost], ledger_problem: str | None) -> None:
    for one in statuses:
        row = {
            "service": one.service, "instance": one.instance, "alive": one.alive, "taking": one.taking,
            "timestamp": one.timestamp, "configuration": one.configuration, "problems": one.problems, "notes": one.notes,
            "plant": msgspec.to_builtins(one.plant),
            **one.figures,
        }  # fmt: skip
        _say(json.dumps(row, ensure_ascii=False))
    _say(json.dumps({"ledger": [asdict(one) for one in lost], "problem": ledger_problem}))


def _say_words(statuses: Sequence[Status], lost: Sequence[Lost], ledger_problem: str | None) -> None:
    if not any(one.service == "ingest" for one in statuses):
        _say("no ingest has ever said anything on this broker")
    for one in statuses:
        said = one.timestamp or "by its last will"
        _say(f"{one.service} {one.instance} {_state(one)} (said {said}; configuration {one.configuration})")
        for text in [f"! {problem}" for problem in one.problems] + [f"- {note}" for note in one.notes]:
            _say(f"  {text}")
        if one.service == "ingest":
            for name, value in one.figures.items():
                _say(f"  {name:<18} {value:,.10g}")
    if ledger_problem is not None:
        _say(f"ledger: not known, {ledger_problem}")
        return
    _say("ledger: what was ever lost" if lost else "ledger: nothing was ever lost")
    for entry in lost:
        _say(f"  {entry.service} {entry.instance}: {_how_many(entry)}, {entry.cause}{_span(entry)}")


def _how_many(entry: Lost) -> str:
    if entry.at_least and not entry.count:
        return "nobody knows how many messages"
    return f"{'at least ' if entry.at_least else ''}{entry.count:,} messages"


def _state(one: Status) -> str:
    if not one.alive:
        return "is not running"
    match one.service:
        case "ingest":
            return "stores" if one.taking else "does NOT store"
        case "rollup":
            behind_s, late = one.figures.get("rollup_behind_s", 0), one.figures.get("rollup_late_waiting", 0)
            return f"is {behind_s:,.0f} s behind (up to 200 are usual), {late:,.0f} hours to make again"
        case "oee" | "alerts":
            return "runs"
        case _:
            return f"runs, {one.figures.get('devices_online', 0):.0f} of {one.figures.get('devices', 0):.0f} devices online"


def _span(entry: Lost) -> str:
    if entry.first_ms is None or entry.last_ms is None:
        return ""
    return f", of {format_timestamp(entry.first_ms)} to {format_timestamp(entry.last_ms)}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
