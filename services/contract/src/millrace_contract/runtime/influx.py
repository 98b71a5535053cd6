"""InfluxDB 2: write line protocol, query InfluxQL; failures sorted by what to do about them. The only use of influxdb_client."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol, cast

import msgspec
import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException

from ..errors import Refusal, Unavailable
from .logs import get_logger
from .settings import DatabaseSettings, DatabaseWriterSettings


class BadLines(Exception):
    """400: a line cannot be read; 413: the body is too large. Nothing of it was written. Bisect."""


class PartialWrite(Exception):
    """422: some points were dropped (type conflict, outside retention), the rest was written.

    `dropped` is the number that the database names: never more than were dropped, and fewer where it had several reasons.
    """

    def __init__(self, reason: str, dropped: int | None = None) -> None:
        super().__init__(reason)
        self.dropped = dropped


class Failing(Unavailable):
    """500, 502 or 504: the database answers, but could not do it. Usually for now; when small writes work, for this body."""


class NoRoom(Unavailable):
    """500 because its disk is full, or was: then it goes on so until it is begun anew (`database_restart`). No body is at fault."""


class Refused(Refusal):
    """401, 403 or 404: token, rights or bucket are wrong. Keep the data; a person must act."""


class QueryFailed(Refusal):
    """The database answered that the query itself is wrong, or what answered is no InfluxDB."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer: rows as tuples in the order of `columns`; `time` is in milliseconds unless asked otherwise."""

    name: str
    tags: dict[str, str]
    columns: tuple[str, ...]
    rows: list[list[Any]]


@dataclass(frozen=True, slots=True)
class BucketRetention:
    """How long a bucket keeps what is in it (0: for good), and the stretches in which it is stored and removed, in seconds."""

    kept_s: int
    shard_s: int


class _SeriesWire(msgspec.Struct):
    name: str = ""
    tags: dict[str, str] = {}
    columns: list[str] = []
    values: list[list[Any]] = []


class _Result(msgspec.Struct):
    series: list[_SeriesWire] = []
    error: str | None = None


class _Rule(msgspec.Struct):
    everySeconds: int = 0  # noqa: N815 - InfluxDB's own name
    shardGroupDurationSeconds: int = 0  # noqa: N815


class _Bucket(msgspec.Struct):
    id: str
    retentionRules: list[_Rule] = []  # noqa: N815


class _Buckets(msgspec.Struct):
    buckets: list[_Bucket] = []


class _Answer(msgspec.Struct):
    results: list[_Result] = []
    error: str | None = None


class _Ready(msgspec.Struct):
    started: str | None = None


_log = get_logger(__name__)
_ready = msgspec.json.Decoder(_Ready)
_decoder = msgspec.json.Decoder(_Answer)
_DROPPED = re.compile(r"dropped[= ](\d+)")
_NO_ROOM = re.compile("no space left on device|disk quota exceeded")
"""Also inside `opening shard previously failed with: ...`; behind other causes of that no restart helps."""
_FULL = (
    "its disk is full, or was when it failed to write; make room on it. Then its start script begins it anew within a minute; "
    "where it runs without ours, restart it"
)


class Queries(Protocol):
    """What who only reads needs of `Influx`."""

    def query(self, bucket: str, influxql: str, **parameters: str | float) -> list[Series]:
        """Rows of InfluxQL. Raises Unavailable, Refused or QueryFailed."""


