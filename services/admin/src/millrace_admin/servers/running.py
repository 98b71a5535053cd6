"""Other programs' work as part of ours: when we end, for whatever reason, they and all that they started end, too."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .places import NotToBeHad

LAST_LINES = 3


@contextlib.contextmanager
def lines_of(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> Iterator[Iterator[str]]:
    """What it prints, line by line. Raises NotToBeHad with its last words when it fails."""
    process = subprocess.Popen(  # noqa: S603 - tools of the system
        command,
        cwd=folder,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # a group of its own, so that all of it can be ended at once
    )
    last: deque[str] = deque(maxlen=LAST_LINES)

    def heard(line: str) -> str:
        last.append(line.strip())
        return line.rstrip("\n")

    try:
        with contextlib.closing(process.stdout or io.StringIO()) as printed:
            yield map(heard, printed)
        if process.wait():
            raise NotToBeHad(f"{' '.join(command[:2])} failed: {'; '.join(last) or 'it says nothing'}")
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run(command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> list[str]:
    """All that it prints. Raises NotToBeHad when it fails."""
    with lines_of(command, folder, environ) as lines:
        return list(lines)
