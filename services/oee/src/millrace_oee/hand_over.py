"""Results that a command computed, handed to the running service: it alone numbers and sends what oee says.

A file holds what is published together; it comes into being whole, and is removed once its results are committed. A kill between
the two leaves a file whose name is known: it is not published again.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import msgspec

from millrace_contract.language.oee_messages import OeeDocument, OeeInterval
from millrace_contract.runtime.files import replace_file
from millrace_contract.runtime.logs import get_logger

from .calendar import TimeWindow
from .results import Place, Results
from .store import Store
from .windows import Sums

FOLDER = "to-publish"
"""In the folder of what the service must remember."""
TOGETHER = 500
"""So many results are one file, and one transaction of the service."""
_TAKEN = "handed_over:"
"""Facts of this name: a file whose results are committed."""
_log = get_logger(__name__)


class HandedWindow(msgspec.Struct, frozen=True):
    """`document` has the number and cause of its revision; where the service still keeps the window it numbers it itself."""

    scope: str
    start_ms: int
    end_ms: int
    topic: str
    document: OeeDocument
    sums: Sums | None = None

    @property
    def window(self) -> TimeWindow:
        return TimeWindow(self.start_ms, self.end_ms, self.document.window.kind, self.document.window.id)

    @property
    def place(self) -> Place:
        window = self.document.window
        return Place(self.scope, window.kind, window.id, self.start_ms, self.end_ms, self.topic)


class HandedStop(msgspec.Struct, frozen=True):
    """A stop that is told otherwise, with the number of its revision."""

    scope: str
    start_ms: int
    end_ms: int
    topic: str
    interval: OeeInterval

    @property
    def place(self) -> Place:
        return Place(self.scope, self.interval.kind, self.interval.id, self.start_ms, self.end_ms, self.topic)


class HandedResults(msgspec.Struct, frozen=True):
    windows: list[HandedWindow] = []
    stops: list[HandedStop] = []


def hand_over(data: Path, name: str, windows: Sequence[HandedWindow], stops: Sequence[HandedStop]) -> int:
    """Leave them for the service, which publishes them within seconds, or as soon as it runs; returns how many. Raises OSError."""
    folder = data / FOLDER
    folder.mkdir(exist_ok=True)
    for number in itertools.count():
        part = slice(number * TOGETHER, (number + 1) * TOGETHER)
        handed = HandedResults(list(windows[part]), list(stops[part]))
        if not handed.windows and not handed.stops:
            return len(windows) + len(stops)
        replace_file(folder / f"{name}-{number:04d}", msgspec.msgpack.encode(handed))
    raise AssertionError


class HandOver:
    """The service's side; called on the thread that owns the store."""

    def __init__(self, data: Path, store: Store, results: Results) -> None:
        self._folder = data / FOLDER
        self._store = store
        self._results = results
        self._committed: list[Path] = []

    def take(self) -> None:
        """Publish the results of one file that waits, inside the caller's transaction."""
        waiting = sorted(self._folder.glob("[!.]*[!~]")) if self._folder.is_dir() else []
        taken = {name.removeprefix(_TAKEN) for name, _ in self._store.facts(_TAKEN)}
        for name in taken - {path.name for path in waiting}:
            self._store.drop_fact(_TAKEN + name)
        self._committed = [path for path in waiting if path.name in taken]
        for path in [path for path in waiting if path.name not in taken][:1]:
            try:
                handed = msgspec.msgpack.decode(path.read_bytes(), type=HandedResults)
            except (OSError, msgspec.MsgspecError) as error:
                _log.error("handed_over_not_understood", path=str(path), reason=str(error))
                path.rename(path.with_name(f"{path.name}~"))
                return
            for window in handed.windows:
                self._results.mend(window.place, window.document, window.sums)
            for stop in handed.stops:
                self._results.mend(stop.place, stop.interval)
            self._store.set_fact(_TAKEN + path.name, "1")
            self._committed.append(path)
            _log.info("handed_over_taken", path=str(path), windows=len(handed.windows), stops=len(handed.stops))

    def committed(self) -> None:
        """What `take` did outlives a kill."""
        for path in self._committed:
            path.unlink(missing_ok=True)
        self._committed = []

    def rolled_back(self) -> None:
        """Nothing of it was committed."""
        self._committed = []