class Influx:
    """One connection to one InfluxDB. Not shared between threads that write: each has its own."""

    def __init__(self, settings: DatabaseSettings, *, timeout_s: float = 10.0, epoch: Literal["ms", "ns"] = "ms") -> None:
        """`epoch`: the unit in which times of queries come back."""
        self._epoch = epoch
        self._settings = settings
        self._timeout_ms = int(timeout_s * 1000)
        self._url = settings.influx_url.rstrip("/")
        self._pool = urllib3.PoolManager(timeout=urllib3.Timeout(total=timeout_s), retries=False, maxsize=2)
        self._use(self._secrets())

    def __enter__(self) -> Influx:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._write_api.close()
        self._client.close()
        self._pool.clear()

    def write(self, bucket: str, body: bytes) -> None:
        """Write lines in nanoseconds. Returning means that the database has them on disk.

        Raises Unavailable (try again), BadLines, PartialWrite or Refused.
        """
        try:
            self._write(bucket, body)
        except Refused:
            if not self._has_new_secrets():
                raise
            self._write(bucket, body)

    def _write(self, bucket: str, body: bytes) -> None:
        if self._writer:
            self._write_as(self._writer, bucket, body)
            return
        try:
            self._write_api.write(bucket=bucket, record=body, write_precision=cast("WritePrecision", WritePrecision.NS))
        except ApiException as error:
            raise self._classified(error.status, error.body, error.headers, bucket, "influx_token") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"InfluxDB at {self._url} does not answer: {_short(error)}") from error

    def _write_as(self, writer: str, bucket: str, body: bytes) -> None:
        """By the 1.x interface, whose accounts can neither delete nor manage anything: a token that writes could do both."""
        headers = urllib3.make_headers(basic_auth=writer)
        try:
            response = self._pool.request("POST", f"{self._url}/write?db={bucket}&precision=ns", body=body, headers=headers)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"InfluxDB at {self._url} does not answer: {_short(error)}") from error
        if response.status != 204:
            raise self._classified(response.status, response.data, response.headers, bucket, "influx_writer")

    def query(self, bucket: str, influxql: str, **parameters: str | float) -> list[Series]:
        """Run InfluxQL; `$name` in it is bound to `parameters`. Times come back in `epoch`.

        Raises Unavailable, Refused or QueryFailed.
        """
        try:
            return self._query(bucket, influxql, parameters)
        except Refused:
            if not self._has_new_secrets():
                raise
            return self._query(bucket, influxql, parameters)

    def _query(self, bucket: str, influxql: str, parameters: Mapping[str, str | float]) -> list[Series]:
        fields = {"db": bucket, "q": influxql, "epoch": self._epoch, "params": msgspec.json.encode(parameters).decode()}
        try:
            response = self._pool.request(
                "POST", f"{self._url}/query", fields=fields, headers=self._headers, encode_multipart=False
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"InfluxDB at {self._url} does not answer: {_short(error)}") from error
        if response.status in (401, 403, 404):
            raise self._refused(response.status, bucket, response.data)
        if response.status >= 500:
            raise Unavailable(f"InfluxDB answers {response.status}: {_body(response.data)}", _retry_after(response.headers))
        if response.status != 200:
            raise QueryFailed(f"InfluxDB answers {response.status}: {_body(response.data)}")
        try:
            answer = _decoder.decode(response.data)
        except msgspec.DecodeError as error:
            raise QueryFailed(f"what answers at {self._url} is no InfluxDB; see MILLRACE_INFLUX_URL") from error
        return list(_series(answer))

    def _secrets(self) -> tuple[str, str]:
        """The token, and the account that writes: empty where the token does."""
        settings = self._settings
        return settings.secret("influx_token"), settings.secret("influx_writer") if isinstance(
            settings, DatabaseWriterSettings
        ) else ""

    def _use(self, secrets: tuple[str, str]) -> None:
        token, self._writer = self._used = secrets
        org = self._settings.influx_org
        self._headers = {"Authorization": f"Token {token}", "Accept": "application/json"}
        self._client = InfluxDBClient(url=self._url, token=token, org=org, timeout=self._timeout_ms, retries=False)
        self._write_api = self._client.write_api(write_options=SYNCHRONOUS)

    def _has_new_secrets(self) -> bool:
        """Whether a file was changed since: what it holds now is used from now on."""
        secrets = self._secrets()
        if secrets == self._used:
            return False
        self._write_api.close()
        self._client.close()
        self._use(secrets)
        _log.info("database_secrets_read_again")
        return True

    def retention(self, bucket: str) -> BucketRetention:
        """Raises Unavailable, Refused or QueryFailed."""
        rules = self._bucket(bucket).retentionRules
        return BucketRetention(rules[0].everySeconds, rules[0].shardGroupDurationSeconds) if rules else BucketRetention(0, 0)

    def set_retention(self, bucket: str, retention: BucketRetention) -> None:
        """Needs a token that may write to the bucket. Raises as `retention`."""
        rule = {"type": "expire", "everySeconds": retention.kept_s, "shardGroupDurationSeconds": retention.shard_s}
        self._manage("PATCH", f"/api/v2/buckets/{self._bucket(bucket).id}", bucket, {"retentionRules": [rule]})

    def _bucket(self, bucket: str) -> _Bucket:
        answer = self._manage("GET", f"/api/v2/buckets?name={bucket}", bucket)
        found = msgspec.json.decode(answer, type=_Buckets).buckets
        if not found:
            raise self._refused(404, bucket, "no such bucket")
        return found[0]

    def _manage(self, method: str, path: str, bucket: str, body: object = None) -> bytes:
        try:
            response = self._pool.request(
                method,
                self._url + path,
                body=None if body is None else msgspec.json.encode(body),
                headers={**self._headers, "Content-Type": "application/json"},
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"InfluxDB at {self._url} does not answer: {_short(error)}") from error
        if response.status in (401, 403, 404):
            raise self._refused(response.status, bucket, response.data)
        if response.status >= 500:
            raise Unavailable(f"InfluxDB answers {response.status}: {_body(response.data)}", _retry_after(response.headers))
        if response.status != 200:
            raise QueryFailed(f"InfluxDB answers {response.status}: {_body(response.data)}")
        return response.data

    def started(self) -> str | None:
        """Since when it runs, in its own words; None where it does not say (another product, or one in between)."""
        try:
            response = self._pool.request("GET", f"{self._url}/ready")
            return _ready.decode(response.data).started if response.status == 200 else None
        except (urllib3.exceptions.HTTPError, OSError, msgspec.DecodeError):
            return None

    def _classified(self, status: int | None, body: Any, headers: Any, bucket: str, secret: str) -> Exception:
        reason = f"InfluxDB answers {status}: {_body(body)}"
        if status in (400, 413):
            return BadLines(reason)
        if status == 422:
            return PartialWrite(reason, _dropped(body))
        if status in (401, 403, 404):
            return self._refused(status, bucket, body, secret)
        if status == 500 and (cause := _NO_ROOM.search(_text(body))):
            return NoRoom(f"InfluxDB answers 500: {cause[0]}: {_FULL}")
        kind = Failing if status in (500, 502, 504) else Unavailable
        return kind(reason, _retry_after(headers or {}))

    def _refused(self, status: int, bucket: str, body: Any, secret: str = "influx_token") -> Refused:  # noqa: S107 - a field's name
        """For who may not see a bucket, it does not exist: token and bucket are one cause."""
        what = "a token" if secret == "influx_token" else "an account"  # noqa: S105 - a field's name
        way_out = f"{self._settings.source_of(secret)} must be {what} for bucket {bucket}; `millrace bootstrap-influxdb` makes both"
        return Refused(f"InfluxDB at {self._url} answers {status}: {_body(body)}; {way_out}")


