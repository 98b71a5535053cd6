"""A recorded event file on disk: opened, unpacked, read line by line in bounded memory, and what was wrong with it said."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import CannotStart
from ..language.event_file import MAX_LINE_BYTES, Event, read_line
from .lifecycle import EXIT_NOT_WELL, EXIT_WELL
from .mqtt.session import Received

STANDARD_INPUT = Path("-")
BROKEN_LINES_SAID = 20
_GZIP = b"\x1f\x8b"
_PIECE_BYTES = 1 << 16


class Recording:
    """One pass over an event file, perhaps packed; `-` is standard input. Lines that are no event are counted in `broken`."""

    def __init__(self, path: Path) -> None:
        self.broken = 0
        self._path = path
        self._said: list[str] = []

    def events(self, offset: int = 0) -> Iterator[Event]:
        """The events behind `offset`, an earlier one's `end_offset`. Raises CannotStart for a file that cannot be read."""
        with self._opened() as file:
            for text, number, end_offset in self._lines(file, offset):
                found = read_line(text, number, end_offset)
                if isinstance(found, Event):
                    yield found
                elif found is not None:
                    self._note(str(found))

    def report(self, ignored: Mapping[str, int], *, as_json: bool = False) -> int:
        """Says on standard error what could not be read, and what messages had no effect, by reason. Returns the exit status."""
        for text in self._said:
            self._say({"problem": text}, text, as_json=as_json)
        if self.broken:
            count = f"{self.broken} line{'s' if self.broken != 1 else ''} left out"
            self._say({"broken_lines": self.broken}, f"{count}; everything else was used", as_json=as_json)
        for reason, number in sorted(ignored.items()):
            text = f"{number} message{'s' if number != 1 else ''} ignored: {reason}"
            self._say({"ignored": reason, "count": number}, text, as_json=as_json)
        return EXIT_NOT_WELL if self.broken else EXIT_WELL

    def _say(self, fields: Mapping[str, object], text: str, *, as_json: bool) -> None:
        line = json.dumps({"file": str(self._path), **fields}) if as_json else f"{self._path}: {text}"
        sys.stderr.write(f"{line}\n")

    def _note(self, problem: str) -> None:
        self.broken += 1
        if len(self._said) < BROKEN_LINES_SAID:
            self._said.append(problem)

    def _lines(self, file: BinaryIO, offset: int) -> Iterator[tuple[bytes, int, int]]:
        """(text, number, end) of each line behind `offset`; of one that is too long the beginning."""
        number = position = 0
        try:
            while text := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                position += len(text)
                rest = text
                while len(text) > MAX_LINE_BYTES and not rest.endswith(b"\n") and (rest := file.readline(_PIECE_BYTES)):
                    position += len(rest)
                if position > offset:
                    yield text, number, position
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self._note(f"line {number + 1} and what follows: the packed file is damaged: {error}")

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        try:
            # A container's own user may not open /dev/stdin, so that the pipe has a name of its own.
            file = nullcontext(sys.stdin.buffer) if self._path == STANDARD_INPUT else self._path.open("rb")
            with file as plain:
                packed = cast("BufferedReader", plain).peek(2).startswith(_GZIP)
                yield cast("BinaryIO", gzip.GzipFile(fileobj=plain)) if packed else plain
        except OSError as error:
            raise CannotStart(str(self._path), f"cannot be read: {error.strerror or error}") from error


def as_received(event: Event) -> Received:
    """The event as the broker's session would have brought it."""
    return Received(event.topic, event.payload, retained=event.retained, qos=1, mid=0, generation=0)
