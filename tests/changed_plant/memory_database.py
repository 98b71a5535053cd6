"""A database without a server: keeps lines as ingest writes them, and answers the few forms of InfluxQL that services ask.

`test_memory_database.py` puts the same lines and questions to it and to a real influxd.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from millrace_contract.errors import Unavailable
from millrace_contract.runtime.influx import Series

Tags = tuple[tuple[str, str], ...]
_HEAD = re.compile(r"(?:\\.|[^ \\])+")
_FIELD = re.compile(r'((?:\\.|[^=,\\])+)=("(?:\\.|[^"\\])*"|[^,]+)')
_SELECT = re.compile(
    r"SELECT (?P<columns>.+?) FROM (?P<source>\S+) WHERE (?P<where>.+?)"
    r"(?: GROUP BY (?P<group>.+?))?(?: ORDER BY time (?P<order>ASC|DESC))?(?: LIMIT (?P<limit>\d+))?$"
)
_SHOW = re.compile(r'SHOW TAG VALUES WITH KEY = "?(?P<key>\w+)"?(?: WHERE (?P<where>.+))?$')
_TIME = re.compile(r"time (>=|<) (-?\d+)ms")
_OWN_TEXT = re.compile(r"\"(_\w+)\" = '((?:\\.|[^'\\])*)'")
_OWN_NUMBER = re.compile(r'"(_\w+)" = (-?\d+)')
_TAG = re.compile(r"\"?\b([a-z]\w*)\"? = '((?:\\.|[^'\\])*)'")


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


class MemoryDatabase:
    """Buckets of points: (measurement, tags) -> time in ns -> fields. `away`: it does not answer."""

    def __init__(self) -> None:
        self.away = False
        self.buckets: dict[str, dict[tuple[str, Tags], dict[int, dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))

    def __enter__(self) -> MemoryDatabase:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def write(self, bucket: str, body: bytes) -> None:
        if self.away:
            raise Unavailable("the database is away")
        for line in body.decode().splitlines():
            head = _HEAD.match(line)
            assert head is not None, line
            fields, _, time_ns = line[head.end() + 1 :].rpartition(" ")
            measurement, *tags = re.split(r"(?<!\\),", head[0])
            key = (_plain(measurement), tuple(sorted(_pair(tag) for tag in tags)))
            values = {_plain(name): _value(text) for name, text in _FIELD.findall(fields)}
            self.buckets[bucket][key].setdefault(int(time_ns), {}).update(values)

    def query(self, bucket: str, influxql: str, **parameters: str | float) -> list[Series]:
        if self.away:
            raise Unavailable("the database is away")
        for name, value in parameters.items():
            influxql = influxql.replace(f"${name}", f"'{value}'")
        if (show := _SHOW.match(influxql)) is not None:
            return self._tag_values(bucket, show["key"], _tags_wanted(show["where"] or ""))
        asked = _SELECT.match(influxql)
        assert asked is not None, f"a form of query that this database does not know: {influxql}"
        return self._select(bucket, asked)

    def _tag_values(self, bucket: str, key: str, wanted: dict[str, str]) -> list[Series]:
        found: dict[str, set[str]] = defaultdict(set)
        for (measurement, tags), points in self.buckets[bucket].items():
            have = dict(tags)
            if points and key in have and all(have.get(name) == value for name, value in wanted.items()):
                found[measurement].add(have[key])
        return [Series(name, {}, ("key", "value"), [[key, each] for each in sorted(found[name])]) for name in sorted(found)]

    def _select(self, bucket: str, asked: re.Match[str]) -> list[Series]:
        is_wanted = _source(asked["source"])
        columns = [_plain(each.strip().strip('"')) for each in asked["columns"].split(", ")]
        low, high = -(1 << 62), 1 << 62
        for sign, ms in _TIME.findall(asked["where"]):
            low, high = (int(ms) * 1_000_000, high) if sign == ">=" else (low, int(ms) * 1_000_000)
        wanted = _tags_wanted(asked["where"])
        fields_wanted: dict[str, Any] = {name: _plain(text) for name, text in _OWN_TEXT.findall(asked["where"])}
        fields_wanted |= {name: float(number) for name, number in _OWN_NUMBER.findall(asked["where"])}
        found: dict[str, list[tuple[int, list[Any]]]] = defaultdict(list)
        for (measurement, tags), points in self.buckets[bucket].items():
            have = dict(tags)
            if not is_wanted(measurement) or any(have.get(name) != value for name, value in wanted.items()):
                continue
            for time_ns, fields in points.items():
                if any(fields.get(name) != value for name, value in fields_wanted.items()):
                    continue
                if low <= time_ns < high and any(column in fields for column in columns):
                    row = [fields.get(column, have.get(column)) for column in columns]
                    found[measurement].append((time_ns, row))
        series = []
        for measurement in sorted(found):
            rows = sorted(found[measurement], key=lambda each: each[0], reverse=asked["order"] == "DESC")
            limit = int(asked["limit"] or len(rows))
            shown = [[time_ns // 1_000_000, *row] for time_ns, row in rows[:limit]]
            series.append(Series(measurement, {}, ("time", *columns), shown))
        return series


def _pair(tag: str) -> tuple[str, str]:
    name, _, value = tag.partition("=")
    return _plain(name), _plain(value)


def _value(text: str) -> Any:
    return _plain(text[1:-1]) if text.startswith('"') else float(text.rstrip("i"))


def _tags_wanted(where: str) -> dict[str, str]:
    return {name: _plain(value) for name, value in _TAG.findall(where)}


def _source(text: str) -> Callable[[str], bool]:
    if text.startswith("/"):
        pattern = re.compile(text.strip("/"))
        return lambda name: pattern.search(name) is not None
    name = _plain(text.strip('"'))
    return lambda measurement: measurement == name
