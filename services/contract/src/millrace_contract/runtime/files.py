"""Small files that are replaced as a whole: a kill at any instant leaves the old one or the new one."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(
    path: Path, content: bytes, *, durable: bool = True, mode: int = 0o644, owner: tuple[int, int] | None = None
) -> None:
    """Put `content` in place in one step. `durable`: it outlives a power cut, too. `owner`: user and group. Raises OSError."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        if owner is not None:
            os.fchown(descriptor, *owner)
        if durable:
            os.fsync(descriptor)
    fresh.rename(path)
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names that came or went in a folder outlive a power cut. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
