"""The commands `archive verify`, `archive import` and `archive export`."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from millrace_contract.errors import ConfigurationProblems, Problem, Refusal, Unavailable
from millrace_contract.language.measurements import BUCKETS, PRODUCTION_BUCKET, TELEMETRY_BUCKET
from millrace_contract.language.stored_points import line_device, line_time_ms
from millrace_contract.language.times import format_timestamp
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.influx import Influx, Series
from millrace_contract.runtime.lifecycle import EXIT_MISTAKE, EXIT_NOT_WELL, EXIT_WELL

from . import cli
from .archive import batches, files, name_parts
from .archive_export import Export, ExportFailed, Reached, export, unfinished
from .rejects import Reject, write_lines
from .rollup.late import LateMarks
from .settings import IngestSettings

PROGRESS_EVERY_S = 2.0
LOGGED_EVERY_S = 60.0
PATIENCE_S = 600.0
AGAIN_S = 2.0
MARKED_BY = "import"
"""The instance in marks of late data, where ingests have theirs."""


@dataclass
class Outcome:
    """What became of one file. `torn`: it ends inside a batch, which is a kill's trace and no damage.

    `first_ms`, `last_ms`: times of its points.
    """

    file: str
    batches: int = 0
    lines: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    torn: bool = False
    damaged: int = 0
    problem: str | None = None
    is_database_away: bool = False
    refused: int = 0
    first_refusal: str | None = None

    @property
    def is_well(self) -> bool:
        return self.problem is None and not self.refused and not self.damaged

    def covers(self, first_ms: int, last_ms: int) -> None:
        self.first_ms = first_ms if self.first_ms is None else min(self.first_ms, first_ms)
        self.last_ms = last_ms if self.last_ms is None else max(self.last_ms, last_ms)


def add_archive_arguments(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> list[argparse.ArgumentParser]:
    """The parsers of `archive verify`, `import` and `export`."""
    verify = commands.add_parser("verify", help="read every batch of the archive's files against its checksum")
    bring = commands.add_parser("import", help="write the archive's files into the database of this environment")
    for parser in (verify, bring):
        parser.add_argument(
            "paths", nargs="*", type=Path, metavar="PATH", help="files or folders (default: MILLRACE_INGEST_ARCHIVE)"
        )
    take = commands.add_parser("export", help="write what the database holds into files like those of the archive")
    take.add_argument("folder", type=Path, metavar="FOLDER")
    take.add_argument("--from", dest="begin", type=_asked, required=True, metavar="TIME", help="3d, or a timestamp with zone")
    take.add_argument("--to", dest="end", type=_asked, metavar="TIME", help="default now")
    take.add_argument("--bucket", action="append", choices=BUCKETS, help="only this one; may be given again (default: all)")
    return [verify, bring, take]


def archive(settings: IngestSettings, arguments: argparse.Namespace) -> int:
    """Runs one of them; exit status 1 unless every file is whole, and stored."""
    match arguments.action:
        case "verify":
            return _read_all(settings, arguments, None)
        case "import":
            with Influx(settings) as influx:
                return _read_all(settings, arguments, influx)
        case _:
            return _export(settings, arguments)


def _asked(text: str) -> tuple[str, int]:
    """What was typed, and the moment that it means now."""
    return text, cli.moment(text)


def _export(settings: IngestSettings, arguments: argparse.Namespace) -> int:
    reached = _begun(arguments)
    say = (lambda _: None) if arguments.json else _Progress(always=True).say
    begun_s, share = time.monotonic(), reached.share

    def progress(now: Reached) -> None:
        per_share_s = (time.monotonic() - begun_s) / (now.share - share)
        left = f"about {math.ceil((1 - now.share) * per_share_s / 60)} min left"
        say(f"{now.share:.0%}: {now.bucket} up to {format_timestamp(now.until_ms)}, {now.lines:,} lines, {left}")

    try:
        with Influx(settings, timeout_s=60.0, epoch="ns") as influx:
            lines = export(_Patient(influx, say), arguments.folder, reached, progress)
    except (Unavailable, Refusal, ExportFailed, KeyboardInterrupt) as problem:
        why = "interrupted" if isinstance(problem, KeyboardInterrupt) else str(problem)
        message = f"{why}; what was written so far is whole, and the same command goes on from there"
        _say(json.dumps({"error": message}) if arguments.json else message)
        return EXIT_MISTAKE if isinstance(problem, Refusal) else EXIT_NOT_WELL
    _say(json.dumps({"lines": lines}) if arguments.json else f"{lines} lines in {arguments.folder}; `archive verify` checks them")
    return EXIT_WELL


def _begun(arguments: argparse.Namespace) -> Reached:
    """The export that is wanted, from its beginning or from where the same one was cut off. Raises ConfigurationProblems."""
    end_text, end_ms = arguments.end or ("now", SystemClock().now_ms())
    begin_text, begin_ms = arguments.begin
    buckets = tuple(arguments.bucket or BUCKETS)
    if end_ms <= begin_ms:
        raise ConfigurationProblems([Problem("command line", 0, "--to", "is not after --from")])
    asked = f"--from {begin_text} --to {end_text} of {', '.join(buckets)}"
    known = unfinished(arguments.folder)
    if known is None:
        return Reached(Export(asked, begin_ms, end_ms, buckets), 0, begin_ms)
    if known.export.asked != asked:
        message = f"holds an export that was cut off ({known.export.asked}): finish it with the same words, or name another folder"
        raise ConfigurationProblems([Problem("command line", 0, str(arguments.folder), message)])
    if not arguments.json:
        between = f"{format_timestamp(known.export.begin_ms)} to {format_timestamp(known.export.end_ms)}"
        _say(f"going on with the export of {between} at {known.share:.0%}, {known.lines:,} lines")
    return known


class _Patient:
    """Waits for a database that does not answer any more: it may be begun anew while an export of hours runs."""

    def __init__(self, influx: Influx, say: Callable[[str], None]) -> None:
        self._influx = influx
        self._say = say
        self._has_answered = False

    def query(self, bucket: str, influxql: str, **parameters: str | float) -> list[Series]:
        """Raises Unavailable when it never answered, or not for PATIENCE_S, and what it answers."""
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                found = self._influx.query(bucket, influxql, **parameters)
            except Unavailable as problem:
                if not self._has_answered or time.monotonic() > deadline_s:
                    raise
                self._say(f"{problem}; waiting")
                time.sleep(AGAIN_S)
            else:
                self._has_answered = True
                return found


def _read_all(settings: IngestSettings, arguments: argparse.Namespace, influx: Influx | None) -> int:
    outcomes: list[Outcome] = []
    for path in _chosen(settings, arguments.paths):
        outcomes.append(_read(path, influx, _Progress()))
        _say(json.dumps(asdict(outcomes[-1])) if arguments.json else _in_words(outcomes[-1]))
        if outcomes[-1].is_database_away:
            break
    if not arguments.json:
        bad = sum(not one.is_well for one in outcomes)
        _say(f"{len(outcomes)} files, {sum(one.lines for one in outcomes)} lines, {bad} not well")
        if outcomes[-1].is_database_away:
            _say("the files behind it were not read; import again: what is stored already does not change")
    return EXIT_WELL if all(one.is_well for one in outcomes) else EXIT_NOT_WELL


def _chosen(settings: IngestSettings, paths: Sequence[Path]) -> list[Path]:
    given = list(paths) or ([Path(settings.ingest_archive)] if settings.ingest_archive else [])
    if not given:
        raise ConfigurationProblems([Problem("environment", 0, "MILLRACE_INGEST_ARCHIVE", "is not set; name files or folders")])
    chosen: list[Path] = []
    for path in given:
        try:
            path.stat()
            found = files(path) if path.is_dir() else [path]
            for one in found:
                name_parts(one)
        except OSError as error:
            raise ConfigurationProblems([Problem("command line", 0, str(path), str(error.strerror))]) from error
        except ValueError as error:
            raise ConfigurationProblems([Problem("command line", 0, str(path), str(error))]) from error
        if not found:
            raise ConfigurationProblems([Problem("command line", 0, str(path), "holds no file of the archive")])
        chosen += found
    return chosen


def _read(path: Path, influx: Influx | None, progress: _Progress) -> Outcome:
    outcome = Outcome(str(path))
    bucket = name_parts(path)["bucket"]
    try:
        for batch in batches(path):
            outcome.damaged += batch.damaged
            outcome.torn = batch.torn
            rejects = _store(influx, bucket, batch.lines) if influx is not None else []
            outcome.refused += len(rejects)
            if rejects and outcome.first_refusal is None:
                outcome.first_refusal = rejects[0].reason
            if batch.lines:
                outcome.batches += 1
                outcome.lines += len(batch.lines)
                times_ms = [line_time_ms(line) for line in batch.lines]
                outcome.covers(min(times_ms), max(times_ms))
            progress.say(f"{path.name}: {outcome.lines} lines")
    except Unavailable as problem:
        outcome.problem, outcome.is_database_away = str(problem), True
    except OSError as problem:
        outcome.problem = str(problem)
    return outcome


def _store(influx: Influx, bucket: str, lines: list[bytes]) -> list[Reject]:
    """Writes a batch; tells the roll-ups of readings, as ingest tells them of what came late."""
    rejects = write_lines(partial(influx.write, bucket), lines)
    if bucket == TELEMETRY_BUCKET:
        marks = LateMarks(MARKED_BY).lines(_sources(lines), SystemClock().now_ms())
        if marks:
            influx.write(PRODUCTION_BUCKET, b"\n".join(marks))
    return rejects


def _sources(lines: Sequence[bytes]) -> Iterator[tuple[str, int]]:
    """(device, time) of each line that a device sent."""
    for line in lines:
        if (device := line_device(line)) is not None:
            yield device, line_time_ms(line)


def _in_words(one: Outcome) -> str:
    text = f"{one.file}: {one.batches} batches, {one.lines} lines"
    if one.first_ms is not None and one.last_ms is not None:
        text += f" of {format_timestamp(one.first_ms)} to {format_timestamp(one.last_ms)}"
    if one.torn:
        text += "; ends inside a batch, which came again into a later file"
    if one.damaged:
        text += f"; DAMAGED: {one.damaged} batch{'es' if one.damaged > 1 else ''} could not be read, all others were"
    if one.refused:
        text += f"; {one.refused} lines refused: {one.first_refusal}"
    return f"{text}; {one.problem}" if one.problem else text


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class _Progress:
    """A line on a terminal every few seconds while something long goes on; elsewhere, with `always`, every minute."""

    def __init__(self, *, always: bool = False) -> None:
        self._said_s = time.monotonic()
        self._every_s = PROGRESS_EVERY_S if sys.stderr.isatty() else LOGGED_EVERY_S if always else math.inf

    def say(self, text: str) -> None:
        if time.monotonic() - self._said_s > self._every_s:
            self._said_s = time.monotonic()
            sys.stderr.write(f"... {text}\n")
