"""A word to InfluxDB's start script (`influxdb/run.sh`) that it refuses to write since its disk was full.

InfluxDB does not try again to open or to write a file that failed once: with room on its disk again it goes on refusing until it is
begun anew. Who writes to it sees that; the script, which looks at the room, begins it anew.
"""

from __future__ import annotations

from pathlib import Path

from .clock import Clock
from .logs import get_logger

AGAIN_S = 5.0

_log = get_logger(__name__)


class RestartRequest:
    """A file in a folder that both see; None: there is no script of ours. It takes no word older than the database's last start.

    name: of who asks.
    """

    def __init__(self, folder: Path | None, name: str, clock: Clock) -> None:
        self._path = None if folder is None else folder / f"restart-influxd.{name}"
        self._clock = clock
        self._due_s = 0.0
        self._is_asking = False

    def ask(self) -> None:
        """The database refused just now. Costs nothing when called often; a disk that refuses is asked again."""
        now_s = self._clock.monotonic_s()
        if self._path is None or now_s < self._due_s:
            return
        self._due_s = now_s + AGAIN_S
        try:
            self._path.touch()
        except OSError as error:
            _log.warning("restart_not_asked", problem=error.strerror)
        else:
            if not self._is_asking:
                _log.warning("restart_of_database_asked", path=str(self._path))
            self._is_asking = True

    def withdraw(self) -> None:
        """The database writes."""
        self._is_asking, self._due_s = False, 0.0
