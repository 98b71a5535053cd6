"""Two processes of one name: each takes the connection from the other, and their statuses take turns on one topic. Pure.

Whoever is restarted has a new `started`, and the old one says nothing any more; of twins each goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from millrace_contract.language.messages import Status
from millrace_contract.language.times import parse_timestamp

SAID_S = 600.0
"""So long after the last turn it is still said."""
REMEMBERED = 8


@dataclass(frozen=True, slots=True)
class _Process:
    started_ms: int
    host: str


@dataclass
class _Name:
    """Who spoke under a name, the last one last."""

    spoke: list[_Process] = field(default_factory=list)
    twins: tuple[_Process, _Process] | None = None
    seen_s: float = 0.0


class Twins:
    """Told by the writer thread, read by any."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], _Name] = {}

    def take(self, status: Status, now_s: float) -> None:
        """A status in order of arrival; the broker may bring one again. What tells nobody apart (a last will) says nothing."""
        if not (status.started and status.alive):
            return
        known = self._names.setdefault((status.service, status.instance), _Name())
        speaker = _Process(parse_timestamp(status.started), status.host)
        if known.spoke and speaker in known.spoke[:-1]:
            last = known.spoke[-1]
            if parse_timestamp(status.timestamp) <= last.started_ms:
                return  # said before the other began, and brought again
            known.twins, known.seen_s = (last, speaker), now_s
        known.spoke = [*(one for one in known.spoke if one != speaker), speaker][-REMEMBERED:]

    def problems(self, now_s: float) -> list[str]:
        """In words, with the way out."""
        return [_in_words(*name, *known.twins) for name, known in self._active(now_s) if known.twins is not None]

    def count(self, now_s: float) -> int:
        """Names of which two run."""
        return len(self._active(now_s))

    def _active(self, now_s: float) -> list[tuple[tuple[str, str], _Name]]:
        found = list(self._names.items())
        return [(name, known) for name, known in found if known.twins is not None and now_s - known.seen_s <= SAID_S]


def _in_words(service: str, instance: str, one: _Process, other: _Process) -> str:
    return (
        f"two of the name {service}-{instance} run, at {one.host} and at {other.host}, and take the connection from each other: "
        "give one of them another MILLRACE_INSTANCE, or stop it"
    )
