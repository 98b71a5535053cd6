"""Bisecting against a database that follows InfluxDB's rules: 400 writes nothing, 422 writes the rest."""

import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.errors import Unavailable
from millrace_contract.runtime.influx import BadLines, Influx, PartialWrite, Refused
from millrace_contract.testing import Influxd
from millrace_ingest.rejects import Suspects, write_lines


@dataclass
class RuledDatabase:
    """Lines that begin with `bad` can't be parsed; with `conflict` or `old` they are dropped, for one reason or another."""

    stored: set[bytes] = field(default_factory=set)
    requests: int = 0
    fail_at: int | None = None

    def write(self, body: bytes) -> None:
        self.requests += 1
        if self.requests == self.fail_at:
            raise Unavailable("away")
        lines = body.split(b"\n")
        if any(line.startswith(b"bad") for line in lines):
            raise BadLines("unable to parse")
        conflicts = [line for line in lines if line.startswith(b"conflict")]
        old = [line for line in lines if line.startswith(b"old")]
        self.stored.update(line for line in lines if not line.startswith((b"conflict", b"old")))
        # As measured on 2.9.1: with two reasons in one body only one of them is told, with its own count.
        if conflicts:
            raise PartialWrite("type conflict", len(conflicts))
        if old:
            raise PartialWrite("outside retention", len(old))


lines_of = st.lists(st.sampled_from(["good", "good", "good", "bad", "conflict", "old"]), max_size=60).map(
    lambda kinds: [f"{kind} {place}".encode() for place, kind in enumerate(kinds)]
)


@given(lines_of)
def test_exactly_the_offenders_are_rejected_and_all_others_stored(lines: list[bytes]) -> None:
    database = RuledDatabase()
    rejects = write_lines(database.write, lines)
    assert [reject.index for reject in rejects] == [at for at, line in enumerate(lines) if not line.startswith(b"good")]
    codes = {b"bad": "refused_line", b"conflict": "conflict", b"old": "outside_retention"}
    assert database.stored == {line for line in lines if line.startswith(b"good")}
    for reject in rejects:
        assert reject.code == codes[lines[reject.index].split()[0]]


def test_a_good_batch_costs_one_request() -> None:
    database = RuledDatabase()
    assert write_lines(database.write, [b"good %d" % place for place in range(5000)]) == []
    assert database.requests == 1


def test_one_bad_line_of_5000_costs_few_requests() -> None:
    database = RuledDatabase()
    lines = [b"good %d" % place for place in range(5000)]
    lines[3217] = b"bad"
    assert [reject.index for reject in write_lines(database.write, lines)] == [3217]
    assert database.requests < 30


def test_a_whole_batch_of_conflicts_costs_one_request() -> None:
    database = RuledDatabase()
    assert len(write_lines(database.write, [b"conflict %d" % place for place in range(5000)])) == 5000
    assert database.requests == 1


@pytest.mark.parametrize("fail_at", [1, 2, 3, 7])
def test_a_database_that_goes_away_meanwhile_ends_the_attempt(fail_at: int) -> None:
    database = RuledDatabase(fail_at=fail_at)
    with pytest.raises(Unavailable):
        write_lines(database.write, [b"good", b"bad", b"conflict", b"good"])


def test_a_wrong_token_is_nothing_to_bisect() -> None:
    requests = 0

    def write(_body: bytes) -> None:
        nonlocal requests
        requests += 1
        raise Refused("401")

    with pytest.raises(Refused):
        write_lines(write, [b"a", b"b"])
    assert requests == 1


def test_no_lines_no_request() -> None:
    database = RuledDatabase()
    assert write_lines(database.write, []) == []
    assert database.requests == 0


def test_suspects_are_written_apart_for_a_while() -> None:
    suspects = Suspects(keep_s=60.0, most=2)
    assert suspects.part(["a", "b"], 0.0) == [[0, 1]]
    suspects.add("b", 0.0)
    assert suspects.part(["a", "b", "a"], 1.0) == [[0, 2], [1]]
    assert suspects.part(["b"], 1.0) == [[0]]
    assert suspects.part(["a", "b"], 61.0) == [[0, 1]]
    suspects.add("c", 0.0)
    suspects.add("d", 0.0)
    assert suspects.part(["b", "d", "a"], 1.0) == [[0, 2], [1]]


@pytest.mark.influx
def test_the_real_database_loses_only_the_offenders(shared_influxd: Influxd) -> None:
    now_ms = time.time_ns() // 1_000_000
    lines = [b"rejects,device=D a=%d %d000000" % (number, now_ms + number) for number in range(500)]
    offenders = {0: b"no line at all", 77: b'rejects,device=D a="text" %d000000', 78: b"rejects, a=1 %d", 499: b"rejects a=NaN %d"}
    for place, line in offenders.items():
        lines[place] = line % (now_ms + place) if b"%" in line else line
    with Influx(shared_influxd.settings()) as influx:
        influx.write("telemetry", b"rejects,device=first a=1 %d000000" % now_ms)
        rejects = write_lines(partial(influx.write, "telemetry"), lines)
        [stored] = influx.query("telemetry", "SELECT a FROM rejects WHERE device = 'D'")
    assert [reject.index for reject in rejects] == list(offenders)
    assert [row[1] for row in stored.rows] == [number for number in range(500) if number not in offenders]


@pytest.mark.influx
def test_late_data_is_taken_within_the_retention_and_refused_beyond(influxd: Influxd) -> None:
    now_ms = time.time_ns() // 1_000_000
    answer: Any = influxd._call("GET", "/api/v2/buckets?name=telemetry")
    rules = {"retentionRules": [{"type": "expire", "everySeconds": 7 * 86_400}]}
    influxd._call("PATCH", f"/api/v2/buckets/{answer['buckets'][0]['id']}", rules)
    with Influx(influxd.settings()) as influx:
        # A week's shard that one point opens takes the others of that week, too: 20 days lie in another week in any case.
        lines = [b"late a=1 %d000000" % (now_ms - days * 86_400_000) for days in (6, 20, 1, 0)]
        [reject] = write_lines(partial(influx.write, "telemetry"), lines)
        [stored] = influx.query("telemetry", "SELECT a FROM late")
    assert (reject.index, reject.code) == (1, "outside_retention")
    assert len(stored.rows) == 3