def quoted(name: str) -> str:
    """An identifier of InfluxQL (measurement, field, tag)."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def literal(text: str) -> str:
    """A string of InfluxQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _series(answer: _Answer) -> Iterator[Series]:
    if answer.error:
        raise QueryFailed(answer.error)
    for result in answer.results:
        if result.error:
            raise QueryFailed(result.error)
        for series in result.series:
            yield Series(series.name, series.tags, tuple(series.columns), series.values)


def _retry_after(headers: Any) -> float | None:
    text = headers.get("Retry-After")
    return float(text) if text and str(text).isdigit() else None


def _dropped(body: Any) -> int | None:
    found = _DROPPED.search(str(body or ""))
    return int(found[1]) if found else None


def _text(data: Any) -> str:
    return data.decode(errors="replace") if isinstance(data, bytes) else str(data or "")


def _body(data: Any) -> str:
    return " ".join(_text(data).split())[:600]


def _short(error: BaseException) -> str:
    # The library says the rest of its limit to the microsecond: one cause would read as another at each attempt.
    if isinstance(error, ConnectionRefusedError | urllib3.exceptions.NewConnectionError):
        return "connection refused" if "refused" in str(error) else str(error).rpartition(": ")[2]
    if isinstance(error, urllib3.exceptions.TimeoutError | TimeoutError):
        return "no answer in time"
    return str(error).partition("(Caused by ")[2].rstrip(")") or str(error) or type(error).__name__
