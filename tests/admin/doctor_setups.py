"""Broken set-ups, as the services report them: what is changed in what doctor gathers, and what must be said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from millrace_admin.doctor.evidence import DiskFacts, Evidence, StatusFacts, TokenFacts
from millrace_admin.doctor.finding import EXIT_ACT, EXIT_FINE, EXIT_MENDS
from millrace_contract.errors import Problem
from millrace_contract.language.measurements import BUCKETS, TELEMETRY_BUCKET
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import CommsState, ConfigurationInUse
from millrace_contract.plant.versions import PLANT as PLANT_FILE
from millrace_contract.plant.versions import SHARE, plant_in_use

from . import doctor_evidence as seen
from .doctor_evidence import DAY_MS, HOUR_MS, NOW_MS, PLANT, comms

WRONG_PASSWORD = (
    "the broker refuses the account gateway-edge-1: wrong user name or password. /run/secrets/millrace/mqtt_password, "
    "which is read again at each try, must hold what the broker knows: on the server, docker compose up -d brings the two "
    "into agreement, for the first instance of each service and those that MILLRACE_INSTANCES lists; a gateway "
    "elsewhere needs a new kit; with another broker, compare with its accounts"
)
REFUSED_TOPIC = (
    "the broker refuses topic factory/line1/CNC-01/telemetry for account gateway-edge-1 (not authorized): an account may write "
    "what plant.yaml on the server gives it"
)
NO_BUCKET = (
    'the database takes no data: InfluxDB at http://influxdb:8086 answers 404: {"code":"not found","message":"bucket '
    '\\"telemetry\\" not found"}; MILLRACE_INFLUX_TOKEN must be a token for bucket telemetry; '
    "`millrace bootstrap-influxdb` makes both"
)
WRONG_TOKEN = (
    'the database takes no data: InfluxDB at http://influxdb:8086 answers 401: {"code":"unauthorized","message":"unauthorized '
    'access"}; MILLRACE_INFLUX_TOKEN must be a token for bucket telemetry; `millrace bootstrap-influxdb` makes both'
)
NEARLY_FULL = (
    "the disk of influxdb is nearly full: 12 GB of 100 GB are left, which last 9.2 h as it goes; "
    "make room on it, or give it a larger one"
)
SHARD = (
    "the database takes no data: InfluxDB answers 500: no space left on device: its disk is full, or was when it failed to write; "
    "make room on it. Then its start script begins it anew within a minute; where it runs without ours, restart it"
)


def gateway_refused(evidence: Evidence) -> Evidence:
    """It says so at its health address alone: the broker hears nothing of it."""
    gone = seen.with_status(evidence, "gateway", alive=False)
    return seen.with_part(gone, "gateway", lacks=("broker",), status=seen.status("gateway", problems=[WRONG_PASSWORD]))


def second_ingest(evidence: Evidence) -> Evidence:
    """In a compose file of the plant's own, with the password of the first one."""
    said = seen.status("ingest", instance="2", problems=[WRONG_PASSWORD.replace("gateway-edge-1", "ingest-2")])
    first = next(part for part in evidence.parts if part.name == "ingest")
    second = replace(first, name="ingest-2", needs={**first.needs, "broker": False}, status=said)
    return replace(evidence, parts=(*evidence.parts, second))


def database_gone(evidence: Evidence, reach: str = "nothing listens at influxdb:8086 (connection refused)") -> Evidence:
    waiting = seen.with_part(seen.with_part(evidence, "ingest", lacks=("database",)), "rollup", lacks=("database",))
    said = seen.with_status(
        waiting, "ingest", taking=False, problems=[f"the database takes no data: InfluxDB does not answer: {reach}"]
    )
    return replace(seen.with_database(said, reach=reach, buckets=None, tokens=(), date_ms=None), last_stored_ms=None)


def without_telemetry(evidence: Evidence) -> Evidence:
    assert evidence.access is not None
    assert evidence.access.rules is not None
    rules = "\n".join(line for line in evidence.access.rules.splitlines() if not line.endswith("/telemetry"))
    return seen.with_access(evidence, rules=rules)


def all_offline(evidence: Evidence, reason: str = "no answer within 1 s") -> Evidence:
    return replace(evidence, comms={name: comms(name, CommsState.OFFLINE, reason) for name in PLANT.devices})


