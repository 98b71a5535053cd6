"""Event files: JSON Lines of {"topic", "payload"} in order of arrival (contracts.md 7)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from millrace_contract.errors import ConfigurationProblems, Problem


class _Line(msgspec.Struct, frozen=True):
    topic: str
    payload: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Recorded:
    """A message as it arrived; `line` counts from 1."""

    line: int
    topic: str
    payload: bytes


def read_event_file(path: Path) -> Iterator[Recorded]:
    """The messages in order. Raises ConfigurationProblems for a file or a line that cannot be read."""
    decoder = msgspec.json.Decoder(_Line)
    try:
        with path.open("rb") as lines:
            for number, text in enumerate(lines, start=1):
                if not text.strip():
                    continue
                try:
                    line = decoder.decode(text)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    raise _unreadable(path, number, f'is not {{"topic": ..., "payload": ...}}: {error}') from error
                yield Recorded(number, line.topic, bytes(line.payload))
    except OSError as error:
        raise _unreadable(path, 0, f"cannot be read: {error.strerror}") from error


def _unreadable(path: Path, line: int, message: str) -> ConfigurationProblems:
    return ConfigurationProblems([Problem(str(path), line, "", message)])
