"""Find a server or get it, and print its path: what `scripts/mosquitto` and `scripts/influxd` run."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from millrace_contract.runtime.clock import SystemClock

from .influxd import get_influxd
from .influxd import way_out as influxd_way_out
from .mosquitto import get_mosquitto
from .mosquitto import way_out as mosquitto_way_out
from .places import NotToBeHad, find_influxd, find_mosquitto

LINE_EVERY_S = 2.0
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Told:
    """Standard error: one line a statement; how far it is rewrites its line on a terminal and is a line now and then elsewhere."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_terminal = sys.stderr.isatty()
        self._clock = SystemClock()
        self._last = ""
        self._next_s = 0.0

    def say(self, text: str) -> None:
        sys.stderr.write(f"{self._end_of_line()}{self._name}: {text}\n")
        self._last = ""

    def report(self, text: str) -> None:
        if text == self._last:
            return
        if self._is_terminal:
            sys.stderr.write(f"\r\x1b[K{self._name}: {text}")
            sys.stderr.flush()
        elif self._clock.monotonic_s() >= self._next_s:
            sys.stderr.write(f"{self._name}: {text}\n")
            sys.stderr.flush()
            self._next_s = self._clock.monotonic_s() + LINE_EVERY_S
        self._last = text

    def _end_of_line(self) -> str:
        return "\n" if self._is_terminal and self._last else ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="millrace_admin.servers", description=__doc__)
    parser.add_argument("server", choices=("mosquitto", "influxd"))
    parser.add_argument("--find", action="store_true", help="only look; never download or build")
    parser.add_argument("--repository", type=Path, default=Path(), metavar="DIR", help="folder with influxdb/build")
    options = parser.parse_args()
    for number in ENDING:
        signal.signal(number, _end)
    told = Told(options.server)
    try:
        print(_path(options, told))
    except NotToBeHad as why:
        told.say(str(why))
        return 1
    return 0


def _path(options: argparse.Namespace, told: Told) -> str:
    is_broker = options.server == "mosquitto"
    if found := (find_mosquitto if is_broker else find_influxd)(os.environ):
        return found
    if options.find:
        way_out = mosquitto_way_out(os.environ.get("PATH", "")) if is_broker else influxd_way_out(os.environ)
        raise NotToBeHad(f"not on this machine; {way_out}")
    if is_broker:
        return get_mosquitto(os.environ, told.say)
    return get_influxd(os.environ, options.repository, told.say, told.report)


def _end(number: int, _frame: FrameType | None) -> None:
    """Leave through every `finally`: what is half made goes, what was started ends. Nothing interrupts that."""
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
