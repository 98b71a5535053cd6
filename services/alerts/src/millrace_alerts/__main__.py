"""millrace-alerts: serve, replay an event file, compare deadbands and delays."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.language.messages import AlertEvent
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.lifecycle import add_common_arguments, add_version, answer_mistakes
from millrace_contract.runtime.recording import Recording
from millrace_contract.runtime.serving import accept, serve
from millrace_contract.runtime.settings import load_settings
from millrace_contract.runtime.tables import aligned

from .conditions import Limit
from .replay import AlertsReplay
from .rules import watched_rules
from .service import SERVICE, AlertsService, load_configuration
from .settings import AlertsSettings
from .tune import Verdict, candidates, judge, recorded_readings, span_ms

TUNE_COLUMNS = ("deadband", "on s", "off s", "alerts", "per h", "chattering", "in alarm s")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    commands = {"run": _run, "replay": _replay, "tune": _tune}
    return answer_mistakes(lambda: commands[given.command](given), as_json=given.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="millrace-alerts", description=__doc__)
    add_version(parser, "millrace-alerts")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="serve: evaluate the rules, answer the API and the page")
    add_common_arguments(run)
    replay = commands.add_parser("replay", help="say what the rules would have raised on an event file")
    add_common_arguments(replay)
    replay.add_argument(
        "file", type=Path, metavar="FILE", help="an event file, as `millrace record` writes it; - for standard input"
    )
    tune = commands.add_parser("tune", help="compare deadbands and delays of a threshold rule on an event file")
    add_common_arguments(tune)
    tune.add_argument("file", type=Path, metavar="FILE", help="an event file, as `millrace record` writes it; - for standard input")
    tune.add_argument("--rule", required=True, metavar="ID", help="a rule of alerts.yaml with a threshold")
    tune.add_argument("--device", metavar="ID", help="only this device; default: every device of the rule")
    for name, help_text in (("deadband", "unit of the signal"), ("on-delay", "seconds"), ("off-delay", "seconds")):
        tune.add_argument(f"--{name}", type=float, action="append", default=[], metavar="N", help=f"{help_text}; repeatable")
    return parser


def _settings(given: argparse.Namespace) -> AlertsSettings:
    return load_settings(AlertsSettings, os.environ, config=given.config)


def _run(given: argparse.Namespace) -> int:
    settings = _settings(given)

    def construct() -> AlertsService:
        return AlertsService(settings, accept(settings.config, settings.data, load_configuration))

    return serve(settings, SERVICE, construct)


def _replay(given: argparse.Namespace) -> int:
    configuration = load_configuration(_settings(given).config)
    watched = watched_rules(configuration.plant, configuration.rules, configuration.windows)
    replay = AlertsReplay(configuration.plant, watched, SystemClock().now_ms(), configuration.windows)
    recording = Recording(given.file)
    for event in replay.events(recording.events()):
        print(msgspec.json.encode(event).decode() if given.json else _line(event))
    return recording.report(replay.ignored, as_json=given.json)


def _line(event: AlertEvent) -> str:
    value = "" if event.value is None else f"  value {event.value:g}" if isinstance(event.value, float) else f"  {event.value}"
    change = f"{event.from_state} -> {event.to_state}"
    return f"{event.source_timestamp}  {event.alert_id:<36} {change:<26} {event.cause}{value}"


def _tune(given: argparse.Namespace) -> int:
    configuration = load_configuration(_settings(given).config)
    watched = watched_rules(configuration.plant, configuration.rules).values()
    rule = [each for each in watched if each.rule == given.rule and given.device in {None, each.device_id}]
    thresholds = sorted({each.rule for each in watched if isinstance(each.condition, Limit)})
    if not rule or given.rule not in thresholds:
        wanted = f"rule {given.rule}" + (f" for device {given.device}" if given.device else "")
        message = f"there is no threshold of {wanted}; rules with a threshold: {', '.join(thresholds) or 'none'}"
        raise ConfigurationProblems([Problem("alerts.yaml", 0, "rules", message)])
    recording = Recording(given.file)
    recorded, ignored = recorded_readings(configuration.plant, rule, recording.events(), SystemClock().now_ms())
    chosen = (given.deadband, given.on_delay, given.off_delay)
    verdicts = [judge(rule, recorded, candidate) for candidate in candidates(rule[0], chosen)]
    if given.json:
        for verdict in verdicts:
            print(json.dumps({"rule": given.rule, **asdict(verdict.candidate), **_figures(verdict)}))
        return recording.report(ignored, as_json=given.json)
    count = sum(len(readings) for readings in recorded.values())
    print(f"{given.rule}: {count} readings of {len(rule)} devices over {span_ms(recorded) / 3_600_000:.1f} h\n")
    print(aligned(TUNE_COLUMNS, [[f"{number:g}" for number in _numbers(verdict)] for verdict in verdicts]))
    return recording.report(ignored, as_json=given.json)


def _numbers(verdict: Verdict) -> tuple[float, ...]:
    chosen = verdict.candidate
    delays = (chosen.deadband, chosen.on_delay_s, chosen.off_delay_s)
    return (*delays, verdict.alerts, verdict.per_hour, verdict.chattering, verdict.in_alarm_s)


def _figures(verdict: Verdict) -> dict[str, float]:
    return {name: value for name, value in asdict(verdict).items() if name != "candidate"}


if __name__ == "__main__":
    sys.exit(main())
