"""How a process starts and ends: signals, and the answers of a command line to mistakes and requests."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from importlib.metadata import version as package_version
from pathlib import Path
from types import FrameType

from ..errors import CannotStart, ConfigurationProblems, Refusal, Unavailable

EXIT_WELL = 0
EXIT_NOT_WELL = 1
EXIT_MISTAKE = 2
EXIT_FAILED = 70
"""A fault of ours: the restart policy acts."""


def stop_event(when_set: Callable[[], object] = lambda: None) -> threading.Event:
    """Set on SIGTERM or SIGINT, and `when_set` is called. A second signal ends the process at once. Call on the main thread."""
    event = threading.Event()

    def stop(number: int, _frame: FrameType | None) -> None:
        if event.is_set():
            os._exit(128 + number)
        event.set()
        when_set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return event


def add_version(parser: argparse.ArgumentParser, package: str) -> None:
    """`--version`: that of the package which holds the command."""
    parser.add_argument("--version", action="version", version=f"%(prog)s {package_version(package)}")


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """`--config DIR` and `--json`, which every command takes (contracts.md 7)."""
    parser.add_argument("--config", type=Path, metavar="DIR", help="folder with plant.yaml (default: MILLRACE_CONFIG, or config)")
    parser.add_argument("--json", action="store_true", help="print JSON lines instead of text")


def answer_mistakes(command: Callable[[], int], *, as_json: bool = False) -> int:
    """Run a command; what a person must know becomes text (or JSON lines) on standard error, and never a traceback.

    A mistake and a refusal give exit status 2, what is away now gives 1.
    """
    try:
        return command()
    except ConfigurationProblems as error:
        for problem in error.problems:
            line = (
                json.dumps({"file": problem.file, "line": problem.line, "key": problem.key, "message": problem.message})
                if as_json
                else str(problem)
            )
            sys.stderr.write(f"{line}\n")
        if not as_json:
            sys.stderr.write(f"{len(error.problems)} problem{'s' if len(error.problems) != 1 else ''}, nothing started\n")
        return EXIT_MISTAKE
    except CannotStart as error:
        line = json.dumps({"place": error.place, "message": error.reason}) if as_json else f"{error}\nnothing started"
        sys.stderr.write(f"{line}\n")
        return EXIT_MISTAKE
    except Refusal as error:
        _say(str(error), as_json=as_json)
        return EXIT_MISTAKE
    except Unavailable as error:
        _say(error.reason, as_json=as_json)
        return EXIT_NOT_WELL
    except BrokenPipeError:  # the reader, head or less, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_WELL
    except KeyboardInterrupt:
        return 130


def _say(problem: str, *, as_json: bool) -> None:
    sys.stderr.write(f"{json.dumps({'error': problem}) if as_json else problem}\n")
