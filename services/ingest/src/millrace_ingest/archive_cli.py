"""The commands `archive verify` and `archive import`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from millrace_contract.errors import ConfigurationProblems, Problem, Unavailable
from millrace_contract.runtime.influx import Influx, Refused
from millrace_contract.runtime.lifecycle import EXIT_NOT_WELL, EXIT_WELL

from .archive import DamagedFile, TornEnd, batches, files, name_parts
from .rejects import Reject, write_lines
from .settings import IngestSettings


@dataclass
class Outcome:
    """What became of one file. `torn`: it ends inside a batch, which is a kill's trace and no damage."""

    file: str
    batches: int = 0
    lines: int = 0
    torn: bool = False
    problem: str | None = None
    refused: int = 0
    first_refusal: str | None = None

    @property
    def is_well(self) -> bool:
        return self.problem is None and not self.refused


def add_archive_arguments(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> list[argparse.ArgumentParser]:
    """The parsers of `archive verify` and `import`."""
    verify = commands.add_parser("verify", help="read every batch of the archive's files against its checksum")
    bring = commands.add_parser("import", help="write the archive's files into the database of this environment")
    for parser in (verify, bring):
        parser.add_argument(
            "paths", nargs="*", type=Path, metavar="PATH", help="files or folders (default: MILLRACE_INGEST_ARCHIVE)"
        )
    return [verify, bring]


def archive(settings: IngestSettings, arguments: argparse.Namespace) -> int:
    """Runs one of the two; exit status 1 unless every file is whole, and stored."""
    chosen = _chosen(settings, arguments.paths)
    if arguments.action == "verify":
        outcomes = [_read(path, None) for path in chosen]
    else:
        with Influx(settings) as influx:
            outcomes = [_read(path, influx) for path in chosen]
    lines = [json.dumps(asdict(one)) if arguments.json else _in_words(one) for one in outcomes]
    if not arguments.json:
        bad = sum(not one.is_well for one in outcomes)
        lines.append(f"{len(outcomes)} files, {sum(one.lines for one in outcomes)} lines, {bad} not well")
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return EXIT_WELL if all(one.is_well for one in outcomes) else EXIT_NOT_WELL


def _chosen(settings: IngestSettings, paths: Sequence[Path]) -> list[Path]:
    given = list(paths) or ([Path(settings.ingest_archive)] if settings.ingest_archive else [])
    if not given:
        raise ConfigurationProblems([Problem("environment", 0, "MILLRACE_INGEST_ARCHIVE", "is not set; name files or folders")])
    chosen: list[Path] = []
    for path in given:
        try:
            found = files(path) if path.is_dir() else [path]
            for one in found:
                name_parts(one)
        except (OSError, ValueError) as error:
            raise ConfigurationProblems([Problem("command line", 0, str(path), str(error))]) from error
        chosen += found
    return chosen


def _read(path: Path, influx: Influx | None) -> Outcome:
    outcome = Outcome(str(path))
    try:
        for lines in batches(path):
            rejects: list[Reject] = []
            if influx is not None:
                rejects = write_lines(partial(influx.write, name_parts(path)["bucket"]), lines)
            outcome.batches += 1
            outcome.lines += len(lines)
            outcome.refused += len(rejects)
            if rejects and outcome.first_refusal is None:
                outcome.first_refusal = rejects[0].reason
    except TornEnd:
        outcome.torn = True
    except (DamagedFile, OSError, Unavailable, Refused) as problem:
        outcome.problem = str(problem)
    return outcome


def _in_words(one: Outcome) -> str:
    text = f"{one.file}: {one.batches} batches, {one.lines} lines"
    if one.torn:
        text += "; ends inside a batch, which came again into a later file"
    if one.refused:
        text += f"; {one.refused} lines refused: {one.first_refusal}"
    return f"{text}; {one.problem}; what comes behind it was not read" if one.problem else text
