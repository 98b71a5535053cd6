"""Writes accepted messages to their buckets, patiently, and says which of them the database will never take."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from millrace_contract.errors import Unavailable
from millrace_contract.language.measurements import PRODUCTION_BUCKET, TELEMETRY_BUCKET
from millrace_contract.language.messages import Status
from millrace_contract.language.points import platform_line
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.influx import Failing

from .archive import Archive
from .backoff import Backoff
from .decoder import Accepted
from .rejects import Reject, Suspects, isolate, write_lines


class Database(Protocol):
    """What is needed of InfluxDB."""

    def write(self, bucket: str, body: bytes) -> None:
        """Lines in nanoseconds; on disk when it returns. Raises Unavailable, BadLines, PartialWrite or Refused."""


class Storage:
    """Owned by the writer thread; the only place that writes to the database."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        patience_s: float,
        wait: Callable[[float], None],
        beat: Callable[[], None],
        archive: Archive | None = None,
    ) -> None:
        """`wait` sleeps, or returns early when the service stops; `beat` is called before each request."""
        self._database = database
        self._clock = clock
        self._patience_s = patience_s
        self._wait = wait
        self._beat = beat
        self._archive = archive
        self._suspects = Suspects()
        self.requests = 0

    def store(self, topics: Sequence[str], messages: Sequence[Accepted]) -> list[Reject]:
        """Writes all messages but those returned. `topics` go with `messages`, place by place.

        Raises Unavailable after `patience_s` of trying, and Refused at once; then some may be written, and all may be again.
        """
        rejects: list[Reject] = []
        for bucket in (TELEMETRY_BUCKET, PRODUCTION_BUCKET):
            places = [place for place, message in enumerate(messages) if message.bucket == bucket]
            for group in self._suspects.part([topics[place] for place in places], self._clock.monotonic_s()):
                lines = [messages[places[index]].line for index in group]
                is_suspect = self._suspects.has(topics[places[group[0]]], self._clock.monotonic_s())
                found = self._write_patiently(bucket, lines, is_suspect=is_suspect)
                rejects += [Reject(places[group[one.index]], one.code, one.reason) for one in found]
                self._keep(bucket, lines, found)
        now_s = self._clock.monotonic_s()
        for reject in rejects:
            self._suspects.add(topics[reject.index], now_s)
        return sorted(rejects, key=lambda reject: reject.index)

    def store_lines(self, bucket: str, lines: Sequence[bytes]) -> list[Reject]:
        """Writes lines of our own. Raises as `store`."""
        rejects = self._write_patiently(bucket, lines)
        self._keep(bucket, lines, rejects)
        return rejects

    def note(self, lines: Sequence[bytes]) -> None:
        """Writes notes about the database to it, and to no archive. Raises Unavailable or Refused, at once."""
        write_lines(self._writer_to(PRODUCTION_BUCKET), lines)

    def probe(self, status: Status) -> None:
        """A small real write to each bucket. Raises Unavailable or Refused, at once."""
        line = platform_line(status, self._clock.now_ms())
        for bucket in (TELEMETRY_BUCKET, PRODUCTION_BUCKET):
            write_lines(self._writer_to(bucket), [line])

    def _write_patiently(self, bucket: str, lines: Sequence[bytes], *, is_suspect: bool = False) -> list[Reject]:
        deadline_s = self._clock.monotonic_s() + self._patience_s
        backoff = Backoff(random.Random())  # noqa: S311 - jitter, no secret
        while True:
            try:
                return write_lines(self._writer_to(bucket), lines)
            except Unavailable as problem:
                pause_s = backoff.next_s(problem.retry_after_s)
                is_failing = isinstance(problem, Failing)
                if (is_failing and is_suspect) or self._clock.monotonic_s() + pause_s > deadline_s:
                    if is_failing:
                        return isolate(self._writer_to(bucket), partial(self._canary, bucket), lines)
                    raise
                self._wait(pause_s)

    def _keep(self, bucket: str, lines: Sequence[bytes], rejects: Sequence[Reject]) -> None:
        if self._archive is not None:
            refused = {reject.index for reject in rejects}
            kept = [line for place, line in enumerate(lines) if place not in refused] if refused else lines
            self._archive.append(bucket, kept, self._clock.now_ms())

    def _canary(self, bucket: str) -> None:
        """Something that any working database takes."""
        self._writer_to(bucket)(f"_canary ok=1 {self._clock.now_ms()}000000".encode())

    def _writer_to(self, bucket: str) -> Callable[[bytes], None]:
        def write(body: bytes) -> None:
            self._beat()
            self.requests += 1
            self._database.write(bucket, body)

        return write
