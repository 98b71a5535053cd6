"""What is rolled up when: minutes and hours as they close, and again the hours of late data. Keeps nothing of its own.

How far it has come stands in the database, beside the windows: after a kill, a move to another server or a restore, the work
goes on from there, and a window made twice is the same window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from millrace_contract.language.measurements import ROLLUP_1H_BUCKET, ROLLUP_1M_BUCKET
from millrace_contract.language.points import rollup_line
from millrace_contract.plant import PlantModel
from millrace_contract.runtime.influx import PartialWrite, Queries, quoted
from millrace_contract.runtime.logs import get_logger

from . import raw
from .late import due, seen_line
from .raw import RawSource, Signals
from .signals import SignalRule, longest_stale_ms, rule_of
from .timing import BASELINE_MS, HOUR_MS, LONGEST_PROMISE_MS, MINUTE_MS, SETTLE_MS, floor_to
from .windows import RawSample, RollupWindow, Span, roll, wider

PROGRESS = "_progress"
BODY_LINES = 5_000
LATE_HOURS_A_TURN = 100
FULL_LOOK_MS = HOUR_MS
"""All marks are looked at as often as this; in between only those made in the last hours, for hours of the last weeks."""
RECENT_HOURS_MS = 35 * 24 * HOUR_MS

_log = get_logger(__name__)


class RollupDatabase(Queries, Protocol):
    """What is needed of InfluxDB."""

    def write(self, bucket: str, body: bytes) -> None:
        """Lines in nanoseconds. Raises Unavailable, BadLines, PartialWrite or Refused."""


@dataclass
class RollupFigures:
    """What the process says of itself."""

    until_ms: int | None = None
    windows: int = 0
    late_hours: int = 0
    late_waiting: int = 0
    outside_retention: int = 0


class RollUp:
    """`turn` again and again, by one thread. Raises Unavailable or Refused; then the next turn does what this one did not."""

    def __init__(
        self, database: RollupDatabase, plant: Callable[[], PlantModel], *, beat: Callable[[], None], begin_ms: int | None = None
    ) -> None:
        """`beat` is called between two pieces of work. `begin_ms`: roll up again from there, whatever was done before."""
        self.figures = RollupFigures()
        self._database = database
        self._plant = plant
        self._beat = beat
        self._begin_ms = None if begin_ms is None else floor_to(begin_ms, HOUR_MS)
        self._full_look_ms = 0

    def turn(self, now_ms: int) -> bool:
        """One stretch of time, at most an hour, and the hours that are due again. True when more waits to be done at once."""
        closed_ms = floor_to(now_ms - SETTLE_MS, MINUTE_MS)
        until_ms = self._until(closed_ms)
        if until_ms < closed_ms:
            end_ms = min(closed_ms, floor_to(until_ms, HOUR_MS) + HOUR_MS)
            for source in raw.sources(self._database):
                self._roll(source, until_ms, end_ms)
            self._proceed(end_ms)
        more_is_late = self._again(now_ms)
        return more_is_late or (self.figures.until_ms or 0) < closed_ms

    def _until(self, closed_ms: int) -> int:
        """Up to when everything is rolled up that was stored in time."""
        if self.figures.until_ms is None:
            known = None if self._begin_ms is not None else self._progress()
            if known is None:
                known = self._begin_ms if self._begin_ms is not None else self._oldest_ms()
            self.figures.until_ms = min(known, closed_ms) if known is not None else closed_ms
            self._proceed(self.figures.until_ms)
        return self.figures.until_ms

    def _progress(self) -> int | None:
        text = f"SELECT until_ms FROM {quoted(PROGRESS)} ORDER BY time DESC LIMIT 1"  # noqa: S608 - a constant of ours
        found = self._database.query(ROLLUP_1H_BUCKET, text)
        return int(found[0].rows[0][1]) if found else None

    def _oldest_ms(self) -> int | None:
        first_ms = raw.oldest_ms(self._database, {source.measurement for source in raw.sources(self._database)})
        return None if first_ms is None else floor_to(first_ms, HOUR_MS)

    def _proceed(self, until_ms: int) -> None:
        line = rollup_line(PROGRESS, (), {"until_ms": until_ms}, floor_to(until_ms, HOUR_MS))
        self._write(ROLLUP_1H_BUCKET, [line])
        self.figures.until_ms = until_ms

    def _again(self, now_ms: int) -> bool:
        """The hours in which something came late, so many at most that minutes stay in time. True when more of them wait."""
        full = now_ms - self._full_look_ms >= FULL_LOOK_MS or now_ms < self._full_look_ms
        marks = (
            due(self._database)
            if full
            else due(self._database, (now_ms - 2 * FULL_LOOK_MS) * 1000.0, max(now_ms - RECENT_HOURS_MS, 0))
        )
        self.figures.late_waiting = len(marks)
        known = raw.sources(self._database) if marks else []
        hours = sorted({(mark.hour_ms, mark.device) for mark in marks})[:LATE_HOURS_A_TURN]
        chosen: dict[str, list[int]] = {}
        for hour_ms, device in hours:
            chosen.setdefault(device, []).append(hour_ms)
        for device, hours_ms in chosen.items():
            for source in known:
                if source.device == device:
                    self._roll_with_followers(source, hours_ms)
            those = [mark for mark in marks if mark.device == device and mark.hour_ms in hours_ms]
            self._write(ROLLUP_1H_BUCKET, [seen_line(mark) for mark in those])
            self.figures.late_hours += len(hours_ms)
            self.figures.late_waiting -= len(those)
        if full and not self.figures.late_waiting:
            self._full_look_ms = now_ms
        return self.figures.late_waiting > 0

    def _roll_with_followers(self, source: RawSource, hours_ms: list[int]) -> None:
        """The hours, and those later ones that look back into them: for a value that still held, or a counter's last reading."""
        followers = {start_ms for hour_ms in hours_ms for start_ms in self._followers(source, hour_ms + HOUR_MS)}
        for start_ms in sorted(followers.union(hours_ms)):
            end_ms = min(start_ms + HOUR_MS, self.figures.until_ms or 0)
            if start_ms < end_ms:
                self._roll(source, start_ms, end_ms)

    def _followers(self, source: RawSource, end_ms: int) -> set[int]:
        profile = self._plant().profiles.get(source.measurement)
        held_until_ms = end_ms + max(longest_stale_ms(profile), LONGEST_PROMISE_MS)
        hours = set(range(end_ms, held_until_ms, HOUR_MS))
        counters = [name for name in (profile.signals if profile else ()) if rule_of(profile, name).counter]
        lines = raw.read(self._database, source, end_ms - HOUR_MS, end_ms)
        for line, signals in lines.items():
            for name in counters:
                if name not in signals:
                    continue
                later = raw.nearest_good(self._database, source, line, name, (end_ms, end_ms + BASELINE_MS), last=False)
                if later is not None:
                    hours.add(floor_to(later.time_ms, HOUR_MS))
        return hours

    def _roll(self, source: RawSource, start_ms: int, end_ms: int) -> None:
        """The minutes of a stretch within one hour, and the hour where the stretch ends with it."""
        self._beat()
        hour_ms = floor_to(start_ms, HOUR_MS)
        makes_hour = end_ms == hour_ms + HOUR_MS
        profile = self._plant().profiles.get(source.measurement)
        back_ms = longest_stale_ms(profile)
        span = Span(hour_ms if makes_hour else start_ms, end_ms, MINUTE_MS)
        if back_ms < LONGEST_PROMISE_MS and raw.has_promises(
            self._database, source, span.start_ms - LONGEST_PROMISE_MS, span.start_ms - back_ms
        ):
            back_ms = LONGEST_PROMISE_MS
        for line, signals in raw.read(self._database, source, span.start_ms - back_ms, end_ms).items():
            rules = {name: rule_of(profile, name) for name in signals}
            baselines = self._baselines(source, line, signals, rules, span.start_ms)
            minutes, hours = _Values(), _Values()
            for name, samples in signals.items():
                rule = rules[name]
                windows = roll(samples, span, rule.stale_ms, rule.counter, baselines.get(name))
                minutes.add(name, {at_ms: one for at_ms, one in windows.items() if at_ms >= start_ms}, rule)
                if makes_hour:
                    hours.add(name, wider(windows, HOUR_MS), rule)
            for bucket, values in ((ROLLUP_1M_BUCKET, minutes), (ROLLUP_1H_BUCKET, hours)):
                self._write(bucket, values.lines(source, line))

    def _baselines(
        self, source: RawSource, line: str, signals: Signals, rules: dict[str, SignalRule], start_ms: int
    ) -> dict[str, RawSample | None]:
        """The last good reading of each counter before `start_ms`, where `signals` does not begin with it."""
        baselines: dict[str, RawSample | None] = {}
        for name, samples in signals.items():
            if rules[name].counter is None or any(one.good and one.time_ms < start_ms for one in samples):
                continue
            first_ms = samples[0].time_ms
            baselines[name] = raw.nearest_good(self._database, source, line, name, (first_ms - BASELINE_MS, first_ms), last=True)
        return baselines

    def _write(self, bucket: str, lines: list[bytes]) -> None:
        for start in range(0, len(lines), BODY_LINES):
            self._beat()
            body = lines[start : start + BODY_LINES]
            try:
                self._database.write(bucket, b"\n".join(body))
            except PartialWrite as problem:
                # The only conflict that floats of our own can meet: these windows are older than the bucket keeps them.
                self.figures.outside_retention += problem.dropped or len(body)
                _log.info("windows_outside_retention", bucket=bucket, problem=str(problem))
            self.figures.windows += len(body)


@dataclass
class _Values:
    """Window start -> the fields of every signal that was read in it."""

    fields: dict[int, dict[str, float]] = field(default_factory=dict)

    def add(self, name: str, windows: Mapping[int, RollupWindow], rule: SignalRule) -> None:
        for at_ms, window in windows.items():
            if window.count:
                found = window.fields(counts=rule.counter is not None)
                self.fields.setdefault(at_ms, {}).update({f"{name}_{key}": value for key, value in found.items()})

    def lines(self, source: RawSource, line: str) -> list[bytes]:
        tags = (("line", line), ("device", source.device))
        return [rollup_line(source.measurement, tags, self.fields[at_ms], at_ms) for at_ms in sorted(self.fields)]
