"""`millrace-oee explain`: where the figures of a window come from, from the database or from a recorded event file."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack

import msgspec

from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.lifecycle import EXIT_NOT_WELL, EXIT_WELL

from .explain_line import LineExplanation, line_in_words
from .explain_source import FromDatabase, FromFile, NotExplained, Source, explained_device, explained_line, window_of
from .explain_told import told_of_line, told_of_machine
from .explain_words import in_words
from .explained import Explanation
from .plan import Plan
from .settings import OeeSettings


def run_explain(options: argparse.Namespace, plan: Plan, settings: OeeSettings, now_ms: int) -> int:
    """Exit status: 0 it adds up, 1 it does not. Raises NotExplained, Unavailable, Refused or QueryFailed."""
    line = _line_of(options, plan)
    window = window_of(plan.calendars[line], options.window, options.from_ms, options.to_ms, options.kind)
    with ExitStack() as at_end:
        source: Source
        if options.file is None:
            source = FromDatabase(plan, at_end.enter_context(Influx(settings)), now_ms)
        else:
            source = FromFile(plan, options.file, now_ms)
        if options.device:
            machine = explained_device(plan, source, options.device, window)
            return _say_machine(machine, plan, as_json=options.json)
        return _say_line(explained_line(plan, source, line, window, now_ms), plan, as_json=options.json)


def _say_machine(explanation: Explanation, plan: Plan, *, as_json: bool) -> int:
    if as_json:
        _print({"figures": explanation.document, "explained": told_of_machine(explanation, plan.zone)})
    else:
        sys.stdout.write("".join(f"{text}\n" for text in in_words(explanation, plan.zone)))
    return EXIT_WELL if explanation.adds_up else EXIT_NOT_WELL


def _say_line(explanation: LineExplanation, plan: Plan, *, as_json: bool) -> int:
    if as_json:
        for machine in explanation.machines.values():
            _say_machine(machine, plan, as_json=True)
        _print({"figures": explanation.document, "explained": told_of_line(explanation, plan.zone)})
    else:
        sys.stdout.write("".join(f"{text}\n" for text in line_in_words(explanation, plan.zone)))
    return EXIT_WELL if explanation.adds_up else EXIT_NOT_WELL


def _print(said: object) -> None:
    sys.stdout.write(msgspec.json.encode(said).decode() + "\n")


def _line_of(options: argparse.Namespace, plan: Plan) -> str:
    if options.device is None and options.line is None:
        raise NotExplained("say whose figures: a device, or --line LINE")
    if options.device is None:
        if options.line not in plan.lines:
            raise NotExplained(
                f"--line: no line {options.line!r} with OEE in the plant model; there are: {', '.join(plan.lines) or 'none'}"
            )
        return str(options.line)
    machine = plan.machines.get(options.device)
    if machine is None:
        raise NotExplained(
            f"no device {options.device!r} with OEE in the plant model; there are: {', '.join(plan.machines) or 'none'}"
        )
    if options.line not in {None, machine.line}:
        raise NotExplained(f"--line: {machine.id} is in {machine.line}; leave --line out")
    return machine.line
