"""The last accepted copy of the configuration: a typing error never stops data collection after a power cut (contracts.md 3)."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from ..errors import ConfigurationProblems, Problem
from ..language.times import format_timestamp, parse_timestamp
from ..language.words import ConfigurationInUse

_ACCEPTED_AT = "accepted-at"
"""Beside the copied files: when they were taken over."""

T = TypeVar("T")
Stamp = tuple[tuple[str, int, int], ...]
"""Names, times of change and sizes of files: another one means that something was edited."""


@dataclass(frozen=True)
class AcceptedConfiguration(Generic[T]):
    """What was loaded. `problems` is empty when it is the present configuration, else why the last accepted copy runs."""

    model: T
    problems: list[Problem] = field(default_factory=list)
    not_kept: str | None = None
    """Why there is no copy of this configuration for later: a disk that is full is no reason not to start."""
    accepted_ms: int | None = None
    """When these files were taken over for the first time, over restarts; None where nobody knows."""

    @property
    def configuration(self) -> ConfigurationInUse:
        """As `status` says it."""
        return ConfigurationInUse.LAST_ACCEPTED if self.problems else ConfigurationInUse.CURRENT


def load_accepted(
    config_dir: Path, data_dir: Path, load: Callable[[Path], T], now_ms: int | None = None
) -> AcceptedConfiguration[T]:
    """The present configuration, or the last one that was good.

    `load` reads a whole folder and raises ConfigurationProblems. A good one is copied to `data_dir` for later, with `now_ms` as the
    time from which it is in use. Raises ConfigurationProblems when the present one is bad and none was ever accepted: a wrong file
    refuses the first start.
    """
    copy = data_dir / "accepted-config"
    try:
        model = load(config_dir)
    except ConfigurationProblems as refused:
        kept = next((folder for folder in (copy, _old(copy)) if folder.is_dir()), None)
        if kept is None:
            raise
        return AcceptedConfiguration(load(kept), refused.problems, accepted_ms=_accepted_ms(kept))
    try:
        _keep(config_dir, copy, now_ms)
    except OSError as error:
        return AcceptedConfiguration(model, not_kept=str(error), accepted_ms=now_ms)
    accepted_ms = _accepted_ms(copy)
    return AcceptedConfiguration(model, accepted_ms=now_ms if accepted_ms is None else accepted_ms)


def stamp_of_plant(config_dir: Path) -> Stamp:
    """Of the files that the plant model is read from."""
    return stamp_of([config_dir / "plant.yaml", *sorted((config_dir / "profiles").glob("*.yaml"))])


def stamp_of(paths: Iterable[Path]) -> Stamp:
    """Of these files; one that is not there is left out."""
    found = []
    for path in paths:
        with contextlib.suppress(OSError):  # an editor that replaces a file takes it away for a moment
            stat = path.stat()
            found.append((path.name, stat.st_mtime_ns, stat.st_size))
    return tuple(found)


def _accepted_ms(copy: Path) -> int | None:
    """None for a copy that was made before its time was kept."""
    try:
        return parse_timestamp((copy / _ACCEPTED_AT).read_text())
    except (OSError, ValueError):
        return None


def _keep(config_dir: Path, copy: Path, now_ms: int | None) -> None:
    """Replace the copy. A kill at any instant leaves a whole one: under its own name or, between two renames, as the old one.

    Nothing is written where nothing has changed: a service starts again on a full disk.
    """
    files = _files(config_dir)
    if (
        copy.is_dir()
        and files == _files(copy)
        and all((copy / name).read_bytes() == (config_dir / name).read_bytes() for name in files)
    ):
        return
    fresh = copy.with_name(f"{copy.name}.new")
    old = _old(copy)
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / "profiles").mkdir(parents=True)
    for name in files:
        _write(fresh / name, (config_dir / name).read_bytes())
        shutil.copystat(config_dir / name, fresh / name)  # when it was edited
    if now_ms is not None:
        _write(fresh / _ACCEPTED_AT, format_timestamp(now_ms).encode())
    if copy.exists():
        shutil.rmtree(old, ignore_errors=True)
        copy.rename(old)
    fresh.rename(copy)
    shutil.rmtree(old, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def _files(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in [*folder.glob("*.yaml"), *(folder / "profiles").glob("*.yaml")])


def _old(copy: Path) -> Path:
    return copy.with_name(f"{copy.name}.old")
