"""The note that a restore leaves in each service's data folder: what is there is older than what the service had done since.

`millrace backup restore` writes it with the data. A service compares `restore` with the one that its store knows: another one
means that numbers may be given out a second time, and that others have heard what is no longer here.
"""

from pathlib import Path

import msgspec

from ..language.times import parse_timestamp
from ..runtime.files import replace_file

RESTORED_FILE = ".restored"


class Restored(msgspec.Struct, frozen=True):
    """`restore` is another one for each restore, `backup` for each backup; times are RFC 3339 in UTC."""

    restore: str
    backup: str
    taken_at: str
    restored_at: str

    def span_ms(self, now_ms: int) -> tuple[int, int]:
        """From when to when something may be missing; twice the present where the note does not say it."""
        try:
            taken_ms, restored_ms = parse_timestamp(self.taken_at), parse_timestamp(self.restored_at)
        except ValueError:
            return now_ms, now_ms
        return min(taken_ms, restored_ms), restored_ms


def read_restored(folder: Path) -> Restored | None:
    """The note of the last restore; None where nothing was ever restored. One that can't be read is a restore of unknown time."""
    try:
        content = (folder / RESTORED_FILE).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(content, type=Restored)
    except msgspec.MsgspecError:
        return Restored("unreadable", "unknown", "unknown", "unknown")


def write_restored(folder: Path, restored: Restored, *, owner: tuple[int, int] | None = None) -> None:
    """Leave the note, in place of an older one. Raises OSError."""
    replace_file(folder / RESTORED_FILE, msgspec.json.encode(restored) + b"\n", owner=owner)
