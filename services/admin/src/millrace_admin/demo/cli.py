"""The arguments of `millrace demo`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from millrace_contract.runtime.lifecycle import EXIT_NOT_WELL

from .layout import CannotRun
from .run import run_demo


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """`millrace demo`; returns its parser."""
    parser: argparse.ArgumentParser = commands.add_parser("demo", help="run everything without containers, with a live picture")
    parser.add_argument("--state", type=Path, default=Path("var/demo"), metavar="DIR", help="where the demo keeps its data")
    parser.add_argument("--repository", type=Path, default=Path(), metavar="DIR", help="folder with mosquitto/mosquitto.conf")
    parser.add_argument("--port", type=int, default=8080, help="port of the operator page and the API; the next free one is taken")
    parser.add_argument(
        "--days", type=float, default=1, help="past to send at the first start, for OEE and boards; 0: none (default: 1)"
    )
    parser.add_argument("--seconds", type=float, metavar="N", help="stop after N seconds (default: at Ctrl-C)")
    parser.set_defaults(command=_demo)
    return parser


def _demo(options: argparse.Namespace) -> int:
    try:
        return run_demo(
            options.config or Path("config"),
            options.state,
            options.repository,
            port=options.port,
            environ=os.environ,
            days=options.days,
            seconds=options.seconds,
        )
    except CannotRun as missing:
        print(f"millrace demo: {missing}")
        return EXIT_NOT_WELL
