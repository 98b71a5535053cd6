"""OEE's figures against the truth: states within a poll interval of each change, parts of whole hours (contracts.md 7). Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from millrace_contract.language.words import MachineState
from millrace_contract.plant import Profile

from .image import state_words
from .truth import Change, Made

REQUEST_MS = 250
"""What a read itself may take beside the poll interval."""
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class StoredState:
    """A state interval as OEE stored it; `end_ms` None while it lasts."""

    start_ms: int
    end_ms: int | None
    state: str


@dataclass(frozen=True, slots=True)
class StoredParts:
    """The parts that OEE counted in a window."""

    start_ms: int
    end_ms: int
    total: int


@dataclass(slots=True)
class FigureScore:
    """`changes` of state that lasted for two polls or more: `seen` in time, without readings then (`unknown`), or `missed`."""

    changes: int = 0
    seen: int = 0
    unknown: int = 0
    missed: int = 0
    worst_ms: int = 0
    windows: int = 0
    parts_served: int = 0
    parts_counted: int = 0


def score_states(profile: Profile, changes: Sequence[Change], stored: Sequence[StoredState], until_ms: int) -> FigureScore:
    """The changes of one device, in order, against its stored intervals, in order of their start."""
    score = FigureScore()
    if profile.oee is None or profile.oee.state is None:
        return score
    signal = profile.register_signals[profile.oee.state]
    poll_ms = round(1000 * min(profile.groups[group].interval_s for group in signal.groups(profile)))
    starts = [interval.start_ms for interval in stored]
    words = state_words(signal)
    # The first one is where the truth begins, no change.
    for start_ms, end_ms, state in _stretches(changes, words, until_ms)[1:]:
        if end_ms - start_ms < 2 * poll_ms:
            continue
        score.changes += 1
        latest_ms = start_ms + poll_ms + REQUEST_MS
        found = stored[bisect_right(starts, latest_ms) - 1] if starts and starts[0] <= latest_ms else None
        if found is None or found.state == UNKNOWN or (found.end_ms is not None and found.end_ms <= start_ms):
            score.unknown += 1
        elif found.state == state and found.start_ms >= start_ms - poll_ms:
            score.seen += 1
            score.worst_ms = max(score.worst_ms, found.start_ms - start_ms)
        else:
            score.missed += 1
    return score


def add_parts(score: FigureScore, made: Sequence[Made], windows: Sequence[StoredParts]) -> None:
    """Compare windows that lie inside the truth; one in which the machine's counters were set back is left out."""
    times = [record.time_ms for record in made]
    for window in windows:
        first, last = bisect_right(times, window.start_ms) - 1, bisect_right(times, window.end_ms) - 1
        if first < 0 or any(later.total < earlier.total for earlier, later in pairwise(made[first : last + 1])):
            continue
        score.windows += 1
        score.parts_served += made[last].total - made[first].total
        score.parts_counted += window.total


def _stretches(changes: Sequence[Change], words: dict[MachineState, str], until_ms: int) -> list[tuple[int, int, str]]:
    """[start, end) of each word that the device's register said; stretches with one word are one."""
    starts: list[tuple[int, str]] = []
    for change in changes:
        word = words[MachineState(change.state)]
        if change.time_ms < until_ms and (not starts or starts[-1][1] != word):
            starts.append((change.time_ms, word))
    ends = [start_ms for start_ms, _ in starts[1:]]
    return [(start_ms, end_ms, word) for (start_ms, word), end_ms in zip(starts, ends, strict=False)]
