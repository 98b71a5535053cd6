"""Runs every query of the committed boards against an InfluxDB and tells how many rows each panel gets.

`python -m boards.answers --url URL --token-file FILE [--from MS --to MS] [--var line=line1]` in grafana/ prints one line
a query and exits 1 if one fails, or is empty where the board does not say that this is normal. Macros and
variables are expanded as Grafana does it; only what these boards use is known.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).resolve().parent.parent / "dashboards"
EMPTY_IS_NORMAL = "Empty is normal here."
DATABASES = {"millrace-telemetry": "telemetry", "millrace-production": "production", "millrace-rollup-1h": "rollup_1h"}
POINTS_A_PANEL = 500
TIMEOUT_S = 30.0

Chosen = dict[str, list[str]]


class QueryFailed(Exception):
    """InfluxDB refused a query; the text is its own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one query of one panel brought: `rows`, or the `error`; and how long it took."""

    board: str
    panel: str
    rows: int
    error: str | None
    may_be_empty: bool
    milliseconds: float

    @property
    def is_well(self) -> bool:
        return self.error is None and (self.rows > 0 or self.may_be_empty)

    def __str__(self) -> str:
        outcome = f"error: {self.error}" if self.error else f"{self.rows} rows" if self.rows else "empty"
        empty = " (may be empty)" if self.may_be_empty and not self.rows else ""
        return f"{self.board} / {self.panel}: {outcome}{empty}, {self.milliseconds:.0f} ms"


def run_panels(
    url: str, token: str, variables: Mapping[str, str], start_ms: int, end_ms: int, *, boards: Collection[str] = ()
) -> list[Answer]:
    """Every query of every panel between two times (ms since the epoch); of all boards, or of those with these titles.

    `variables` pins some variables, the rest takes its first value.

    A board that is made for days or longer is asked over its own time, up to the same end, where that is longer. A panel that is
    repeated for a variable runs once for each of its values. Raises OSError when InfluxDB cannot be reached.
    """
    found: list[Answer] = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        board = json.loads(path.read_text(encoding="utf-8"))
        if boards and board["title"] not in boards:
            continue
        influx = _Influx(url, token, min(start_ms, end_ms - _days(board) * 86_400_000), end_ms)
        found += _run_board(influx, board, variables)
    return found


def _days(board: Mapping[str, Any]) -> int:
    """How many days the board shows by itself; 0 for those that show hours."""
    own = re.fullmatch(r"now-(\d+)d", board["time"]["from"])
    return int(own[1]) if own else 0


def _run_board(influx: _Influx, board: Mapping[str, Any], pinned: Mapping[str, str]) -> Iterator[Answer]:
    title = board["title"]
    chosen: Chosen = {}
    for variable in board["templating"].get("list", []):
        name = variable["name"]
        began_s = time.monotonic()
        values, failed = [], None
        try:
            values = influx.values(variable["datasource"]["uid"], _fill(variable["query"], chosen))
        except QueryFailed as error:
            failed = str(error)
        milliseconds = (time.monotonic() - began_s) * 1000
        values = _matching(values, variable.get("regex", ""))
        yield Answer(title, f"${name}", len(values), failed, may_be_empty=False, milliseconds=milliseconds)
        if name in pinned:
            values = [pinned[name]]
        chosen[name] = values if variable.get("includeAll") else values[:1]
    for panel in board["panels"]:
        repeated = panel.get("repeat")
        for copy in [{**chosen, repeated: [value]} for value in chosen.get(repeated, [])] if repeated else [chosen]:
            may_be_empty = panel.get("description", "").endswith(EMPTY_IS_NORMAL)
            for target in panel["targets"]:
                rows, failed, began_s = 0, None, time.monotonic()
                try:
                    rows = influx.rows(target["datasource"]["uid"], _fill(target["query"], copy), panel.get("interval"))
                except QueryFailed as error:
                    failed = str(error)
                milliseconds = (time.monotonic() - began_s) * 1000
                yield Answer(title, _fill(panel["title"], copy), rows, failed, may_be_empty, milliseconds)


def _fill(text: str, chosen: Chosen) -> str:
    """`$name` and `${name:raw}` replaced by the value; macros are left for later."""
    for name, values in chosen.items():
        value = values[0] if values else ""
        text = re.sub(rf"\$\{{{name}(:raw)?\}}|\${name}\b", value.replace("\\", r"\\"), text)
    return text


def _matching(values: list[str], regex: str) -> list[str]:
    """Values that match; where the pattern has a group, what it caught, if anything: Grafana does not look further."""
    hits = filter(None, map(re.compile(regex.strip("/")).search, values))
    return sorted({(hit[1] or "undefined") if hit.re.groups else hit.string for hit in hits})


class _Influx:
    """One database and one range of time. Queries go over the InfluxQL endpoint, as Grafana's do."""

    def __init__(self, url: str, token: str, start_ms: int, end_ms: int) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._start_ms = start_ms
        self._end_ms = end_ms

    def values(self, source: str, query: str) -> list[str]:
        """The first column of a SHOW query, or the second of SHOW TAG VALUES, as Grafana takes it."""
        column = 1 if query.startswith("SHOW TAG VALUES") else 0
        found = [str(row[column]) for series in self._ask(source, query) for row in series.get("values", [])]
        return list(dict.fromkeys(found))

    def rows(self, source: str, query: str, interval: str | None) -> int:
        """How many rows have at least one value beside the time."""
        answer = self._ask(source, self._expand(query, interval))
        return sum(any(value is not None for value in row[1:]) for series in answer for row in series.get("values", []))

    def _expand(self, query: str, interval: str | None) -> str:
        least_s = int(interval.removesuffix("s")) if interval else 1
        step_s = max((self._end_ms - self._start_ms) // POINTS_A_PANEL // 1000, least_s)
        macros = {
            "$timeFilter": f"time >= {self._start_ms}ms and time <= {self._end_ms}ms",
            "$__interval": f"{step_s}s",
            "${__from}": str(self._start_ms),
            "${__to}": str(self._end_ms),
        }
        for macro, text in macros.items():
            query = query.replace(macro, text)
        return query

    def _ask(self, source: str, query: str) -> list[dict[str, Any]]:
        parameters = urllib.parse.urlencode({"db": DATABASES[source], "epoch": "ms"})
        request = urllib.request.Request(  # noqa: S310 - the address is the caller's own
            f"{self._url}/query?{parameters}",
            urllib.parse.urlencode({"q": query}).encode(),
            {"Authorization": f"Token {self._token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            raise QueryFailed(f"{error.code} {error.read().decode(errors='replace').strip()}: {query}") from error
        result = (answer.get("results") or [{}])[0]
        if problem := answer.get("error") or result.get("error"):
            raise QueryFailed(f"{problem}: {query}")
        series: list[dict[str, Any]] = result.get("series", [])
        return series


def main() -> int:
    now_ms = time.time_ns() // 1_000_000
    parser = argparse.ArgumentParser(prog="boards.answers", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--token-file", required=True, type=Path)
    parser.add_argument(
        "--from", dest="start_ms", type=int, default=now_ms - 3_600_000, help="ms since the epoch; default an hour ago"
    )
    parser.add_argument("--to", dest="end_ms", type=int, default=now_ms, help="ms since the epoch; default now")
    parser.add_argument("--var", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    pinned = dict(text.split("=", 1) for text in options.var)
    try:
        answers = run_panels(options.url, options.token_file.read_text().strip(), pinned, options.start_ms, options.end_ms)
    except OSError as error:
        print(f"{options.url}: {error}", file=sys.stderr)
        return 2
    for answer in answers:
        print(answer)
    return int(not all(answer.is_well for answer in answers))


if __name__ == "__main__":
    sys.exit(main())
