"""The commands on dead letters: listed, shown and replayed."""

from __future__ import annotations

import argparse
import base64
import json
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.lifecycle import EXIT_MISTAKE, EXIT_NOT_WELL, EXIT_WELL
from millrace_contract.runtime.tables import aligned

from .dead_letters import DeadLetters, ParkedLetter, Selection
from .disk import Disk, open_beside_service
from .settings import IngestSettings

_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def add_dead_letter_arguments(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> list[argparse.ArgumentParser]:
    """The parsers of `dead-letters list`, `show` and `replay`."""
    listing = commands.add_parser("list", help="the newest dead letters, one a line")
    listing.add_argument("--limit", type=int, default=50, help="at most so many (default 50)")
    show = commands.add_parser("show", help="one dead letter with its payload")
    show.add_argument("id", type=int)
    replay = commands.add_parser("replay", help="send dead letters again, after their cause is mended")
    replay.add_argument("ids", type=int, nargs="*", metavar="ID", help="these only")
    replay.add_argument("--all", action="store_true", help="every dead letter")
    replay.add_argument("--wait", type=float, default=15.0, metavar="SECONDS", help="how long to wait for the outcome (default 15)")
    for parser in (listing, replay):
        parser.add_argument("--device", help="of this device")
        parser.add_argument("--reason", help="of this code, or with these words in the reason")
        parser.add_argument("--since", type=moment, metavar="TIME", help="that came since: 30m, 2h, 3d, or a timestamp with zone")
    return [listing, show, replay]


def dead_letters(settings: IngestSettings, arguments: argparse.Namespace) -> int:
    """Runs one of the dead-letter commands; its exit status."""
    disk = open_beside_service(settings.data)
    if disk is None:
        raise ConfigurationProblems([_data_problem(settings.data)])
    try:
        letters = DeadLetters(disk, limit_bytes=2**63)
        match arguments.action:
            case "list":
                return _list(letters, arguments)
            case "show":
                return _show(letters, arguments)
            case _:
                return _replay(disk, letters, arguments)
    finally:
        disk.close()


def _list(letters: DeadLetters, arguments: argparse.Namespace) -> int:
    selection = Selection(device=arguments.device, reason=arguments.reason, since_ms=arguments.since)
    found = letters.select(selection, arguments.limit)
    if arguments.json:
        _print_json(_as_dict(letter) for letter in found)
        return EXIT_WELL
    if not found:
        print("no dead letters" if not letters.count else "no dead letter matches")
        return EXIT_WELL
    rows = [(one.id, format_timestamp(one.last_ms), one.times, one.device or "-", one.code, one.reason) for one in found]
    print(aligned(("id", "last came", "times", "device", "code", "reason"), rows))
    print(f"{len(found)} shown of {letters.count}; `dead-letters show ID` shows one, `dead-letters replay` sends them again")
    return EXIT_WELL


def _show(letters: DeadLetters, arguments: argparse.Namespace) -> int:
    found = letters.select(Selection(ids=(arguments.id,)), 1)
    if not found:
        print(json.dumps({"error": "no such dead letter"}) if arguments.json else f"there is no dead letter {arguments.id}")
        return EXIT_NOT_WELL
    [letter] = found
    if arguments.json:
        _print_json([{**_as_dict(letter), **_payload(letter.payload)}])
        return EXIT_WELL
    for key, value in _as_dict(letter).items():
        print(f"{key:>10}  {'-' if value is None else value}")
    text = letter.payload[:4_000].decode(errors="backslashreplace")
    print(f"{'payload':>10}  {text}{' ...' if len(letter.payload) > 4_000 else ''}")
    return EXIT_WELL


def _replay(disk: Disk, letters: DeadLetters, arguments: argparse.Namespace) -> int:
    selection = Selection(tuple(arguments.ids), arguments.device, arguments.reason, arguments.since)
    if selection == Selection() and not arguments.all:
        print("say which: ids, --device, --reason, --since, or --all")
        return EXIT_MISTAKE
    with disk.transaction():
        ids = letters.request_replay(selection, SystemClock().now_ms())
    deadline_s = time.monotonic() + arguments.wait
    while (left := letters.outcomes(ids)) and any(waits for _, waits, _ in left) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    again = [(letter_id, reason) for letter_id, waits, reason in left if not waits]
    waiting = len(left) - len(again)
    outcome = {"selected": len(ids), "stored": len(ids) - len(left), "parked_again": len(again), "waiting": waiting}
    if arguments.json:
        _print_json([outcome])
    else:
        print(f"{outcome['selected']} selected, {outcome['stored']} stored, {len(again)} parked again, {waiting} waiting")
        for letter_id, reason in again[:20]:
            print(f"  {letter_id}: {reason}")
        if waiting:
            print("those waiting are sent as soon as ingest runs and the database takes data")
    return EXIT_NOT_WELL if left else EXIT_WELL


def moment(text: str) -> int:
    """A time as people give it: an age (30m, 2h, 3d) or a timestamp; ms since the epoch. Raises ArgumentTypeError."""
    if match := re.fullmatch(r"(\d+)([smhd])", text):
        return SystemClock().now_ms() - int(match[1]) * _UNITS_S[match[2]] * 1000
    try:
        return parse_timestamp(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; or write an age like 30m, 2h or 3d") from error


def _as_dict(letter: ParkedLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "topic": letter.topic,
        "device": letter.device,
        "code": letter.code,
        "reason": letter.reason,
        "first": format_timestamp(letter.first_ms),
        "last": format_timestamp(letter.last_ms),
        "times": letter.times,
        "attempts": letter.attempts,
        "stream": letter.stream,
        "seq": letter.seq,
        "bytes": len(letter.payload),
        "waiting": letter.replay_ms is not None,
    }


def _payload(payload: bytes) -> dict[str, str]:
    try:
        return {"payload": payload.decode()}
    except UnicodeDecodeError:
        return {"payload_base64": base64.b64encode(payload).decode()}


def _print_json(rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        print(json.dumps(row, ensure_ascii=False))


def _data_problem(folder: Path) -> Problem:
    return Problem("environment", 0, "MILLRACE_DATA", f"{folder} holds no data of ingest; name the folder that the service uses")
