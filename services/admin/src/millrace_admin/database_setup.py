"""`millrace bootstrap-influxdb`: first set-up, buckets and scoped tokens. The only module here that talks HTTP."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millrace_contract.errors import ConfigurationProblems, Problem, Refusal, Unavailable
from millrace_contract.language.measurements import PRODUCTION_BUCKET, ROLLUP_1H_BUCKET, ROLLUP_1M_BUCKET, TELEMETRY_BUCKET

from .bootstrap import DATABASE_TOKEN, BootstrapReport
from .database_client import DatabaseClient
from .database_writers import give_writer
from .secret_files import SecretFiles

ADMIN_USER = "admin"
START_TIMEOUT_S = 180.0
RETRY_S = 0.5
DAY_S = 86_400
LONG_SHARD_S = 28 * DAY_S
"""For hours and results that are kept for a year or for good. InfluxDB's own choice, a week, makes 53 stretches of a year, each of
which a board of a year opens: it answered in a fifth of the time with these (docs/storage.md)."""
LONG_KEPT = (PRODUCTION_BUCKET, ROLLUP_1H_BUCKET)


@dataclass(frozen=True, slots=True)
class Grant:
    """Which buckets one consumer may read, and which it may write."""

    consumer: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    """By its token, which may then delete there, too, and shorten the retention."""
    only_writes: tuple[str, ...] = ()
    """By an account that may do nothing else (`database_writers`)."""

    @property
    def description(self) -> str:
        return f"millrace {self.consumer}"


_RESULTS = (TELEMETRY_BUCKET, PRODUCTION_BUCKET)
_ROLLUPS = (ROLLUP_1M_BUCKET, ROLLUP_1H_BUCKET)

GRANTS = (
    Grant("ingest", reads=(PRODUCTION_BUCKET,), only_writes=_RESULTS),  # reads the ledger, for `millrace-ingest status`
    # Its token gives up the oldest raw readings before the disk is full: who may write to a bucket may change its retention.
    Grant("rollup", reads=(*_RESULTS, *_ROLLUPS), writes=(TELEMETRY_BUCKET,), only_writes=(PRODUCTION_BUCKET, *_ROLLUPS)),
    Grant("oee", reads=_RESULTS),
    Grant("alerts", reads=_RESULTS),
    Grant("simulator", reads=_RESULTS),  # the score compares what it served with what is stored
    Grant("grafana", reads=(*_RESULTS, *_ROLLUPS)),
)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long the buckets keep what is in them, as people write it; production is kept for good."""

    raw: str
    rollup_1m: str
    rollup_1h: str

    def seconds(self) -> dict[str, int]:
        """By bucket; 0: for good. Raises ConfigurationProblems."""
        return {
            TELEMETRY_BUCKET: parse_retention(self.raw, "MILLRACE_RETENTION_RAW"),
            PRODUCTION_BUCKET: 0,
            ROLLUP_1M_BUCKET: parse_retention(self.rollup_1m, "MILLRACE_RETENTION_1M"),
            ROLLUP_1H_BUCKET: parse_retention(self.rollup_1h, "MILLRACE_RETENTION_1H"),
        }


def set_up_database(files: SecretFiles, url: str, org: str, retention: Retention) -> BootstrapReport:
    """Wait for InfluxDB, then make what is missing. Raises Unavailable, Refusal, or ConfigurationProblems for a wrong retention."""
    kept_s = retention.seconds()
    token, password = files.read("admin", DATABASE_TOKEN), files.read("admin", "influx_admin_password")
    if token is None or password is None:
        raise Refusal("the administrator's token is missing: run `millrace bootstrap` first")
    client = DatabaseClient(url, token)
    _wait_until_up(client)
    report = BootstrapReport()
    with files.locked():
        account = {"username": ADMIN_USER, "password": password, "token": token}
        place = {"org": org, "bucket": TELEMETRY_BUCKET, "retentionPeriodSeconds": kept_s[TELEMETRY_BUCKET]}
        _first_set_up(client, account | place, report)
        org_id = _org_id(client, org)
        buckets = {name: _bucket(client, org_id, name, seconds, report) for name, seconds in kept_s.items()}
        for grant in GRANTS:
            written = {name: buckets[name] for name in grant.only_writes}
            if written and give_writer(client, files, grant.consumer, org_id, written):
                report.done.append(f"database account for {grant.consumer} to write with made")
            if _give_token(client, files, grant, org_id, buckets):
                report.done.append(f"database token for {grant.consumer} made")
    return report


def parse_retention(text: str, variable: str = "MILLRACE_RETENTION_RAW") -> int:
    """Seconds of `30d`, `12h`, `2w`; 0 for `forever`. Raises ConfigurationProblems."""
    if text == "forever":
        return 0
    match = re.fullmatch(r"(\d{1,5})(h|d|w)", text)
    seconds = int(match[1]) * {"h": 3600, "d": 86400, "w": 604800}[match[2]] if match else 0
    if seconds < 3600:
        message = f"{text!r} is no retention; write for example 30d, 12h or 8w (at least 1h), or forever"
        raise ConfigurationProblems([Problem("environment", 0, variable, message)])
    return seconds


