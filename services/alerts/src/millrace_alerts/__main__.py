"""millrace-alerts: serve; try rules on the past, compare deadbands and delays."""

import argparse
import os
import sys
from collections.abc import Sequence

from millrace_contract.errors import CannotStart
from millrace_contract.runtime.lifecycle import add_common_arguments, add_version, answer_mistakes
from millrace_contract.runtime.serving import accept, serve
from millrace_contract.runtime.settings import load_settings

from .cli import add_commands, replay, tune
from .event_archive import FOLDER, archived_events
from .service import SERVICE, AlertsService, load_configuration
from .settings import AlertsSettings
from .store import FILE


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    commands = {"run": _run, "replay": replay, "tune": tune, "archive": _archive}
    return answer_mistakes(lambda: commands[given.command](given), as_json=given.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="millrace-alerts", description=__doc__)
    add_version(parser, "millrace-alerts")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="serve: evaluate the rules, answer the API and the page")
    add_common_arguments(run)
    add_commands(commands)
    archive = commands.add_parser("archive", help="print the events that have left the feed, one JSON object a line")
    add_common_arguments(archive)
    archive.add_argument("--after", type=int, default=0, metavar="SEQ", help="only those with a greater event_seq")
    return parser


def _run(given: argparse.Namespace) -> int:
    settings = load_settings(AlertsSettings, os.environ, config=given.config)

    def construct() -> AlertsService:
        return AlertsService(settings, accept(settings.config, settings.data, load_configuration))

    return serve(settings, SERVICE, construct)


def _archive(given: argparse.Namespace) -> int:
    data = load_settings(AlertsSettings, os.environ, config=given.config).data
    if not (data / FILE).exists():
        raise CannotStart("MILLRACE_DATA", f"{data} holds no {FILE}: alerts has not run with this folder")
    try:
        for line in archived_events(data, given.after):
            print(line.decode())
    except (OSError, ValueError) as error:
        raise CannotStart(str(data / FOLDER), str(error)) from error
    return 0


if __name__ == "__main__":
    sys.exit(main())
