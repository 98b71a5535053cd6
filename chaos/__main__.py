"""`make chaos`: the whole system for half an hour of seeded faults, then the score. Exit status 1 when the score is bad."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from millrace_admin.demo.layout import CannotRun
from millrace_contract.language.times import parse_timestamp
from millrace_contract.plant import load_plant
from millrace_contract.runtime.lifecycle import EXIT_MISTAKE, EXIT_NOT_WELL, EXIT_WELL, answer_mistakes, stop_event

from .figures import Figures, look
from .plant import REPOSITORY, Plant
from .report import Burst, Report, make_report
from .ride import Ride
from .schedule import Storm, plan_storm
from .screen import StormScreen, show_report

SCORE_LIMIT_S = 600.0
FIGURES_LIMIT_S = 60.0
SETTLED_S = 25.0
"""The score does not judge readings younger than this."""


def main() -> int:
    options = _parser().parse_args()
    return answer_mistakes(lambda: _chaos(options), as_json=options.json)


def _chaos(options: argparse.Namespace) -> int:
    if options.minutes < 1:
        sys.stderr.write("--minutes: 1 or more\n")
        return EXIT_MISTAKE
    state: Path = (options.state or _new_state(options.seed)).resolve()
    if state.exists() and not (state.is_dir() and not any(state.iterdir())):
        sys.stderr.write(f"{state} is there already, and not as an empty folder; name a new one with --state\n")
        return EXIT_MISTAKE
    devices = list(load_plant(REPOSITORY / "config", {}).devices)
    storm = plan_storm(options.seed, options.minutes * 60, devices)
    if options.plan:
        for step in storm.steps:
            print(f"{step.at_s:7.1f} s  {step}")
        return EXIT_WELL
    state.mkdir(parents=True, exist_ok=True)
    try:
        report = _weather(storm, state)
    except CannotRun as missing:
        sys.stderr.write(f"make chaos: {missing}\n")
        return EXIT_NOT_WELL
    if report is None:
        sys.stderr.write("stopped before its end; there is no score\n")
        return EXIT_NOT_WELL
    (state / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    if options.json:
        print(msgspec.json.encode(report).decode())
    else:
        show_report(report)
        print(f"timeline, logs and data: {state}")
    return EXIT_WELL if report.clean else EXIT_NOT_WELL


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same storm (default: 1)")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long it lasts (default: 30)")
    parser.add_argument("--state", type=Path, metavar="DIR", help="a new folder for everything (default: one in var/chaos)")
    parser.add_argument("--plan", action="store_true", help="print what would happen, and do nothing")
    parser.add_argument("--json", action="store_true", help="print the report as one line of JSON")
    return parser


def _new_state(seed: int) -> Path:
    return REPOSITORY / "var" / "chaos" / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-seed-{seed}"


def _weather(storm: Storm, state: Path) -> Report | None:
    """The whole run; None when somebody stopped it. Raises CannotRun."""
    stop, screen, plant = stop_event(), StormScreen(), Plant(state)
    with (state / "timeline.jsonl").open("a", buffering=1) as timeline:

        def tell(text: str) -> None:
            now = datetime.now(UTC)
            timeline.write(json.dumps({"time": now.isoformat(timespec="milliseconds"), "what": text}) + "\n")
            screen.say(f"{now:%H:%M:%S} {text}")

        try:
            plant.start()
            for kind, why in plant.unable.items():
                tell(f"left out: {kind}, because {why}")
            storm = replace(storm, troubles=tuple(each for each in storm.troubles if each.kind not in plant.unable))
            began_ms = time.time_ns() // 1_000_000
            ride = Ride(plant, storm, tell, screen.show)
            with screen.open(storm.seconds):
                if not ride.run(stop):
                    return None
            time.sleep(max(0.0, SETTLED_S - (time.time_ns() // 1_000_000 - began_ms) / 1000 + storm.calm_from_s))
            tell("taking the score ...")
            score = _score(plant)
            (state / "score.json").write_text(json.dumps(score, indent=1))
            return make_report(storm, ride.notes, score, _bursts(score), _figures(plant, began_ms))
        finally:
            for name in plant.stop():
                tell(f"{name} did not stop in time and was killed")


def _score(plant: Plant) -> dict[str, Any]:
    done = plant.run("millrace-sim", "score", "--wait", "60", "--json", timeout_s=SCORE_LIMIT_S)
    if not done.stdout:
        raise CannotRun(f"millrace-sim score ended with {done.returncode}: {done.stderr or 'no word'}")
    score: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return score


def _bursts(score: dict[str, Any]) -> list[Burst]:
    return [Burst(parse_timestamp(each["first"]), parse_timestamp(each["last"]), each["reads"]) for each in score["bursts"]]


def _figures(plant: Plant, since_ms: int) -> Figures:
    """What is still on its way to the database gets a minute."""
    deadline_s = time.monotonic() + FIGURES_LIMIT_S
    while (figures := look(plant, since_ms)).wrong and time.monotonic() < deadline_s:
        time.sleep(5)
    return figures


if __name__ == "__main__":
    sys.exit(main())
