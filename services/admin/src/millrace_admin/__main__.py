"""The `millrace` command line: reads arguments, calls, prints."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from millrace_contract.errors import CannotStart
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.lifecycle import (
    EXIT_NOT_WELL,
    EXIT_WELL,
    add_common_arguments,
    add_version,
    answer_mistakes,
)
from millrace_contract.runtime.settings import load_settings

from .access import cli as access_cli
from .backup import cli as backup_cli
from .bootstrap import BootstrapReport, bootstrap
from .check import examine
from .database_setup import set_up_database
from .demo import cli as demo_cli
from .doctor import cli as doctor_cli
from .record import cli as record_cli
from .secret_files import SecretFiles
from .settings import AdminSettings


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    options = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = options.command
    return answer_mistakes(lambda: _answered(command, options), as_json=options.json)


def _answered(command: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    try:
        return command(options)
    except OSError as error:
        if error.filename is None:  # no file of the plant's
            raise
        reason = f"{error.strerror}; who runs this must own the secrets folder and be able to write it"
        raise CannotStart(str(error.filename), reason) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="millrace", description="Set up, check and look after a Millrace platform.")
    add_version(parser, "millrace-admin")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    check = commands.add_parser("check", help="read the plant model and list every problem with file, line and key")
    check.set_defaults(command=_check)
    first = commands.add_parser("bootstrap", help="make the passwords, certificates and access rules that are missing")
    first.add_argument("--secrets", metavar="DIR", help="folder of all secrets (default: MILLRACE_SECRETS)")
    first.add_argument("--keep-owner", action="store_true", help="leave all files to whoever runs this (no containers)")
    first.set_defaults(command=_bootstrap)
    database = commands.add_parser("bootstrap-influxdb", help="make the buckets and tokens in InfluxDB that are missing")
    database.add_argument("--secrets", metavar="DIR", help="folder of all secrets (default: MILLRACE_SECRETS)")
    database.add_argument("--keep-owner", action="store_true", help="leave all files to whoever runs this (no containers)")
    database.set_defaults(command=_bootstrap_influxdb)
    access_parsers = access_cli.add_parsers(commands)
    backup_parsers = backup_cli.add_parsers(commands)
    demo = demo_cli.add_parser(commands)
    record = record_cli.add_parser(commands)
    doctor = doctor_cli.add_parser(commands)
    for each in (check, first, database, demo, record, doctor, *access_parsers, *backup_parsers):
        add_common_arguments(each)
    return parser


def _check(options: argparse.Namespace) -> int:
    settings = load_settings(AdminSettings, os.environ, config=options.config)
    examined = examine(settings.config)
    for problem in examined.problems:
        as_json = {"file": problem.file, "line": problem.line, "key": problem.key, "message": problem.message}
        print(json.dumps(as_json) if options.json else problem)
    if options.json:
        if not examined.problems:
            print(json.dumps({"version": examined.version, **examined.counts}))
        return EXIT_NOT_WELL if examined.problems else EXIT_WELL
    for name in examined.unchecked:
        print(f"{name}: what it says of lines, devices and profiles is checked once plant.yaml is right")
    if examined.problems:
        print(f"{len(examined.problems)} problem{'s' if len(examined.problems) != 1 else ''}")
        return EXIT_NOT_WELL
    counts = ", ".join(f"{count} {what}" for what, count in examined.counts.items())
    print(f"{settings.config}: no problems; {counts}; version {examined.version}")
    if examined.waiting:
        print("no device matches these alert rules yet:", ", ".join(examined.waiting))
    return EXIT_WELL


def _bootstrap(options: argparse.Namespace) -> int:
    settings = load_settings(AdminSettings, os.environ, config=options.config, secrets=options.secrets)
    report = bootstrap(_files(settings, options), settings.config, settings.hostname, _now(), settings.own_accounts)
    _print_report(report, as_json=options.json)
    return EXIT_WELL


def _bootstrap_influxdb(options: argparse.Namespace) -> int:
    settings = load_settings(AdminSettings, os.environ, config=options.config, secrets=options.secrets)
    files = _files(settings, options)
    report = set_up_database(files, settings.influx_url, settings.influx_org, settings.retention)
    _print_report(report, as_json=options.json)
    return EXIT_WELL


def _print_report(report: BootstrapReport, *, as_json: bool) -> None:
    lines = [("done", text) for text in report.done] + [("warning", text) for text in report.warnings]
    for kind, text in lines or [("done", "nothing was missing")]:
        print(json.dumps({kind: text}) if as_json else (text if kind == "done" else f"WARNING: {text}"))


def _files(settings: AdminSettings, options: argparse.Namespace) -> SecretFiles:
    # Only root can give files to the users of the containers; on a developer's machine everything is one user's.
    return SecretFiles(settings.secrets, give_away=os.geteuid() == 0 and not options.keep_owner)


def _now() -> datetime:
    return datetime.fromtimestamp(SystemClock().now_ms() / 1000, UTC)


if __name__ == "__main__":
    sys.exit(main())
