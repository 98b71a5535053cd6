"""Doctor at the database: its buckets, a point written and read back, what each consumer's token may do, and what came last."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from urllib.parse import quote

from pydantic import SecretStr

from millrace_contract.errors import Refusal, Unavailable
from millrace_contract.language.measurements import DOCTOR, PRODUCTION_BUCKET, TELEMETRY_BUCKET
from millrace_contract.language.points import doctor_line
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.influx import BadLines, Influx, PartialWrite
from millrace_contract.runtime.settings import DatabaseSettings

from ..bootstrap import DATABASE_TOKEN
from ..database_client import DatabaseClient
from ..database_setup import GRANTS, Grant
from ..database_writers import WRITER, may_write
from ..secret_files import SecretFiles
from .evidence import DatabaseFacts, TokenFacts
from .hops import address_of, asked, in_words

ANSWER_S = 10.0
SEEN_WITHIN = "2h"
"""How far back it is looked for what a device sent last."""


class DatabaseProbe:
    """Raises nothing: what goes wrong is what it looks for."""

    def __init__(self, url: str, org: str, files: SecretFiles, wanted: frozenset[str], clock: Clock) -> None:
        self._url, self._org, self._files, self._wanted, self._clock = url, org, files, wanted, clock
        self._token = files.read("admin", DATABASE_TOKEN) or ""
        self._client = DatabaseClient(url, self._token, read_s=ANSWER_S)

    def facts(self) -> DatabaseFacts:
        try:
            _, _, date_ms = asked(address_of(self._url), "/health")
        except (OSError, http.client.HTTPException) as error:
            return DatabaseFacts(self._url, reach=in_words(error, address_of(self._url)))
        asked_ms = self._clock.now_ms()
        try:
            status, answer = self._client.call("GET", "/api/v2/buckets?limit=100")
            if status != 200:
                return DatabaseFacts(self._url, refused=f"it answers {status}", date_ms=date_ms, asked_ms=asked_ms)
            buckets = frozenset(str(each["name"]) for each in answer["buckets"])
            return DatabaseFacts(
                self._url,
                buckets=buckets,
                wanted_buckets=self._wanted,
                echo=self._echo() if PRODUCTION_BUCKET in buckets else None,
                tokens=tuple(self._token_facts(grant) for grant in GRANTS),
                date_ms=date_ms,
                asked_ms=asked_ms,
            )
        except Unavailable as problem:
            return DatabaseFacts(self._url, reach=problem.reason, date_ms=date_ms, asked_ms=asked_ms)

    def last_stored_ms(self) -> Mapping[str, int] | None:
        """When ingest last noted messages of each device."""
        query = f'SELECT last("messages") FROM "device_lag" WHERE time > now() - {SEEN_WITHIN} GROUP BY "device"'  # noqa: S608
        try:
            with self._influx() as influx:
                return {one.tags["device"]: int(one.rows[0][0]) for one in influx.query(TELEMETRY_BUCKET, query)}
        except (Unavailable, Refusal):
            return None

    def _echo(self) -> str | None:
        now_ms = self._clock.now_ms()
        try:
            with self._influx() as influx:
                influx.write(PRODUCTION_BUCKET, doctor_line(now_ms))
                found = influx.query(PRODUCTION_BUCKET, f'SELECT last("asked_ms") FROM "{DOCTOR}"')  # noqa: S608
        except (Unavailable, Refusal, BadLines, PartialWrite) as problem:
            return str(problem)
        came_back = int(found[0].rows[0][1]) if found else None
        return None if came_back == now_ms else "what was read is not what was written"

    def _token_facts(self, grant: Grant) -> TokenFacts:
        token = self._files.read(grant.consumer, DATABASE_TOKEN)
        if token is None:
            return TokenFacts(grant.consumer, problem="is missing")
        status, answer = self._client.call("GET", "/api/v2/buckets?limit=100", token=token)
        if status == 401:
            return TokenFacts(grant.consumer, problem="is refused (401)")
        readable = {each["name"] for each in answer["buckets"]} if status == 200 else set()
        lacks = [f"read {bucket}" for bucket in grant.reads if bucket not in readable]
        lacks += [f"write {bucket}" for bucket in grant.writes if not self._may_write(bucket, token)]
        writer = self._files.read(grant.consumer, WRITER) or ""
        lacks += [f"write {bucket}" for bucket in grant.only_writes if not may_write(self._client, writer, bucket)]
        return TokenFacts(grant.consumer, lacks=tuple(lacks))

    def _may_write(self, bucket: str, token: str) -> bool:
        """Nothing is written: with the right to write, an empty body is refused as an empty one."""
        path = f"/api/v2/write?org={quote(self._org)}&bucket={quote(bucket)}&precision=ns"
        status, _ = self._client.call("POST", path, token=token)
        return status not in (401, 403, 404)

    def _influx(self) -> Influx:
        settings = DatabaseSettings(influx_url=self._url, influx_org=self._org, influx_token=SecretStr(self._token))
        return Influx(settings, timeout_s=ANSWER_S)
