"""Finds the lines of a batch that the database will never take, and writes all the others.

InfluxDB answers 400 when a line can't be parsed, and then nothing of the body is written; it answers 422 when points
conflict (field type, retention), and then the rest is written. In both cases the body is halved until the offenders stand
alone. Lines may be written again on the way, which InfluxDB makes harmless (same series, same timestamp).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from millrace_contract.runtime.influx import BadLines, Failing, PartialWrite

MOST_ISOLATED = 8
"""Lines of one batch that may be to blame for a failing database."""
CONFIRMATIONS = 2

Write = Callable[[bytes], None]
"""Writes one body of lines. Raises BadLines (400), PartialWrite (422), Failing (500), or anything else, which ends the attempt."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Line number `index` of the batch is not storable."""

    index: int
    code: str
    reason: str


def write_lines(write: Write, lines: Sequence[bytes]) -> list[Reject]:
    """Writes every line that can be written; the others in order of their index. Costs one request when all are well.

    Raises what `write` raises for reasons that are not the lines': then some of them may be written, and all may be again.
    """
    rejects: list[Reject] = []
    open_ranges = [(0, len(lines))] if lines else []
    while open_ranges:
        first, end = open_ranges.pop()
        try:
            write(b"\n".join(lines[first:end]))
        except BadLines as problem:
            whole, code, reason = end - first == 1, "refused_line", str(problem)
        except PartialWrite as problem:
            # Where as many were dropped as there are lines, no search is needed: after a wrong schema that is the usual case.
            whole = end - first == 1 or problem.dropped == end - first
            code, reason = "outside_retention" if "outside retention" in str(problem) else "conflict", str(problem)
        else:
            continue
        if whole:
            rejects += [Reject(index, code, reason) for index in range(first, end)]
        else:
            middle = (first + end) // 2
            open_ranges += [(middle, end), (first, middle)]
    return rejects


def isolate(write: Write, canary: Callable[[], None], lines: Sequence[bytes]) -> list[Reject]:
    """As `write_lines`, for a body at which the database fails (500) again and again although it takes others.

    `canary` writes something harmless. Whenever that fails too, it is the database and no line of ours: Failing or whatever the
    canary raises passes, as it does when more than MOST_ISOLATED lines seem to be at fault.
    """
    rejects: list[Reject] = []
    failing = 0
    open_ranges = [(0, len(lines))]
    while open_ranges:
        first, end = open_ranges.pop()
        try:
            found = write_lines(write, lines[first:end])
        except Failing as problem:
            canary()
            if end - first > 1:
                middle = (first + end) // 2
                open_ranges += [(middle, end), (first, middle)]
                continue
            failing += 1
            if failing > MOST_ISOLATED or not _fails_alone(write, canary, lines[first]):
                raise
            rejects.append(Reject(first, "server_error", f"the database fails at this line, and takes others: {problem}"))
        else:
            rejects += [Reject(first + one.index, one.code, one.reason) for one in found]
    return sorted(rejects, key=lambda reject: reject.index)


def _fails_alone(write: Write, canary: Callable[[], None], line: bytes) -> bool:
    """Whether a line that failed once fails again, each time beside a canary that does not."""
    for _ in range(CONFIRMATIONS):
        try:
            write(line)
        except Failing:
            canary()
        else:
            return False
    return True


class Suspects:
    """Topics whose lines were refused lately. They are written apart, so that a search delays nobody else's lines."""

    def __init__(self, keep_s: float = 60.0, most: int = 10_000) -> None:
        self._until_s: dict[str, float] = {}
        self._keep_s = keep_s
        self._most = most

    def add(self, topic: str, now_s: float) -> None:
        self._until_s.pop(topic, None)
        if len(self._until_s) >= self._most:
            del self._until_s[next(iter(self._until_s))]
        self._until_s[topic] = now_s + self._keep_s

    def has(self, topic: str, now_s: float) -> bool:
        return self._until_s.get(topic, 0.0) > now_s

    def part(self, topics: Sequence[str], now_s: float) -> list[list[int]]:
        """Indices of `topics` in groups to write apart: first those without suspicion, then the suspects. No empty group."""
        if not self._until_s:
            return [list(range(len(topics)))] if topics else []
        groups: tuple[list[int], list[int]] = ([], [])
        for index, topic in enumerate(topics):
            groups[self._until_s.get(topic, 0.0) > now_s].append(index)
        return [group for group in groups if group]
