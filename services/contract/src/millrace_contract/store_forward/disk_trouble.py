"""What to try when the disk takes nothing: less at once, not too often, and one line in the log for the whole trouble."""

import math

from ..runtime.logs import get_logger

_COMMIT_ROWS = 2_000
_RETRY_S = 1.0
_CALM_S = 10.0  # Trouble is over when nothing was refused for this long.

_log = get_logger(__name__)


class DiskTrouble:
    """Remembers refusals of one disk. `problem` says why it takes nothing, None when all is well.

    commit_rows: how many messages to commit at once. needs_room: something was refused since the last commit.
    """

    def __init__(self, path: str) -> None:
        self.problem: str | None = None
        self.commit_rows = _COMMIT_ROWS
        self.needs_room = False
        self._path = path
        self._retry_s = -math.inf
        self._refused_s = -math.inf
        self._has_progressed = True

    def is_waiting(self, now_s: float) -> bool:
        """Whether it is too early to try again."""
        return now_s < self._retry_s

    def refused(self, reason: str, now_s: float, held: int) -> None:
        """The disk refused. Try less next time: at once if something went through since the last refusal, else after a second."""
        self._retry_s = now_s if self._has_progressed else now_s + _RETRY_S
        self._refused_s = now_s
        self._has_progressed = False
        self.needs_room = True
        self.commit_rows = max(1, self.commit_rows // 4)
        if self.problem is None:
            _log.error("outbox_disk_refuses", reason=reason, held=held, path=self._path)
        self.problem = reason

    def accepted(self, rows: int, now_s: float, held: int) -> None:
        """The disk took so many messages; trouble ends when none are held and nothing was refused for a while."""
        if rows:
            self._has_progressed = True
            self.needs_room = False
            self._retry_s = -math.inf
            self.commit_rows = min(_COMMIT_ROWS, self.commit_rows * 2)
        if self.problem is not None and not held and not self.needs_room and now_s - self._refused_s >= _CALM_S:
            _log.info("outbox_disk_accepts_again", after=self.problem)
            self.problem = None

    def try_now(self) -> None:
        """Do not wait any longer: the process is about to end."""
        self._retry_s = -math.inf
