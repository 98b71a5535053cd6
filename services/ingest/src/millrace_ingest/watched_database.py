"""The database as the writer sees it: written to, and watched: does it take data, and since when not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from millrace_contract.errors import Unavailable
from millrace_contract.language.measurements import PRODUCTION_BUCKET
from millrace_contract.language.messages import Status
from millrace_contract.language.topics import Kind
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.database_restart import RestartRequest
from millrace_contract.runtime.health import Heartbeats
from millrace_contract.runtime.influx import NoRoom, Refused
from millrace_contract.runtime.logs import get_logger

from .database_state import DatabaseState
from .decoder import Accepted
from .figures import Figures
from .outcomes import Arrival
from .rejects import Reject
from .rollup.late import LateMarks
from .storage import Storage

_log = get_logger(__name__)


class WatchedDatabase:
    """Owned by the writer's thread. What fails is noted here, and tried again by `probe` alone until it succeeds."""

    def __init__(
        self,
        storage: Storage,
        state: DatabaseState,
        clock: Clock,
        figures: Figures,
        probe_with: Status,
        *,
        heartbeats: Heartbeats,
        restart: RestartRequest,
        status_changed: Callable[[], None],
    ) -> None:
        """`probe_with`: what is written to find out whether the database takes data again."""
        self.state = state
        self._storage = storage
        self._clock = clock
        self._figures = figures
        self._probe_with = probe_with
        self._storing = heartbeats.step("store")
        self._restart = restart
        self._status_changed = status_changed
        self._late_marks = LateMarks(probe_with.instance)

    @property
    def is_taking(self) -> bool:
        return self.state.taking

    def probe(self) -> None:
        """While the database takes no data, a small real write finds out when it does again."""
        if not self.state.probe_due(self._clock.monotonic_s()):
            return
        try:
            self._storage.probe(self._probe_with)
        except (Unavailable, Refused) as problem:
            self._failed(problem)
        else:
            self._wrote(is_probe=True)

    def store(self, arrivals: Sequence[Arrival]) -> dict[int, Reject] | None:
        """Writes what was accepted. The refused ones by their place in `arrivals`; None when the database takes no data."""
        places = [place for place, one in enumerate(arrivals) if isinstance(one.verdict, Accepted)]
        if not places:
            return {}
        messages = [one.verdict for one in arrivals if isinstance(one.verdict, Accepted)]
        started_s, requests = self._clock.monotonic_s(), self._storage.requests
        try:
            rejects = self._storage.store([arrivals[place].message.topic for place in places], messages)
            self._mark_late(messages)
        except (Unavailable, Refused) as problem:
            self._failed(problem)
            return None
        self._wrote()
        now_s = self._clock.monotonic_s()
        buckets = Counter(message.bucket for message in messages)
        self._figures.wrote(buckets, self._storage.requests - requests, now_s - started_s, now_s)
        return {places[reject.index]: reject for reject in rejects}

    def store_lines(self, bucket: str, lines: Sequence[bytes]) -> bool:
        """Writes lines of our own; whether the database took them."""
        try:
            self._storage.store_lines(bucket, lines)
        except (Unavailable, Refused) as problem:
            self._failed(problem)
            return False
        return True

    def _mark_late(self, messages: Iterable[Accepted]) -> None:
        """Tells the roll-ups, before anybody is told that the messages are safe."""
        stored = ((one.topic.device or "", one.time_ms) for one in messages if one.topic.kind is Kind.TELEMETRY)
        if marks := self._late_marks.lines(stored, self._clock.now_ms()):
            self._storage.store_lines(PRODUCTION_BUCKET, marks)

    def _failed(self, problem: Unavailable | Refused) -> None:
        retry_after_s = problem.retry_after_s if isinstance(problem, Unavailable) else None
        if isinstance(problem, NoRoom):
            self._restart.ask()
        if isinstance(problem, Refused):
            self._storing.failed(str(problem))
        else:
            self._storing.away()
        if self.state.failed(str(problem), self._clock.monotonic_s(), retry_after_s):
            log = _log.error if isinstance(problem, Refused) else _log.warning
            log("database_takes_no_data", problem=str(problem))
            self._status_changed()

    def _wrote(self, *, is_probe: bool = False) -> None:
        self._storing.done()
        self._restart.withdraw()
        if self.state.wrote(is_probe=is_probe):
            _log.info("database_takes_data")
            self._status_changed()
