"""The command line `millrace-ingest`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from millrace_contract.runtime.lifecycle import add_common_arguments, add_version, answer_mistakes
from millrace_contract.runtime.serving import serve
from millrace_contract.runtime.settings import load_settings

from . import archive_cli, cli, status_cli
from .rollup import service as rollup
from .service import SERVICE, IngestService
from .settings import IngestSettings, RollupSettings


def main() -> int:
    arguments = _parser().parse_args()

    def command() -> int:
        if arguments.command == "rollup":
            return roll_up(load_settings(RollupSettings, os.environ, config=arguments.config), arguments)
        settings = load_settings(IngestSettings, os.environ, config=arguments.config)
        run: Callable[[IngestSettings, argparse.Namespace], int] = arguments.run
        return run(settings, arguments)

    return answer_mistakes(command, as_json=arguments.json)


def run(settings: IngestSettings, _arguments: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT."""
    return serve(settings, SERVICE, lambda: IngestService(settings))


def roll_up(settings: RollupSettings, arguments: argparse.Namespace) -> int:
    """Rolls up until SIGTERM or SIGINT."""
    return serve(settings, rollup.SERVICE, lambda: rollup.RollupService(settings, arguments.begin))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="millrace-ingest", description="MQTT messages into InfluxDB, each once.")
    add_version(parser, "millrace-ingest")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    running = commands.add_parser("run", help="serve until stopped")
    running.set_defaults(run=run)
    windows = commands.add_parser("rollup", help="make minutes and hours of the readings until stopped")
    windows.add_argument(
        "--from",
        dest="begin",
        type=cli.moment,
        metavar="TIME",
        help="first make them again from there: 3d, or a timestamp with zone",
    )
    letters = commands.add_parser("dead-letters", help="messages that broke the contract")
    actions = cli.add_dead_letter_arguments(letters.add_subparsers(dest="action", required=True, metavar="ACTION"))
    for action in actions:
        action.set_defaults(run=cli.dead_letters)
    files = commands.add_parser("archive", help="line-protocol files of what was stored")
    archives = archive_cli.add_archive_arguments(files.add_subparsers(dest="action", required=True, metavar="ACTION"))
    for action in archives:
        action.set_defaults(run=archive_cli.archive)
    state = commands.add_parser("status", help="the data path in words: ingest, roll-ups, gateways, and what was lost")
    state.set_defaults(run=status_cli.status)
    for command in [running, windows, state, *actions, *archives]:
        add_common_arguments(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
