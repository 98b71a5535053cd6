"""`millrace-sim`: serve the simulated plant, make it misbehave, send it a past, and score what became of its readings."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.language.times import parse_timestamp
from millrace_contract.plant import load_plant
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.lifecycle import (
    EXIT_MISTAKE,
    EXIT_NOT_WELL,
    EXIT_WELL,
    add_common_arguments,
    add_version,
    answer_mistakes,
)
from millrace_contract.runtime.logs import configure_logs
from millrace_contract.runtime.serving import serve_on_loop
from millrace_contract.runtime.settings import load_settings

from .control import NotControlled, send
from .faults import MEANINGS, Fault, FaultKind
from .history import present_ms, send_history, write_history
from .run import TRUTH_FOLDER, Simulator
from .score import Score
from .scoring import as_json, take_score, wait_for_clean
from .settings import HistorySettings, ScoreSettings, SimulatorSettings
from .terminal import score_text

SERVICE = "simulator"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    parsed = _parser().parse_args(arguments)
    sys.exit(answer_mistakes(lambda: int(parsed.command(parsed)), as_json=parsed.json))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="millrace-sim", description=__doc__)
    add_version(parser, "millrace-simulator")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="serve the simulated plant over Modbus TCP")
    run.add_argument("--seed", type=int, help="the same seed gives the same plant (default: MILLRACE_SIM_SEED, or 1)")
    run.add_argument("--speed", type=float, help="how much faster the machines live (default: MILLRACE_SIM_SPEED, or 1)")
    run.add_argument("--script", type=Path, metavar="FILE", help="YAML file of faults to play")
    run.set_defaults(command=_run)

    fault = commands.add_parser(
        "fault",
        help="make a device of the running simulator misbehave",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="kinds:\n" + "\n".join(f"  {kind.value:18} {meaning}" for kind, meaning in MEANINGS.items()),
    )
    fault.add_argument(
        "device", nargs="?", help="device id; without any arguments: list the faults in force, of connections and of machines"
    )
    fault.add_argument("kind", nargs="?", choices=[kind.value for kind in FaultKind], metavar="KIND", help="what goes wrong")
    fault.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60)")
    fault.add_argument("--code", type=int, default=4, help="exception code, for kind exception (default: 4)")
    fault.add_argument("--ms", type=float, default=1500.0, help="delay in milliseconds, for kind slow (default: 1500)")
    fault.add_argument(
        "--count", type=int, default=40, help="for kinds small, crowded, counter_jump, counter_wrap and clock_jump (default: 40)"
    )
    fault.add_argument("--share", type=float, default=1.0, help="share of the requests that are hit (default: 1)")
    fault.add_argument("--clear", action="store_true", help="end all faults of connections")
    fault.set_defaults(command=_fault)

    score = commands.add_parser("score", help="compare what the plant served with what the database holds")
    score.add_argument("--since", metavar="TIME", help="begin here, like 2025-10-15T13:45:00Z (default: where the truth begins)")
    score.add_argument(
        "--wait",
        type=float,
        default=0.0,
        metavar="S",
        help="while something is missing, look again for so many seconds (default: 0)",
    )
    score.set_defaults(command=_score)

    history = commands.add_parser("history", help="send a past of the plant through the normal path, as backfill")
    history.add_argument("--days", type=float, required=True, metavar="N", help="how many days before the end")
    history.add_argument("--until", metavar="TIME", help="end here (default: where the truth begins, or now)")
    history.add_argument("--step", type=float, default=60.0, metavar="S", help="seconds between two readings (default: 60)")
    history.add_argument("--seed", type=int, help="the seed of the running plant (default: MILLRACE_SIM_SEED, or 1)")
    history.add_argument(
        "--file", type=Path, metavar="FILE", help="write an event file in place of sending it, for replays of rules and OEE"
    )
    history.add_argument("--device", action="append", default=[], metavar="ID", help="with --file: only this device; repeatable")
    history.set_defaults(command=_history)

    for command in (run, fault, score, history):
        add_common_arguments(command)
    return parser


def _settings(parsed: argparse.Namespace, **given: Any) -> SimulatorSettings:
    return load_settings(SimulatorSettings, os.environ, config=parsed.config, **given)


def _run(parsed: argparse.Namespace) -> int:
    settings = _settings(parsed, sim_seed=parsed.seed, sim_speed=parsed.speed, sim_script=parsed.script)
    return serve_on_loop(settings, SERVICE, lambda: Simulator(settings))


def _fault(parsed: argparse.Namespace) -> int:
    settings = _settings(parsed)
    if not settings.http_port:
        raise ConfigurationProblems(
            [Problem("environment", 0, "MILLRACE_HTTP_PORT", "is not set; give it the value that the running simulator has")]
        )
    host = "127.0.0.1" if settings.http_host in ("0.0.0.0", "::", "") else settings.http_host  # noqa: S104
    url = f"http://{host}:{settings.http_port}"
    try:
        if parsed.clear:
            answer = send(url, "DELETE")
        elif parsed.device is None:
            answer = send(url, "GET")
        elif parsed.kind is None:
            sys.stderr.write("name a kind of fault, too; millrace-sim fault --help lists them\n")
            return EXIT_MISTAKE
        else:
            answer = send(url, "POST", _fault_of(parsed))
    except NotControlled as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_NOT_WELL
    if parsed.json:
        print(json.dumps(answer))
    elif "active" in answer:
        now_ms = SystemClock().now_ms()
        for active in answer["active"]:
            print(f"{active['device']:12} {active['kind']:18} {(active['until_ms'] - now_ms) / 1000:6.0f} s left")
        if not answer["active"]:
            print("no device misbehaves")
    else:
        print(f"{answer['device']} {answer['kind']}: {MEANINGS[FaultKind(answer['kind'])]}")
    return EXIT_WELL


def _score(parsed: argparse.Namespace) -> int:
    settings = load_settings(ScoreSettings, os.environ, config=parsed.config)
    plant = load_plant(settings.config)
    clock = SystemClock()
    try:
        since_ms = parse_timestamp(parsed.since) if parsed.since else None
        with Influx(settings, timeout_s=60.0) as influx:

            def take() -> Score:
                return take_score(influx, plant, settings.data / TRUTH_FOLDER, since_ms, clock.now_ms())

            score = wait_for_clean(take, parsed.wait, clock.monotonic_s)
    except (ValueError, FileNotFoundError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_MISTAKE
    if parsed.json:
        print(json.dumps(as_json(score)))
    else:
        print(score_text(score))
    return EXIT_WELL if score.is_clean else EXIT_NOT_WELL


def _history(parsed: argparse.Namespace) -> int:
    settings = load_settings(HistorySettings, os.environ, config=parsed.config, sim_seed=parsed.seed)
    configure_logs(settings, SERVICE)
    if not 0 < parsed.days <= 365 or not 1 <= parsed.step <= 3600:
        sys.stderr.write("--days: above 0, at most 365; --step: 1 to 3600 seconds\n")
        return EXIT_MISTAKE
    try:
        until_ms = parse_timestamp(parsed.until) if parsed.until else present_ms(settings.data / TRUTH_FOLDER, SystemClock())
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_MISTAKE
    span = (until_ms - round(parsed.days * 86_400_000), until_ms)
    if parsed.file is not None:
        count = write_history(settings, parsed.file, span, parsed.step, parsed.device)
        print(json.dumps({"messages": count}) if parsed.json else f"{parsed.file}: {count} messages")
        return EXIT_WELL
    send_history(settings, span, parsed.step, print if parsed.json else None)
    return EXIT_WELL


def _fault_of(parsed: argparse.Namespace) -> Fault:
    return Fault(
        device=parsed.device,
        kind=FaultKind(parsed.kind),
        seconds=parsed.seconds,
        code=parsed.code,
        ms=parsed.ms,
        count=parsed.count,
        share=parsed.share,
    )


if __name__ == "__main__":
    main()
