"""millrace-oee: serve, replay a recorded event file, compute windows again from the database (contracts.md 7)."""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec

from millrace_contract.errors import ConfigurationProblems, Problem, Unavailable
from millrace_contract.language.messages import encode
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.language.words import WindowKind
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.lifecycle import EXIT_MISTAKE, EXIT_WELL, add_common_arguments, add_version, answer_mistakes
from millrace_contract.runtime.recording import Recording
from millrace_contract.runtime.settings import load_settings
from millrace_contract.store_forward.sqlite import Connection, Damaged
from millrace_contract.store_forward.store_file import open_store

from .explain_command import run_explain
from .learn_command import run_learn
from .machine import LATENESS_MS
from .master_data import FILE, dated_back, read_master_data, with_master_data, write_master_data
from .mend_command import run_mend
from .period_figures import in_full, machine_period, period_document, read_period
from .plan import load_plan
from .recompute import oldest_ms, recompute
from .replay import OeeReplay
from .service import GC_ALLOCATIONS, serve
from .settings import OeeSettings
from .store import OEE_STORE, connect_in_memory
from .stored_steps import read_steps
from .waterfall_svg import waterfall_svg


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit status: 0 well, 1 the examined thing is not, 2 a mistake of the user."""
    options = _parser().parse_args(arguments)
    commands = {
        "run": _run,
        "replay": _replay,
        "recompute": _recompute,
        "date-back": _date_back,
        "steps": _steps,
        "period": _period,
        "explain": _explain,
        "learn-thresholds": _learn,
    }
    return answer_mistakes(lambda: commands[options.command](options), as_json=options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="millrace-oee", description=__doc__)
    add_version(parser, "millrace-oee")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="serve: telemetry in, OEE out")
    replay = commands.add_parser("replay", help="compute the windows of a recorded event file")
    replay.add_argument(
        "file", type=Path, metavar="FILE", help="an event file, as `millrace record` writes it; - for standard input"
    )
    replay.add_argument("--revisions", action="store_true", help="print every revision, as messages arrive")
    replay.add_argument("--store", type=Path, metavar="PATH", help="keep state here, go on where the last run stopped")
    replay.add_argument("--now", type=_timestamp, metavar="TIME", help="what is later is refused (default: the present)")
    replay.add_argument("--kind", choices=[*WindowKind], action="append", help="print windows of this kind only; may be repeated")
    again = commands.add_parser("recompute", help="compute ended windows again from the database")
    again.add_argument("--device", required=True, help="device id")
    again.add_argument("--from", dest="from_ms", type=_timestamp, required=True, metavar="TIME", help="2025-10-15T06:00:00Z")
    again.add_argument("--to", dest="to_ms", type=_timestamp, required=True, metavar="TIME", help="windows between the two")
    again.add_argument(
        "--publish",
        action="store_true",
        help="of windows too old to be revised live: what differs is published, of lines, too",
    )
    again.add_argument("--with-current-model", action="store_true", help="by the plant's files alone, whatever was in force then")
    back = commands.add_parser("date-back", help="let what the plant's files say now count from an earlier time on")
    back.add_argument("--from", dest="from_ms", type=_timestamp, required=True, metavar="TIME", help="2025-10-15T06:00:00Z")
    back.add_argument("--device", help="of this device only (default: of all, of lines and the calendar)")
    steps = commands.add_parser("steps", help="steps of counters that are not counted by themselves, and what was decided of each")
    steps.add_argument("--device", help="of this device only")
    steps.add_argument("--from", dest="from_ms", type=_timestamp, metavar="TIME", help="since then (default: the past seven days)")
    steps.add_argument("--all", action="store_true", help="decided ones, too")
    period = commands.add_parser("period", help="the figures of any period, with losses, stops and key figures")
    whose = period.add_mutually_exclusive_group(required=True)
    whose.add_argument("--device", help="device id")
    whose.add_argument("--line", help="the figures of a line")
    period.add_argument("--from", dest="from_ms", type=_timestamp, required=True, metavar="TIME", help="2025-10-15T06:00:00Z")
    period.add_argument("--to", dest="to_ms", type=_timestamp, required=True, metavar="TIME", help="its end, exclusive")
    period.add_argument("--file", type=Path, metavar="FILE", help="from an event file in place of the database")
    period.add_argument("--svg", type=Path, metavar="FILE", help="draw the waterfall, too")
    why = commands.add_parser("explain", help="where the figures of a window come from, in words, adding up to them")
    why.add_argument("device", metavar="DEVICE", nargs="?")
    why.add_argument("--line", metavar="LINE", help="of a line in place of a device: its rule, and each machine it rests on")
    why.add_argument("--window", metavar="ID", help="2025-10-15/early, 2025-10-15/early/01, 2025-10-15, order/4711")
    why.add_argument("--kind", choices=[*WindowKind], action="append", help="only windows of this kind; may be repeated")
    why.add_argument("--from", dest="from_ms", type=_timestamp, metavar="TIME", help="in place of a window any time from here")
    why.add_argument("--to", dest="to_ms", type=_timestamp, metavar="TIME", help="to here, two days later at most")
    why.add_argument("--since-revision", type=int, metavar="N", help="what changed since that revision, too")
    why.add_argument("--file", type=Path, metavar="FILE", help="of a recorded event file, in place of the database")
    why.add_argument("--now", type=_timestamp, metavar="TIME", help="the present (default: now)")
    learn = commands.add_parser("learn-thresholds", help="propose limits of a current or power by which a machine is known to run")
    learn.add_argument("--device", required=True, help="device id")
    learn.add_argument("--signal", help="what is measured (default: the one that the profile's oee names)")
    learn.add_argument("--from", dest="from_ms", type=_timestamp, metavar="TIME", help="2025-10-15T06:00:00Z")
    learn.add_argument("--to", dest="to_ms", type=_timestamp, metavar="TIME", help="its end, exclusive")
    learn.add_argument("--file", type=Path, metavar="FILE", help="from an event file in place of the database")
    for command in (run, replay, again, back, steps, period, why, learn):
        add_common_arguments(command)
    return parser


def _timestamp(text: str) -> int:
    try:
        return parse_timestamp(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _run(options: argparse.Namespace) -> int:
    return serve(load_settings(OeeSettings, os.environ, config=options.config))


def _replay(options: argparse.Namespace) -> int:
    settings = load_settings(OeeSettings, os.environ, config=options.config)
    plan = load_plan(settings.config)
    now_ms = SystemClock().now_ms() if options.now is None else options.now

    def chosen(document: OeeDocument) -> None:
        if options.kind is None or document.window.kind in options.kind:
            _print(document)

    replay = OeeReplay(
        plan,
        _connection(options.store, now_ms),
        now_ms,
        by_arrival=options.revisions or options.store is not None,
        publish=chosen if options.revisions else None,
    )
    recording = Recording(options.file)
    replay.run(recording)
    if not options.revisions:
        for document in replay.documents():
            chosen(document)
    return recording.report(replay.ignored, as_json=options.json)


def _recompute(options: argparse.Namespace) -> int:
    settings = load_settings(OeeSettings, os.environ, config=options.config)
    plan = load_plan(settings.config)
    if options.device not in plan.machines:
        known = ", ".join(plan.machines) or "none"
        return _mistake("--device", f"no device {options.device!r} with OEE in the plant model; there are: {known}")
    if options.from_ms >= options.to_ms:
        return _mistake("--from", "is not before --to")
    now_ms, line = SystemClock().now_ms(), plan.machines[options.device].line
    machines = [each for each in plan.machines.values() if each.line == line and (options.publish or each.id == options.device)]
    if options.publish and options.to_ms > now_ms - LATENESS_MS:
        live_ms = now_ms - LATENESS_MS
        return _mistake("--to", f"what ended after {format_timestamp(live_ms)} oee revises by itself; give no later time")
    with Influx(settings) as influx:
        first_ms = max(oldest_ms(machine, influx, now_ms) for machine in machines)
    if options.from_ms < first_ms:
        return _mistake(
            "--from",
            f"raw readings are kept since {format_timestamp(first_ms)}, counted with what a window needs before it; what was told "
            "of windows that start earlier cannot be computed again, and stands",
        )
    if not options.with_current_model and (master := read_master_data(settings.data)) is not None:
        plan = with_master_data(plan, master)
    if options.publish:
        return run_mend(plan, settings, line, (options.from_ms, options.to_ms), now_ms)
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS)
    for document in recompute(plan, settings, options.device, options.from_ms, options.to_ms):
        _print(document)
    return EXIT_WELL


def _date_back(options: argparse.Namespace) -> int:
    settings = load_settings(OeeSettings, os.environ, config=options.config)
    plan, now_ms = load_plan(settings.config), SystemClock().now_ms()
    if options.device is not None and options.device not in plan.machines:
        return _mistake("--device", f"no device {options.device!r} with OEE in the plant model")
    if options.from_ms >= now_ms:
        return _mistake("--from", "is not in the past; write a date to come into the file, as valid_from")
    known = read_master_data(settings.data)
    if known is None:
        return _mistake("MILLRACE_DATA", f"{settings.data} holds no {FILE}: oee has not run here, and the files hold for all times")
    write_master_data(settings.data, dated_back(known, options.from_ms, now_ms, plan, options.device))
    sys.stdout.write("kept; restart oee, which tells the windows of the past seven days again where they differ\n")
    return EXIT_WELL


def _steps(options: argparse.Namespace) -> int:
    settings = load_settings(OeeSettings, os.environ, config=options.config)
    from_ms = SystemClock().now_ms() - LATENESS_MS if options.from_ms is None else options.from_ms
    with Influx(settings) as influx:
        found = read_steps(influx, options.device, from_ms)
    for step in found if options.all else [each for each in found if not each.verdict]:
        sys.stdout.write((json.dumps(asdict(step)) if options.json else step.in_words) + "\n")
    return EXIT_WELL


def _period(options: argparse.Namespace) -> int:
    settings = load_settings(OeeSettings, os.environ, config=options.config)
    plan = load_plan(settings.config)
    known, asked, key = (plan.lines, options.line, "--line") if options.line else (plan.machines, options.device, "--device")
    if asked not in known:
        return _mistake(key, f"no {key[2:]} {asked!r} with OEE in the plant model; there are: {', '.join(known) or 'none'}")
    if options.from_ms >= options.to_ms:
        return _mistake("--from", "is not before --to")
    devices = [machine.id for machine in plan.lines[asked].until(options.to_ms).machines] if options.line else [asked]
    if options.file is None:
        told = read_period(plan, settings, devices, options.from_ms, options.to_ms)
    else:
        replay = OeeReplay(plan, connect_in_memory(), SystemClock().now_ms(), by_arrival=False)
        replay.run(Recording(options.file))
        told = {device: machine_period(replay.engine, device, options.from_ms, options.to_ms) for device in devices}
    document = period_document(plan, told, options.from_ms, options.to_ms, line=options.line)
    flow = plan.lines[options.line].until(options.to_ms).flow if options.line else ()
    sys.stdout.write(msgspec.json.encode(in_full(document, told, plan.machines, flow)).decode() + "\n")
    if options.svg is not None:
        options.svg.write_text(waterfall_svg(document), encoding="utf-8")
    return EXIT_WELL


def _explain(options: argparse.Namespace) -> int:
    settings = load_settings(OeeSettings, os.environ, config=options.config)
    plan = load_plan(settings.config)
    if options.file is None and (master := read_master_data(settings.data)) is not None:
        plan = with_master_data(plan, master)
    return run_explain(options, plan, settings, SystemClock().now_ms() if options.now is None else options.now)


def _learn(options: argparse.Namespace) -> int:
    settings = load_settings(OeeSettings, os.environ, config=options.config)
    return run_learn(options, load_plan(settings.config), settings, SystemClock().now_ms())


def _connection(path: Path | None, now_ms: int) -> Connection:
    if path is None:
        return connect_in_memory()
    try:
        store = open_store(OEE_STORE, path, now_ms)
    except (Unavailable, Damaged) as error:
        raise ConfigurationProblems([Problem(str(path), 0, "--store", str(error))]) from error
    if store.set_aside is not None:
        sys.stderr.write(f"{path} could not be used ({store.set_aside.reason}) and is kept as {store.set_aside.path.name}\n")
    return store.connection


def _print(document: OeeDocument) -> None:
    sys.stdout.write(encode(document).decode() + "\n")


def _mistake(key: str, message: str) -> int:
    sys.stderr.write(f"{key}: {message}\n")
    return EXIT_MISTAKE


if __name__ == "__main__":
    sys.exit(main())
