"""InfluxDB's management API, as far as it is needed here. The only module here that talks HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Protocol

import msgspec
import urllib3

from millrace_contract.errors import Refusal, Unavailable

DOWNLOAD_SILENCE_S = 300.0
"""Before the first byte of a stretch of a large bucket, the database writes what it has in memory."""

NOT_OURS = (
    "InfluxDB refuses our administrator token: its data and the `admin-secrets` volume are not from the same installation. Restore "
    "both from one backup, or make a new operator token with `influxd recovery auth create-operator` and put it into the file "
    "`influx_token` of that volume"
)


class Download(Protocol):
    """An answer that is read in pieces."""

    @property
    def headers(self) -> Mapping[str, str]: ...

    def read(self, size: int, /) -> bytes: ...


class DatabaseClient:
    """The few calls of InfluxDB's management API that are needed here. Raises Unavailable when it does not answer."""

    def __init__(self, url: str, token: str, *, read_s: float = 30.0) -> None:
        self._url = url.rstrip("/")
        self._token = token
        timeout = urllib3.Timeout(connect=5.0, read=read_s)
        self._pool = urllib3.PoolManager(timeout=timeout, retries=False)

    def call(
        self, method: str, path: str, body: object = None, token: str | None = None, *, authorization: str | None = None
    ) -> tuple[int, Any]:
        """Return the status and the decoded answer (None where there is no JSON). With our token, another, or another header."""
        headers = {"Authorization": authorization or f"Token {token or self._token}", "Content-Type": "application/json"}
        payload = None if body is None else msgspec.json.encode(body)
        try:
            response = self._pool.request(method, f"{self._url}{path}", headers=headers, body=payload)
        except urllib3.exceptions.HTTPError as failed:
            raise Unavailable(f"{self._url} does not answer: {failed}") from failed
        try:
            return response.status, msgspec.json.decode(response.data) if response.data else None
        except msgspec.DecodeError:
            return response.status, None

    @contextmanager
    def download(self, path: str) -> Iterator[Download | None]:
        """What is too large for memory; None where there is no such thing (404).

        Raises Refusal and Unavailable, also while it is read.
        """
        try:
            response = self._pool.request(
                "GET",
                f"{self._url}{path}",
                headers={"Authorization": f"Token {self._token}"},
                preload_content=False,
                timeout=urllib3.Timeout(connect=5.0, read=DOWNLOAD_SILENCE_S),
            )
            with closing(response):
                if response.status == 401:
                    raise Refusal(NOT_OURS)
                if response.status not in (200, 404):
                    raise Unavailable(f"InfluxDB answered {response.status} to GET {path}")
                yield response if response.status == 200 else None
        except urllib3.exceptions.HTTPError as failed:
            raise Unavailable(f"{self._url} does not answer: {failed}") from failed

    def expect(self, method: str, path: str, body: object = None) -> Any:
        """The answer to a call that must succeed. Raises Refusal for a wrong token, Unavailable for any other no."""
        status, answer = self.call(method, path, body)
        if status == 401:
            raise Refusal(NOT_OURS)
        if not 200 <= status < 300:
            said = answer.get("message") if isinstance(answer, dict) else None
            raise Unavailable(f"InfluxDB answered {status} to {method} {path}: {said or 'no reason given'}")
        return answer
