"""The verbs of `millrace backup`, for scripts/backup and scripts/restore: what they take and what a person reads."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from millrace_contract.errors import Refusal, Unavailable
from millrace_contract.language.times import format_timestamp
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.lifecycle import EXIT_WELL
from millrace_contract.runtime.settings import load_settings
from millrace_contract.store_forward.restored import Restored

from ..settings import AdminSettings
from . import staging
from .archive import FORMAT, ArchiveReader, ArchiveRefused, Head, Manifest, check_version
from .differences import at_most, different_access, different_configuration, different_settings, files_in, is_compared
from .layout import CONFIG, SETTINGS
from .take import Sources, take

PACKAGE = "millrace-admin"
EXIT_UNDECIDED = 3
"""`check`: all is well, and somebody must say which configuration the restored platform is to run on."""


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> list[argparse.ArgumentParser]:
    """Add `backup` and its verbs; returns the parsers that take the common arguments."""
    parser = commands.add_parser("backup", help="what scripts/backup and scripts/restore run in a container")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    made = []
    for name, action, text in (
        ("take", _take, "write an archive of all volumes to standard output, while everything runs"),
        ("check", _check, "read an archive from standard input; say what a restore would change here"),
        ("stage", _stage, "write what an archive on standard input holds beside what is there"),
        ("swap", _swap, "put what was staged in the place of what is there"),
        ("finish", _finish, "bring a swap that was cut off to its end, or remove what was staged"),
    ):
        added = verbs.add_parser(name, help=text)
        added.add_argument("--volumes", type=Path, required=True, metavar="DIR", help="folder with a folder for each volume")
        added.set_defaults(command=action)
        if name in ("take", "check"):
            added.add_argument("--here", type=Path, metavar="DIR", help=f"folder with {CONFIG}/ and {SETTINGS}/ of this server")
        made.append(added)
    return made


def _take(options: argparse.Namespace) -> int:
    if sys.stdout.isatty():
        raise Refusal("a backup is a tar file with secrets in it, nothing for a terminal: use scripts/backup")
    if staging.is_cut_off(options.volumes):
        raise Refusal("a restore was cut off while it put the data in place; finish it first: scripts/restore --finish")
    settings = load_settings(AdminSettings, os.environ, config=options.config)
    sources = Sources(options.volumes, _here(options, CONFIG), _here(options, SETTINGS), settings.influx_url)
    head = Head(FORMAT, secrets.token_hex(8), _now(), version(PACKAGE))
    try:
        manifest = take(sources, head, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        raise Unavailable("whoever writes the file has ended") from error
    for note in manifest.notes:
        print(f"backup: {note}", file=sys.stderr)
    return EXIT_WELL


def _check(options: argparse.Namespace) -> int:
    reader = _opened(sys.stdin.buffer)
    saved: dict[str, bytes] = {}
    for member in reader.members():
        if member.content is not None and is_compared(member.path, member.size_bytes):
            saved[member.path] = member.content.read(member.size_bytes)
    manifest = reader.manifest
    staging.check_volumes(options.volumes, manifest)
    staging.check_room(options.volumes, manifest)
    here = {**files_in(_here(options, CONFIG), CONFIG), **files_in(_here(options, SETTINGS), SETTINGS)}
    for name in ("admin-secrets", "alerts-secrets"):
        here |= files_in(options.volumes / name, f"volumes/{name}")
    _say_what_it_is(manifest)
    for line in different_access(saved, here):
        print(f"* {line}")
    undecided = _say_differences(saved, here)
    return EXIT_UNDECIDED if undecided else EXIT_WELL


def _say_what_it_is(manifest: Manifest) -> None:
    size = f"{manifest.size_bytes / 1e6:,.0f} MB in {len(manifest.volumes)} volumes"
    print(f"The backup is whole: of {manifest.head.taken_at}, Millrace {manifest.head.version}, {size}.")
    for note in at_most(manifest.notes):
        print(f"* {note}")


def _say_differences(saved: dict[str, bytes], here: dict[str, bytes]) -> bool:
    """Say them; is there one that somebody must decide about? What is not here at all is taken from the backup."""
    configuration = different_configuration(saved, here)
    settings = different_settings(saved, here)
    if configuration:
        print("* The plant model here is another one than the backup's:")
    for line in at_most(configuration):
        print(f"    {line}")
    if settings:
        print("* The settings (.env) here are others than the backup's:")
    for line in at_most(settings):
        print(f"    {line}")
    return bool(configuration or settings)


def _stage(options: argparse.Namespace) -> int:
    reader = _opened(sys.stdin.buffer)
    head = reader.head
    restored = Restored(
        restore=secrets.token_hex(8),
        backup="unknown" if head is None else head.backup,
        taken_at="unknown" if head is None else head.taken_at,
        restored_at=_now(),
    )
    try:
        staging.stage(options.volumes, reader, restored)
    except OSError as error:
        raise Refusal(f"the data could not be written beside those that are there: {error.strerror}") from error
    return EXIT_WELL


def _swap(options: argparse.Namespace) -> int:
    staging.swap(options.volumes)
    return EXIT_WELL


def _finish(options: argparse.Namespace) -> int:
    note = staging.finish(options.volumes)
    print("no restore was cut off" if note is None else f"the restore of {note.restored.restored_at} is finished")
    return EXIT_WELL


def _opened(source: BinaryIO) -> ArchiveReader:
    if sys.stdin.isatty():
        raise ArchiveRefused("give the backup on standard input, or use scripts/restore")
    reader = ArchiveReader(source)
    check_version(reader.head, version(PACKAGE))
    return reader


def _here(options: argparse.Namespace, name: str) -> Path | None:
    folder = None if options.here is None else Path(options.here) / name
    return folder if folder is not None and folder.is_dir() else None


def _now() -> str:
    return format_timestamp(SystemClock().now_ms())
