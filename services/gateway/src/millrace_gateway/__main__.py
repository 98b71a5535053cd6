"""The command line: run, plan, read, probe, scan, profile import."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from millrace_contract.runtime.lifecycle import add_common_arguments, add_version, answer_mistakes
from millrace_contract.runtime.settings import load_settings, variable

from .blocks import FUNCTION_CODES
from .commands.import_list import show_profile
from .commands.plan import show_plan
from .commands.probe import show_decodings
from .commands.read import show_device
from .commands.scan import show_units
from .place_arguments import add_place_arguments
from .registers import ORDERS
from .service import serve
from .settings import GatewaySettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `millrace-gateway`; returns the exit status."""
    options = _parser().parse_args(arguments)
    return answer_mistakes(lambda: int(options.command(options)), as_json=options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="millrace-gateway", description="Reads Modbus devices; never writes to one.")
    add_version(parser, "millrace-gateway")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="serve: read the devices that name this gateway, keep and send what they say")
    run.set_defaults(command=_run)

    plan = commands.add_parser("plan", help="the requests, registers and time that polling costs, before anything runs")
    plan.add_argument("devices", nargs="*", metavar="DEVICE", help="only these, each request listed (default: all)")
    plan.set_defaults(command=lambda options: show_plan(options, _settings(options)))

    read = commands.add_parser("read", help="read one device once: values beside raw registers, or beside its message")
    read.add_argument("device", metavar="DEVICE")
    of_sensors = read.add_argument_group("of a device with transport mqtt")
    of_sensors.add_argument("--wait", type=float, default=60.0, metavar="S", help="how long to wait for its message (default 60)")
    of_sensors.add_argument("--message", metavar="FILE", help="a message of it, in place of the broker; - is standard input")
    of_sensors.add_argument("--topic", metavar="TOPIC", help="with --message: which of its topics it came on, where it has several")
    read.set_defaults(command=lambda options: show_device(options, _settings(options)))

    probe = commands.add_parser("probe", help="decode one address in every type and order")
    add_place_arguments(probe, timeout_s=1.0)
    probe.add_argument("--unit", type=int, default=1, metavar="N", help="unit id (default 1)")
    probe.add_argument(
        "--address", type=int, required=True, metavar="A", help="zero-based protocol address: a manual's 40011 is 10"
    )
    probe.add_argument("--table", choices=list(FUNCTION_CODES), default="holding")
    probe.add_argument("--expect", metavar="X", help="the value that the machine shows now")
    probe.set_defaults(command=show_decodings)

    scanned = commands.add_parser("scan", help="the units that answer at a host, their largest request and shortest pause")
    add_place_arguments(scanned, timeout_s=0.5)
    scanned.add_argument("--units", metavar="N,N-M", help="unit ids to ask (default: all from 0 to 247 and 255, likely ones first)")
    scanned.add_argument("--table", choices=["holding", "input"], default="holding", help="with --address (default holding)")
    scanned.add_argument("--address", type=int, metavar="A", help="a zero-based address that can be read (default: likely ones)")
    scanned.set_defaults(command=show_units)

    profile = commands.add_parser("profile", help="make a device profile").add_subparsers(required=True, metavar="WHAT")
    imported = profile.add_parser("import", help="from a tag list as people have them; prints the profile, and notes on the rest")
    imported.add_argument("file", type=Path, metavar="LIST", help="recognised by its content, whatever it is called")
    imported.add_argument("--title", help="what people call the device (default: the file's name)")
    imported.add_argument("--device", metavar="NAME", help="which device of a list that holds several")
    imported.add_argument("--order", choices=list(ORDERS), help="word order of the values for which the list gives none")
    imported.add_argument("--model-at", type=int, metavar="A", help="of a SunSpec model: the zero-based address of its number")
    imported.set_defaults(command=show_profile)

    for each in (run, plan, read, probe, scanned, imported):
        add_common_arguments(each)
    return parser


def _settings(options: argparse.Namespace) -> GatewaySettings:
    """For commands that look at devices and plan: the file of the account may not be there yet."""
    password = f"{variable('mqtt_password')}_FILE"
    is_missing = not Path(os.environ.get(password, "")).exists()
    environ = {name: value for name, value in os.environ.items() if name != password or not is_missing}
    return load_settings(GatewaySettings, environ, config=options.config)


def _run(options: argparse.Namespace) -> int:
    log_format = "json" if options.json else None
    return serve(load_settings(GatewaySettings, os.environ, config=options.config, log_format=log_format))


if __name__ == "__main__":
    sys.exit(main())
