"""The arguments of `millrace record`, its account at the broker, and what it says while it works."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr

from millrace_contract.plant import load_plant
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.lifecycle import EXIT_NOT_WELL, EXIT_WELL, stop_event
from millrace_contract.runtime.settings import load_settings

from ..command_account import command_account
from ..own_accounts import COMMAND_ACCOUNTS
from ..secret_files import SecretFiles
from ..settings import AdminSettings
from .recorder import Recorded, Recorder

PATIENCE_S = 15.0
PROGRESS_EVERY_S = 10.0


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """`millrace record`; returns its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "record", help="write what goes through the broker as an event file, for replay and tune"
    )
    parser.add_argument("--minutes", type=_minutes, metavar="N", help="stop after so long (default: at Ctrl-C)")
    parser.add_argument("--secrets", metavar="DIR", help="folder of all secrets (default: MILLRACE_SECRETS)")
    parser.set_defaults(command=_record)
    return parser


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0
    if not 0 < minutes < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes, like 10 or 0.5")
    return minutes


def _record(options: argparse.Namespace) -> int:
    with _with_account(load_settings(AdminSettings, os.environ, config=options.config, secrets=options.secrets)) as settings:
        return _record_with(settings, options)


def _record_with(settings: AdminSettings, options: argparse.Namespace) -> int:
    plant = load_plant(settings.config)
    # What the session would log of its connection is told below, in words.
    logging.getLogger("millrace_contract").setLevel(logging.CRITICAL)
    stop = stop_event()
    said = _Said(as_json=options.json)
    seconds = None if options.minutes is None else 60 * options.minutes
    said.begin(f"{settings.mqtt_host}:{settings.mqtt_port}", plant.root, seconds)
    recorder = Recorder(settings, plant.root, sys.stdout.buffer, SystemClock())
    try:
        recorded = recorder.record(stop, seconds=seconds, patience_s=PATIENCE_S, progress=said.progress)
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # What is still held for the file has no other place.
        said.say(
            {"error": str(error)}, f"the file takes no more: {error.strerror or error}; what was written before is whole lines"
        )
        return EXIT_NOT_WELL
    said.end(recorded)
    return EXIT_WELL if recorded.is_whole else EXIT_NOT_WELL


@contextmanager
def _with_account(settings: AdminSettings) -> Iterator[AdminSettings]:
    """The account of the environment, or else one of the platform's own, which may read everything and write nothing."""
    if settings.mqtt_username:
        yield settings
        return
    if settings.mqtt_password.get_secret_value():
        yield settings.model_copy(update={"mqtt_username": COMMAND_ACCOUNTS[0]})
        return
    with command_account(SecretFiles(settings.secrets, give_away=False)) as (name, password):
        yield settings.model_copy(update={"mqtt_username": name, "mqtt_password": SecretStr(password)})


class _Said:
    """Lines on standard error: the recording itself goes to standard output."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._said_s = time.monotonic()

    def begin(self, broker: str, root: str, seconds: float | None) -> None:
        limit = "until Ctrl-C" if seconds is None else f"for {_duration(seconds)}; Ctrl-C ends it earlier"
        self.say({"broker": broker, "root": root}, f"recording {root}/... from the broker at {broker}, {limit}")

    def progress(self, recorded: Recorded, left_s: float | None) -> None:
        if time.monotonic() - self._said_s < PROGRESS_EVERY_S:
            return
        self._said_s = time.monotonic()
        left = "" if left_s is None else f", {_duration(max(left_s, 0))} left"
        figures = {"messages": recorded.messages, "bytes": recorded.bytes, "left_s": None if left_s is None else round(left_s)}
        self.say(figures, f"{_amount(recorded)}{left}")

    def end(self, recorded: Recorded) -> None:
        text = f"recorded {_amount(recorded)}"
        if recorded.interruptions:
            times = "once" if recorded.interruptions == 1 else f"{recorded.interruptions} times"
            text += f"; the connection was gone {times}, and what was published meanwhile is missing"
        if recorded.dropped:
            text += f"; {recorded.dropped} messages of QoS 0 came faster than they could be written, and are missing"
        if recorded.problem is not None and not recorded.interruptions:
            text += f"; {recorded.problem}"
        figures = {
            "messages": recorded.messages,
            "bytes": recorded.bytes,
            "interruptions": recorded.interruptions,
            "dropped": recorded.dropped,
            "problem": recorded.problem,
        }
        self.say(figures, text)

    def say(self, figures: Mapping[str, object], text: str) -> None:
        sys.stderr.write(f"{json.dumps(figures) if self._as_json else text}\n")
        sys.stderr.flush()


def _amount(recorded: Recorded) -> str:
    return f"{recorded.messages:,} message{'s' if recorded.messages != 1 else ''}, {recorded.bytes / 1e6:,.1f} MB"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes and rest else f"{minutes} min" if minutes else f"{rest} s"
