"""`replay` and `tune`: rules tried on an event file or on a period of the database, as a table and as a picture."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

import msgspec

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.language.alert_messages import AlertEvent
from millrace_contract.language.event_file import Event
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.language.words import EventCause
from millrace_contract.plant import Device
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.lifecycle import EXIT_WELL, add_common_arguments
from millrace_contract.runtime.recording import Recording
from millrace_contract.runtime.settings import load_settings
from millrace_contract.runtime.tables import aligned

from .conditions import Limit
from .observations import Reading
from .replay import AlertsReplay
from .rules import Watched, watched_rules
from .service import Configuration, load_configuration
from .settings import AlertsSettings
from .stored_period import stored_events
from .timeline_svg import Spans, TimelineRow, timeline_svg
from .tune import Verdict, candidates, judge, recorded_readings, span_ms

TUNE_COLUMNS = ("deadband", "on s", "off s", "alerts", "per h", "chattering", "in alarm s")
REPLAY_COLUMNS = ("alert", "raised", "in alarm h", "first")
HOUR_MS = 3_600_000


def add_commands(commands: Any) -> None:
    """`replay` and `tune` among the commands of the service."""
    replay = commands.add_parser("replay", help="say what the rules would have raised in the past")
    replay.add_argument("--rule", action="append", default=[], metavar="ID", help="only this rule; repeatable")
    replay.add_argument("--table", action="store_true", help="sum up by alert in place of every event")
    tune = commands.add_parser("tune", help="compare deadbands and delays of a threshold rule on the past")
    tune.add_argument("--rule", required=True, metavar="ID", help="a rule of alerts.yaml with a threshold")
    tune.add_argument("--device", metavar="ID", help="only this device; default: every device of the rule")
    for name, help_text in (("deadband", "unit of the signal"), ("on-delay", "seconds"), ("off-delay", "seconds")):
        tune.add_argument(f"--{name}", type=float, action="append", default=[], metavar="N", help=f"{help_text}; repeatable")
    for command in (replay, tune):
        add_common_arguments(command)
        file_help = "an event file, as `millrace record` writes it; - for standard input; left out: the database, --from to --to"
        command.add_argument("file", type=Path, nargs="?", metavar="FILE", help=file_help)
        for key in ("from", "to"):
            command.add_argument(f"--{key}", dest=f"{key}_ms", type=_timestamp, metavar="TIME", help="2025-10-15T06:00:00Z")
        command.add_argument("--svg", type=Path, metavar="FILE", help="draw when the alerts stood")


def replay(given: argparse.Namespace) -> int:
    """Prints the events that the rules would have raised, or a table of them."""
    settings, configuration = _loaded(given)
    watched = watched_rules(configuration.plant, configuration.rules, configuration.windows)
    if unknown := sorted(set(given.rule) - {each.rule for each in watched.values()}):
        known = ", ".join(sorted({each.rule for each in watched.values() if each.device_id}))
        raise ConfigurationProblems([Problem("--rule", 0, unknown[0], f"is no rule that watches a device; there are: {known}")])
    chosen = {name: each for name, each in watched.items() if not given.rule or each.rule in given.rule}
    # All of them are tried: one may hide another.
    tried = AlertsReplay(configuration.plant, watched, SystemClock().now_ms(), configuration.windows)
    events: list[AlertEvent] = []
    with _past(given, settings, configuration, chosen.values()) as past:
        for event in (each for each in tried.events(past.events()) if each.alert_id in chosen):
            if given.table or given.svg is not None:
                events.append(event)
            if not given.table:
                _say(msgspec.json.encode(event).decode() if given.json else _line(event))
        status = past.report(tried.ignored, as_json=given.json)
    rows = _rows(events, past.last_ms)
    if given.table and given.json:
        for row in rows:
            _say(json.dumps({"alert": row.name, "spans": [[format_timestamp(at_ms) for at_ms in span] for span in row.spans]}))
    elif given.table:
        cells = [[row.name, f"{len(row.spans)}", f"{_hours(row.spans):.1f}", format_timestamp(row.spans[0][0])] for row in rows]
        _say(aligned(REPLAY_COLUMNS, cells))
    _draw(given, "What the rules would have raised", rows, past)
    return status


def tune(given: argparse.Namespace) -> int:
    """Prints what each candidate would have raised."""
    settings, configuration = _loaded(given)
    watched = watched_rules(configuration.plant, configuration.rules).values()
    rule = [each for each in watched if each.rule == given.rule and given.device in {None, each.device_id}]
    thresholds = sorted({each.rule for each in watched if isinstance(each.condition, Limit)})
    if not rule or given.rule not in thresholds:
        wanted = f"rule {given.rule}" + (f" for device {given.device}" if given.device else "")
        message = f"there is no threshold of {wanted}; rules with a threshold: {', '.join(thresholds) or 'none'}"
        raise ConfigurationProblems([Problem("alerts.yaml", 0, "rules", message)])
    with _past(given, settings, configuration, rule) as past:
        recorded, ignored = recorded_readings(configuration.plant, rule, past.events(), SystemClock().now_ms())
        status = past.report(ignored, as_json=given.json)
    chosen = (given.deadband, given.on_delay, given.off_delay)
    verdicts = [judge(rule, recorded, candidate) for candidate in candidates(rule[0], chosen)]
    if given.json:
        for verdict in verdicts:
            _say(json.dumps({"rule": given.rule, **asdict(verdict.candidate), **_figures(verdict)}))
    else:
        count = sum(isinstance(each, Reading) for readings in recorded.values() for each in readings)
        _say(f"{given.rule}: {count} readings of {len(rule)} devices over {span_ms(recorded) / HOUR_MS:.1f} h\n")
        _say(aligned(TUNE_COLUMNS, [[f"{number:g}" for number in _numbers(verdict)] for verdict in verdicts]))
    _draw(given, f"{given.rule}: alerts of each choice", [_row(verdict) for verdict in verdicts], past)
    return status


class _Source(Protocol):
    """Where a past comes from, and what was wrong with it."""

    first_ms: int
    last_ms: int

    def events(self) -> Iterator[Event]: ...

    def report(self, ignored: Mapping[str, int], *, as_json: bool = False) -> int: ...


class _File:
    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.first_ms = self.last_ms = 0

    def events(self) -> Iterator[Event]:
        for event in self._recording.events():
            at_ms = event.received_ms
            if at_ms is not None:
                self.first_ms, self.last_ms = self.first_ms or at_ms, max(self.last_ms, at_ms)
            yield event

    def report(self, ignored: Mapping[str, int], *, as_json: bool = False) -> int:
        return self._recording.report(ignored, as_json=as_json)


class _Database:
    def __init__(self, influx: Influx, configuration: Configuration, devices: Iterable[Device], span: range) -> None:
        self._events = stored_events(influx, configuration.plant, devices, span)
        self.first_ms, self.last_ms = span.start, span.stop

    def events(self) -> Iterator[Event]:
        return self._events

    def report(self, _ignored: Mapping[str, int], *, as_json: bool = False) -> int:  # noqa: ARG002 - as a recording's
        return EXIT_WELL


@contextmanager
def _past(
    given: argparse.Namespace, settings: AlertsSettings, configuration: Configuration, watched: Iterable[Watched]
) -> Iterator[_Source]:
    """What was given: a file, or a period of the database of those devices that the rules watch."""
    from_ms, to_ms = given.from_ms, given.to_ms
    if (given.file is None) == (from_ms is None and to_ms is None):
        raise ConfigurationProblems([Problem("arguments", 0, "FILE", "name an event file, or --from and --to of the database")])
    if given.file is not None:
        yield _File(Recording(given.file))
        return
    if from_ms is None or to_ms is None or from_ms >= to_ms:
        raise ConfigurationProblems([Problem("arguments", 0, "--from", "must be before --to, and both are needed")])
    devices = configuration.plant.devices
    names = {part.device_id for each in watched for part in each.condition.listening.parts} | {each.device_id for each in watched}
    with Influx(settings, timeout_s=60.0) as influx:
        yield _Database(influx, configuration, [devices[name] for name in devices if name in names], range(from_ms, to_ms))


def _loaded(given: argparse.Namespace) -> tuple[AlertsSettings, Configuration]:
    settings = load_settings(AlertsSettings, os.environ, config=given.config)
    return settings, load_configuration(settings.config)


def _timestamp(text: str) -> int:
    try:
        return parse_timestamp(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _line(event: AlertEvent) -> str:
    value = "" if event.value is None else f"  value {event.value:g}" if isinstance(event.value, float) else f"  {event.value}"
    change = f"{event.from_state} -> {event.to_state}"
    return f"{event.source_timestamp}  {event.alert_id:<36} {change:<26} {event.cause}{value}"


def _rows(events: Iterable[AlertEvent], end_ms: int) -> list[TimelineRow]:
    """A row an alert that was ever raised, in order of names."""
    flips = [each for each in events if each.cause in {EventCause.CONDITION, EventCause.CLEAR}]
    rows = []
    for name, group in groupby(sorted(flips, key=lambda each: (each.alert_id, each.event_seq)), key=lambda each: each.alert_id):
        spans: list[tuple[int, int]] = []
        since_ms: int | None = None
        for each in group:
            at_ms = parse_timestamp(each.source_timestamp)
            if each.cause is EventCause.CONDITION:
                since_ms = at_ms
            elif since_ms is not None:
                spans.append((since_ms, at_ms))
                since_ms = None
        if since_ms is not None:
            spans.append((since_ms, max(end_ms, since_ms)))
        if spans:
            rows.append(TimelineRow(name, tuple(spans), _counted(len(spans), _hours(tuple(spans)))))
    return rows


def _row(verdict: Verdict) -> TimelineRow:
    chosen = verdict.candidate
    name = f"deadband {chosen.deadband:g}, {chosen.on_delay_s:g} s, {chosen.off_delay_s:g} s"
    return TimelineRow(name, verdict.spans, _counted(verdict.alerts, verdict.in_alarm_s / 3600))


def _draw(given: argparse.Namespace, title: str, rows: list[TimelineRow], past: _Source) -> None:
    if given.svg is not None:
        given.svg.write_text(timeline_svg(title, rows, past.first_ms, past.last_ms), encoding="utf-8")


def _counted(number: int, hours: float) -> str:
    return f"{number} alert{'s' if number != 1 else ''}, {hours:.1f} h"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _hours(spans: Spans) -> float:
    return sum(end_ms - start_ms for start_ms, end_ms in spans) / HOUR_MS


def _numbers(verdict: Verdict) -> tuple[float, ...]:
    chosen = verdict.candidate
    delays = (chosen.deadband, chosen.on_delay_s, chosen.off_delay_s)
    return (*delays, verdict.alerts, verdict.per_hour, verdict.chattering, verdict.in_alarm_s)


def _figures(verdict: Verdict) -> dict[str, float]:
    return {name: value for name, value in asdict(verdict).items() if name not in {"candidate", "spans"}}