def _retention_text(seconds: int) -> str:
    for unit, size in (("w", 604800), ("d", 86400), ("h", 3600)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return "forever"


def answers(url: str) -> bool:
    """Is InfluxDB up? Returns at once."""
    try:
        return DatabaseClient(url, "").call("GET", "/health")[0] == 200
    except Unavailable:
        return False


def _wait_until_up(client: DatabaseClient) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            status, _ = client.call("GET", "/health")
            if status == 200:
                return
            reason = f"/health answers {status}"
        except Unavailable as failed:
            reason = failed.reason
        if time.monotonic() > deadline:
            raise Unavailable(f"InfluxDB did not get ready within {START_TIMEOUT_S:.0f} s: {reason}")
        time.sleep(RETRY_S)


def _first_set_up(client: DatabaseClient, request: dict[str, object], report: BootstrapReport) -> None:
    if client.expect("GET", "/api/v2/setup")["allowed"]:
        client.expect("POST", "/api/v2/setup", request)
        report.done.append(f"database set up, organisation {request['org']}")


def _org_id(client: DatabaseClient, org: str) -> str:
    # Without a filter: a name that does not exist answers 404, which would read as a failure of the database.
    orgs = {each["name"]: each["id"] for each in client.expect("GET", "/api/v2/orgs?limit=100")["orgs"]}
    if org not in orgs:
        known = ", ".join(sorted(orgs))
        message = f"there is no organisation {org!r} in the database; there are: {known}"
        raise ConfigurationProblems([Problem("environment", 0, "MILLRACE_INFLUX_ORG", message)])
    return str(orgs[org])


def _bucket(client: DatabaseClient, org_id: str, name: str, retention_s: int, report: BootstrapReport) -> str:
    # 0: for good; an empty list would leave what is there. Without the shards a shorter retention is refused (422).
    shard_s = _shard_s(name, retention_s)
    rules = [{"type": "expire", "everySeconds": retention_s, "shardGroupDurationSeconds": shard_s}]
    buckets = client.expect("GET", f"/api/v2/buckets?orgID={org_id}&limit=100")["buckets"]
    present = next((bucket for bucket in buckets if bucket["name"] == name), None)
    if present is None:
        present = client.expect("POST", "/api/v2/buckets", {"orgID": org_id, "name": name, "retentionRules": rules})
        report.done.append(f"bucket {name} made")
    elif (present_s := _seconds(present["retentionRules"])) != (retention_s, shard_s):
        client.expect("PATCH", f"/api/v2/buckets/{present['id']}", {"retentionRules": rules})
        changed = f"retention changed to {_retention_text(retention_s)}" if present_s[0] != retention_s else "shards made longer"
        report.done.append(f"bucket {name}: {changed}")
    return str(present["id"])


def _shard_s(name: str, retention_s: int) -> int:
    """The stretches in which a bucket is stored, each removed when all of it is too old; InfluxDB's own, but for LONG_KEPT."""
    if name in LONG_KEPT and (not retention_s or retention_s >= 52 * 7 * DAY_S):
        return LONG_SHARD_S
    if not retention_s or retention_s >= 180 * DAY_S:
        return 7 * DAY_S
    return DAY_S if retention_s >= 2 * DAY_S else 3600


def _seconds(rules: list[dict[str, int]]) -> tuple[int, int]:
    """Retention and shards."""
    return sum(rule["everySeconds"] for rule in rules), sum(rule["shardGroupDurationSeconds"] for rule in rules)


def _give_token(client: DatabaseClient, files: SecretFiles, grant: Grant, org_id: str, buckets: Mapping[str, str]) -> bool:
    """True when a new token was made. InfluxDB keeps only hashes: a token whose file is missing cannot be read back."""
    wanted = {("read", buckets[name]) for name in grant.reads} | {("write", buckets[name]) for name in grant.writes}
    authorizations = client.expect("GET", f"/api/v2/authorizations?orgID={org_id}&limit=100")["authorizations"]
    present = [each for each in authorizations if each["description"] == grant.description]
    held = files.read(grant.consumer, DATABASE_TOKEN)
    if held is not None and len(present) == 1 and _permissions(present[0]) == wanted and _is_valid(client, held):
        return False
    permissions = [
        {"action": action, "resource": {"type": "buckets", "id": bucket, "orgID": org_id}} for action, bucket in sorted(wanted)
    ]
    request = {"orgID": org_id, "description": grant.description, "permissions": permissions}
    made = client.expect("POST", "/api/v2/authorizations", request)
    files.write(grant.consumer, DATABASE_TOKEN, made["token"] + "\n")
    # Last, so that a kill before this line leaves one authorization too many, which the next run takes away.
    for old in present:
        client.expect("DELETE", f"/api/v2/authorizations/{old['id']}")
    return True


def _permissions(authorization: dict[str, Any]) -> set[tuple[str, str]]:
    return {(each["action"], each["resource"].get("id", "")) for each in authorization["permissions"]}


def _is_valid(client: DatabaseClient, token: str) -> bool:
    status, _ = client.call("GET", "/api/v2/buckets?limit=1", token=token)
    return status != 401