def off_by(evidence: Evidence, service: str, off_ms: int) -> Evidence:
    ours = [
        StatusFacts(seen.status(service, timestamp=format_timestamp(NOW_MS + off_ms)), NOW_MS, is_fresh=True)
        if one.status.service == service
        else one
        for one in evidence.statuses or ()
    ]
    return replace(evidence, statuses=tuple(ours))


def of_missing_gateway(evidence: Evidence) -> Evidence:
    device = PLANT.devices["CNC-01"].model_copy(update={"gateway": "edge-9"})
    return replace(evidence, plant=replace(PLANT, devices={**PLANT.devices, "CNC-01": device}))


def restarted(evidence: Evidence) -> Evidence:
    begun = seen.with_process(evidence, "ingest", health="starting", age_s=2.0)
    return seen.with_part(begun, "ingest", problem="nothing listens at ingest:9102 (connection refused)")


@dataclass(frozen=True)
class Broken:
    """A set-up, and what must be said of it: by which subject, with which words, and with which way out."""

    change: Callable[[Evidence], Evidence]
    exit: int
    subject: str
    cause: str
    mend: str


SETUPS = {
    "a wrong broker password of the gateway": Broken(
        gateway_refused,
        EXIT_ACT,
        "gateway edge-1",
        "refuses its account gateway",
        "docker compose up -d makes account and password",
    ),
    "a second ingest that nobody named": Broken(
        second_ingest,
        EXIT_ACT,
        "ingest 2",
        "the broker has no account ingest-2",
        "list ingest-2 in MILLRACE_INSTANCES of .env, then docker compose up -d",
    ),
    "a gateway that is gone and reads nothing any more": Broken(
        lambda e: seen.with_status(e, "gateway", instance="edge-2", alive=False),
        EXIT_FINE,
        "gateway edge-2",
        "reads nothing by plant.yaml and does not run; its last words are still there",
        "if it is scrapped: docker compose run --rm admin access remove-gateway edge-2",
    ),
    "the broker is stopped": Broken(
        lambda e: seen.with_process(
            seen.with_part(
                replace(seen.with_broker(e, reach="nothing listens at mosquitto:1883"), statuses=None), "oee", lacks=("broker",)
            ),
            "mosquitto",
            state="exited",
            health="",
        ),
        EXIT_ACT,
        "mosquitto",
        "does not run (exited",
        "docker compose up -d",
    ),
    "the broker is not reached, though it runs": Broken(
        lambda e: seen.with_broker(e, reach="nobody here knows the name mosquitto"),
        EXIT_ACT,
        "broker",
        "nobody here knows the name",
        "up -d",
    ),
    "the broker begins": Broken(
        lambda e: seen.with_process(seen.with_broker(e, reach="nothing listens"), "mosquitto", health="starting", age_s=3.0),
        EXIT_MENDS,
        "broker",
        "is not there yet",
        "",
    ),
    "a broker certificate that expired yesterday": Broken(
        lambda e: seen.with_tls(e, until_ms=NOW_MS - DAY_MS),
        EXIT_ACT,
        "broker",
        "its certificate ended at 2026-",
        "makes a new one",
    ),
    "a broker certificate of twelve days": Broken(
        lambda e: seen.with_tls(e, until_ms=NOW_MS + 12 * DAY_MS), EXIT_ACT, "broker", "ends in 12 days", "docker compose up -d"
    ),
    "a certificate of another authority": Broken(
        lambda e: seen.with_tls(e, problem="self-signed certificate in certificate chain", until_ms=None),
        EXIT_ACT,
        "broker",
        "is not trusted: self-signed",
        "makes a new one",
    ),
    "a new name of the server that its certificate lacks": Broken(
        lambda e: replace(e, hostnames=("plant-server.example", "192.0.2.10")),
        EXIT_ACT,
        "broker",
        "its certificate does not hold 192.0.2.10",
        "docker compose up -d makes a new one",
    ),
    "access rules without telemetry": Broken(
        without_telemetry, EXIT_ACT, "accounts", "may send the telemetry of CNC-01", "renders the rules anew"
    ),
    "a password file older than the accounts": Broken(
        lambda e: seen.with_access(e, known=frozenset({"ingest"})), EXIT_ACT, "accounts", "does not know admin, admin-2", "up -d"
    ),
    "a service with another password than its account": Broken(
        lambda e: seen.with_access(e, passwords_fit={"oee": False}),
        EXIT_ACT,
        "accounts",
        "the password that oee has",
        "makes them fit",
    ),
    "a deleted bucket": Broken(
        lambda e: seen.with_status(
            seen.with_part(seen.with_database(e, buckets=frozenset(BUCKETS) - {TELEMETRY_BUCKET}), "ingest", lacks=("database",)),
            "ingest",
            taking=False,
            problems=[NO_BUCKET],
        ),
        EXIT_ACT,
        "database",
        "bucket telemetry is not there",
        "docker compose up -d makes it",
    ),
    "a wrong token of ingest, seen by its file": Broken(
        lambda e: seen.with_database(e, tokens=(TokenFacts("ingest", problem="is refused (401)"),)),
        EXIT_ACT,
        "database",
        "the token of ingest is refused (401)",
        "docker compose up -d makes",
    ),
    "a wrong token of ingest, in its own words alone": Broken(
        lambda e: seen.with_status(
            seen.with_part(e, "ingest", lacks=("database",)), "ingest", taking=False, problems=[WRONG_TOKEN]
        ),
        EXIT_ACT,
        "ingest",
        "the database refuses it, and will go on to",
        "docker compose up -d makes",
    ),
    "a token that may not write": Broken(
        lambda e: seen.with_database(e, tokens=(TokenFacts("rollup", lacks=("write rollup_1m",)),)),
        EXIT_ACT,
        "database",
        "the token of rollup may not write rollup_1m",
        "makes a new one; it reads that by itself",
    ),
    "the database is stopped": Broken(
        lambda e: seen.with_process(database_gone(e), "influxdb", state="exited", health=""),
        EXIT_ACT,
        "influxdb",
        "does not run (exited",
        "docker compose up -d",
    ),
    "the database begins": Broken(
        lambda e: seen.with_process(database_gone(e), "influxdb", health="starting", age_s=8.0),
        EXIT_MENDS,
        "database",
        "is not there yet",
        "",
    ),
    "a database that was full": Broken(
        lambda e: seen.with_status(seen.with_part(e, "ingest", lacks=("database",)), "ingest", taking=False, problems=[SHARD]),
        EXIT_ACT,
        "ingest",
        "its disk is full, or was",
        "make room on the database's disk",
    ),
    "data and secrets of two installations": Broken(
        lambda e: seen.with_database(e, refused="it answers 401", buckets=None, tokens=()),
        EXIT_ACT,
        "database",
        "refuses the administrator's token",
        "restore both from one backup",
    ),
    "a device of a gateway that does not exist": Broken(
        of_missing_gateway, EXIT_ACT, "gateway edge-9", "plant.yaml names it for CNC-01", "put `gateway:` right in plant.yaml"
    ),
    "a gateway elsewhere that is gone": Broken(
        lambda e: seen.with_status(of_missing_gateway(e), "gateway", instance="edge-9", alive=False),
        EXIT_ACT,
        "gateway edge-9",
        "does not run since 2026-",
        "millrace-edge check",
    ),
    "a gateway on an older plant model": Broken(
        lambda e: replace(e, comms={name: one for name, one in e.comms.items() if name != "CNC-01"}),
        EXIT_ACT,
        "gateway edge-1",
        "says nothing of CNC-01",
        "docker compose restart gateway",
    ),
    "all devices silent": Broken(
        all_offline,
        EXIT_ACT,
        "gateway edge-1",
        "none of its 13 devices answers; most often: no answer within 1 s",
        "network between",
    ),
    "one device switched off": Broken(
        lambda e: replace(e, comms={**e.comms, "CNC-01": comms("CNC-01", CommsState.OFFLINE, "no answer within 1 s")}),
        EXIT_MENDS,
        "CNC-01",
        "is offline since 2026-",
        "docker compose exec gateway millrace-gateway read CNC-01",
    ),
    "one device that refuses": Broken(
        lambda e: replace(
            e, comms={**e.comms, "CNC-01": comms("CNC-01", CommsState.OFFLINE, "Modbus exception 2: no such register")}
        ),
        EXIT_ACT,
        "CNC-01",
        "Modbus exception 2",
        "read CNC-01",
    ),
    "readings that never arrive": Broken(
        lambda e: replace(e, last_stored_ms={}),
        EXIT_ACT,
        "devices",
        "nothing new of all 13 devices that are online",
        "millrace-ingest status",
    ),
    "a full volume of the gateway": Broken(
        lambda e: seen.with_status(e, "gateway", problems=["the disk refuses the outbox: database or disk is full"]),
        EXIT_ACT,
        "gateway edge-1",
        "its disk takes nothing: database or disk is full",
        "free room",
    ),
    "a full volume of ingest": Broken(
        lambda e: seen.with_status(e, "ingest", problems=["the disk of dead letters and spool refuses: database or disk is full"]),
        EXIT_ACT,
        "ingest",
        "its disk takes nothing",
        "free room",
    ),
    "a full volume of alerts": Broken(
        lambda e: seen.with_part(e, "alerts", lacks=("store",)),
        EXIT_ACT,
        "alerts",
        "its disk takes nothing",
        "free room on its volume",
    ),
    "a volume that is full and has not been written to": Broken(
        lambda e: replace(e, disks=(DiskFacts("alerts", 12_000_000, 0),)),
        EXIT_ACT,
        "alerts",
        "its disk is full: 0 of 12 MB",
        "free room",
    ),
    "a disk that is full in nine hours": Broken(
        lambda e: seen.with_status(e, "rollup", problems=[NEARLY_FULL]),
        EXIT_ACT,
        "rollup",
        "the disk of influxdb is nearly full: 12 GB of 100 GB are left, which last 9.2 h as it goes",
        "make room on it",
    ),
    "a gateway that runs on yesterday's files": Broken(
        lambda e: seen.with_status(e, "gateway", plant=plant_in_use("0123456789ab", 12, NOW_MS - DAY_MS, {SHARE: "ba9876543210"})),
        EXIT_ACT,
        "plant.yaml",
        "the last edit of the plant's files is not taken over by gateway edge-1",
        "docker compose restart gateway",
    ),
    "an edit a moment ago": Broken(
        lambda e: seen.with_status(
            e, "ingest", plant=plant_in_use("0123456789ab", 12, NOW_MS - DAY_MS, {PLANT_FILE: "ba9876543210"})
        ),
        EXIT_MENDS,
        "plant.yaml",
        "the last edit of the plant's files is not taken over by ingest 1",
        "they follow within seconds",
    ),
    "a gateway whose clock is ahead": Broken(
        lambda e: off_by(e, "gateway", 90_000), EXIT_ACT, "gateway edge-1", "its clock is 90 s ahead of the one here", "time server"
    ),
    "a database whose clock is behind": Broken(
        lambda e: seen.with_database(e, date_ms=NOW_MS - HOUR_MS), EXIT_ACT, "database", "its clock is 60 min behind", "time server"
    ),
    "parts of two versions": Broken(
        lambda e: seen.with_status(e, "oee", version="0.2.0"),
        EXIT_ACT,
        "versions",
        "0.2.0: oee 1",
        "docker compose up -d --build --wait",
    ),
    "an alert rule for a signal that there is not": Broken(
        lambda e: seen.with_status(
            replace(e, plant_problems=(Problem("alerts.yaml", 39, "rules.hot.condition.signal", "no signal 'spindle_temp'"),)),
            "alerts",
            configuration=ConfigurationInUse.LAST_ACCEPTED,
            problems=["alerts.yaml:39: rules.hot.condition.signal: no signal 'spindle_temp'"],
        ),
        EXIT_ACT,
        "plant.yaml",
        "alerts.yaml:39: rules.hot.condition.signal",
        "docker compose run --rm admin check",
    ),
    "a typing error in plant.yaml": Broken(
        lambda e: seen.with_status(
            replace(e, plant_problems=(Problem("plant.yaml", 9, "lines.line1.devices.CNC-01.profile", "no profile 'cnc'"),)),
            "ingest",
            configuration=ConfigurationInUse.LAST_ACCEPTED,
            problems=["plant.yaml:9: lines.line1: no profile 'cnc'"],
        ),
        EXIT_ACT,
        "plant.yaml",
        "plant.yaml:9: lines.line1.devices.CNC-01.profile",
        "docker compose run --rm admin check",
    ),
    "boards of another time zone": Broken(
        lambda e: replace(e, boards_time_zone="America/Chicago"),
        EXIT_ACT,
        "grafana",
        "the boards show America/Chicago",
        "restart grafana",
    ),
    "two of one name": Broken(
        lambda e: seen.with_status(
            e,
            "oee",
            problems=["the broker gives our connection to another oee with the name 1: give each a MILLRACE_INSTANCE of its own"],
        ),
        EXIT_ACT,
        "oee",
        "two of this name",
        "stop one",
    ),
    "an outage just over": Broken(
        lambda e: seen.with_status(
            e,
            "gateway",
            figures={**seen.FIGURES["gateway"], "outbox_oldest_s": 7_300, "outbox_messages": 90_000, "outbox_drain_s": 200},
        ),
        EXIT_MENDS,
        "gateway edge-1",
        "90,000 messages wait in its outbox, the oldest 2 h old; it is caught up in 3 min",
        "",
    ),
    "an outbox that does not get less": Broken(
        lambda e: seen.with_status(
            e, "gateway", figures={**seen.FIGURES["gateway"], "outbox_oldest_s": 7_300, "outbox_messages": 90_000}
        ),
        EXIT_ACT,
        "gateway edge-1",
        "they do not get less",
        "millrace-ingest status",
    ),
    "a restart a moment ago": Broken(restarted, EXIT_MENDS, "ingest", "starts; it began 2 s ago", ""),
    "a service that runs and answers nothing": Broken(
        lambda e: seen.with_part(e, "oee", problem="no answer from oee:9103 within 4 s"),
        EXIT_ACT,
        "oee",
        "does not answer: no answer from oee:9103",
        "docker compose restart oee",
    ),
    "a step that fails for a minute": Broken(
        lambda e: seen.with_part(e, "oee", live=False, failing={"commit": "fails since 2026-09-21T14:12:00.000Z: disk I/O error"}),
        EXIT_ACT,
        "oee",
        "its step commit fails since",
        "docker compose logs",
    ),
    "a container killed for its memory": Broken(
        lambda e: seen.with_process(e, "grafana", state="restarting", health="", out_of_memory=True, restarts=3),
        EXIT_ACT,
        "grafana",
        "needed more memory",
        "more memory for grafana in .env",
    ),
    "a container that ends again and again": Broken(
        lambda e: seen.with_process(e, "alerts", restarts=7, age_s=9.0, last_words="port 8080 is in use"),
        EXIT_ACT,
        "alerts",
        "ends again and again (7 times so far); its last words: port 8080 is in use",
        "docker compose logs",
    ),
    "a bootstrap that failed": Broken(
        lambda e: seen.with_process(e, "bootstrap-influxdb", exit_code=2, last_words="refuses our administrator token"),
        EXIT_ACT,
        "bootstrap-influxdb",
        "ended with 2",
        "mend what it says",
    ),
    "a container that is paused": Broken(
        lambda e: seen.with_process(e, "ingest", state="paused"), EXIT_ACT, "ingest", "is paused", "docker compose unpause ingest"
    ),
    "messages that ingest cannot store": Broken(
        lambda e: seen.with_status(
            e,
            "ingest",
            problems=[
                "40% of the gateways' messages are not storable, which suggests a cause of our own: nothing that an outbox "
                "holds is parked until that is mended"
            ],
        ),
        EXIT_ACT,
        "ingest",
        "40% of the gateways' messages",
        "millrace-ingest dead-letters list",
    ),
    "another's voice": Broken(
        lambda e: seen.with_status(
            e,
            "ingest",
            problems=[
                "something publishes as CNC-01 that may not: stream 'edge-2.8f3c' is of edge-2, but CNC-01 is read by edge-1; "
                "12 messages are kept as dead letters (dead-letters list --reason foreign)"
            ],
        ),
        EXIT_ACT,
        "ingest",
        "something publishes as CNC-01 that may not",
        "dead-letters list --reason foreign",
    ),
    "a gateway whose rules lack a device": Broken(
        lambda e: seen.with_status(e, "gateway", problems=[REFUSED_TOPIC]),
        EXIT_ACT,
        "gateway edge-1",
        "the broker does not let it speak: it refuses topic factory/line1/CNC-01/telemetry",
        "in plant.yaml",
    ),
    "a database that was put back": Broken(
        lambda e: seen.with_status(
            e,
            "ingest",
            problems=[
                "the database was put back to 2026-09-21T12:00:00.000Z; what outboxes keep is sent again, and the ledger "
                "tells the rest"
            ],
        ),
        EXIT_MENDS,
        "ingest",
        "the database was put back to 2026-",
        "millrace-ingest status",
    ),
    "a problem that no rule knows": Broken(
        lambda e: seen.with_status(e, "rollup", problems=["something new is wrong"]),
        EXIT_ACT,
        "rollup",
        "something new is wrong",
        "docker compose logs --since 10m rollup",
    ),
}
