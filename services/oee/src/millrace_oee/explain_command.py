"""`millrace-oee explain`: where the figures of a window come from, from the database or from a recorded event file."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack

import msgspec

from millrace_contract.language.explanations import Explained
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.lifecycle import EXIT_NOT_WELL, EXIT_WELL

from .explain_order import is_order, order_window
from .explain_source import FromDatabase, FromFile, NotExplained, Source, explained_device, explained_line, what_changed, window_of
from .explain_told import told_of_line, told_of_machine
from .plan import Plan
from .settings import OeeSettings
from .store import STORE


def run_explain(options: argparse.Namespace, plan: Plan, settings: OeeSettings, now_ms: int) -> int:
    """Exit status: 0 it adds up, 1 it does not. Raises NotExplained, Unavailable, Refused or QueryFailed."""
    line = _line_of(options, plan)
    with ExitStack() as at_end:
        source: Source
        if options.file is None:
            source = FromDatabase(plan, at_end.enter_context(Influx(settings)), now_ms, settings.data / STORE)
        else:
            source = FromFile(plan, options.file, now_ms, by_arrival=options.since_revision is not None)
        since = options.since_revision
        if is_order(options.window):
            window = order_window(source.entries(line, options.device), options.window, now_ms)
        else:
            window = window_of(plan.calendars[line], options.window, options.from_ms, options.to_ms, options.kind)
        if options.device:
            changed = None if since is None else what_changed(source, line, options.device, window, since)
            machine = explained_device(plan, source, options.device, window)
            _say(machine.document, told_of_machine(machine, plan.zone, changed), as_json=options.json)
            return EXIT_WELL if machine.adds_up else EXIT_NOT_WELL
        changed = None if since is None else what_changed(source, line, None, window, since)
        whole = explained_line(plan, source, line, window, now_ms)
        _say(whole.document, told_of_line(whole, plan.zone, changed), as_json=options.json)
        for each in whole.machines.values():
            if not options.json:
                sys.stdout.write("\n")
            _say(each.document, told_of_machine(each, plan.zone), as_json=options.json)
        return EXIT_WELL if whole.adds_up else EXIT_NOT_WELL


def _say(document: OeeDocument, explained: Explained, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.encode({"figures": document, "explained": explained}).decode() + "\n")
    else:
        sys.stdout.write("".join(f"{text}\n" for text in explained.words))


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
