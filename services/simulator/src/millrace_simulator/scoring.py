"""`millrace-sim score`: brings truth and database together, slice by slice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from millrace_contract.language.times import format_timestamp
from millrace_contract.plant import PlantModel
from millrace_contract.plant.signal import READS_SERVED
from millrace_contract.runtime.influx import Influx
from millrace_contract.store_forward.ranges import RangeSet

from .score import POLL_MS, Score, Scorer, StreamScore, score_stream
from .score_database import MARGIN_MS, SLICE_MS, StoredPlant
from .score_figures import FigureScore, add_parts, score_states
from .truth import Change, Made, Read, read_truth

LAG_MS = 120_000
"""A point's timestamp may be moved by a minute (contracts.md 2.2), so a slice's points are those up to this long before its end."""
SETTLE_MS = 10_000
"""Points younger than this may still be on their way."""
OEE_LAG_MS = 60_000
"""How far OEE's intervals may be behind the readings."""


def take_score(influx: Influx, plant: PlantModel, truth: Path, since_ms: int | None, now_ms: int) -> Score:
    """Score what was served from `since_ms` (default: all that the truth holds) until shortly before now.

    Raises FileNotFoundError without a truth, and Unavailable, Refused or QueryFailed of the database.
    """
    until_ms = now_ms - SETTLE_MS
    first_ms = next(record.time_ms for record in read_truth(truth))
    from_ms = max(since_ms or 0, first_ms)
    # A point's time is that of its last answer, up to a poll later than that of the counter's.
    stored, scorer = StoredPlant(influx, plant), Scorer(plant, from_ms, until_ms - POLL_MS)
    streams: set[str] = set()
    reads = _Reads(truth, from_ms - LAG_MS)
    read_ms = from_ms
    for start_ms in range(from_ms, until_ms + LAG_MS, SLICE_MS):
        scorer.take_truth(reads.until(start_ms + SLICE_MS))
        to_ms = min(start_ms + SLICE_MS - LAG_MS, until_ms)
        points = list(stored.points(read_ms, to_ms)) if to_ms > read_ms else []
        streams |= {point.stream for point in points if point.stream is not None and READS_SERVED in point.readings}
        scorer.take_points(sorted(points, key=lambda point: point.time_ms))
        read_ms = max(read_ms, to_ms)
    score = scorer.finish(_streams(stored, streams, from_ms, until_ms, now_ms))
    score.figures = _figures(stored, plant, truth, from_ms, until_ms - OEE_LAG_MS)
    return score


def _figures(stored: StoredPlant, plant: PlantModel, truth: Path, from_ms: int, until_ms: int) -> dict[str, FigureScore]:
    states = stored.states(from_ms - MARGIN_MS)
    if not states or until_ms <= from_ms:
        return {}
    hours = stored.hours(from_ms, until_ms)
    changes: dict[str, list[Change]] = {}
    made: dict[str, list[Made]] = {}
    for record in read_truth(truth, from_ms):
        if isinstance(record, Change):
            changes.setdefault(record.device, []).append(record)
        elif isinstance(record, Made):
            made.setdefault(record.device, []).append(record)
    figures: dict[str, FigureScore] = {}
    for device, intervals in sorted(states.items()):
        if device in plant.devices:
            figures[device] = score_states(plant.profile_of(device), changes.get(device, []), intervals, until_ms)
            add_parts(figures[device], made.get(device, []), hours.get(device, []))
    return figures


def _streams(stored: StoredPlant, streams: set[str], from_ms: int, until_ms: int, now_ms: int) -> dict[str, StreamScore]:
    lowest = {stream: next(iter(stored.seqs[stream]))[0] for stream in streams}
    stored.note_numbers(from_ms - MARGIN_MS, from_ms)
    stored.note_numbers(until_ms, now_ms + MARGIN_MS)
    stored.note_ledger(from_ms - MARGIN_MS)
    scores: dict[str, StreamScore] = {}
    for stream in sorted(streams):
        began_before = next(iter(stored.seqs[stream]))[0] < lowest[stream] or stored.has_older(stream, from_ms)
        first = lowest[stream] if began_before else 1
        scores[stream] = score_stream(first, stored.seqs[stream], stored.ledger.get(stream, RangeSet()))
    return scores


class _Reads:
    """The served reads from the truth, given out in portions of time."""

    def __init__(self, truth: Path, from_ms: int) -> None:
        self._reads = (record for record in read_truth(truth, from_ms) if isinstance(record, Read))
        self._next = next(self._reads, None)

    def until(self, end_ms: int) -> Iterator[Read]:
        while self._next is not None and self._next.time_ms < end_ms:
            yield self._next
            self._next = next(self._reads, None)


def wait_for_clean(take: Callable[[], Score], wait_s: float, monotonic_s: Callable[[], float] = time.monotonic) -> Score:
    """Take the score again until nothing is missing, at most for `wait_s`: an outbox may still be sending its backlog."""
    deadline_s = monotonic_s() + wait_s
    score = take()
    missing = -1
    while monotonic_s() < deadline_s and not (score.is_clean and missing == (missing := _unexplained(score))):
        time.sleep(min(5.0, max(0.0, deadline_s - monotonic_s())))
        score = take()
    return score


def as_json(score: Score) -> dict[str, Any]:
    """The score as plain data, for --json."""
    return {
        "clean": score.is_clean,
        "since": format_timestamp(score.since_ms),
        "until": format_timestamp(score.until_ms),
        "lost": score.lost,
        "duplicated": score.duplicated,
        "wrong": score.wrong,
        "served": sum(device.served for device in score.devices.values()),
        "stored": sum(device.stored for device in score.devices.values()),
        "values_compared": sum(device.values for device in score.devices.values()),
        "never_committed": _causes(score),
        "bursts": [
            {"first": format_timestamp(b.first_ms), "last": format_timestamp(b.last_ms), "reads": b.reads, "devices": b.devices}
            for b in score.bursts
        ],
        "devices": {name: asdict(device) for name, device in sorted(score.devices.items())},
        "streams": {name: asdict(stream) for name, stream in score.streams.items()},
        "figures": {name: asdict(figure) for name, figure in score.figures.items()},
        "examples": score.examples,
    }


def _unexplained(score: Score) -> int:
    return sum(burst.reads for burst in score.bursts)


def _causes(score: Score) -> dict[str, int]:
    causes: dict[str, int] = {}
    for device in score.devices.values():
        for cause, count in device.never_committed.items():
            causes[cause] = causes.get(cause, 0) + count
    return causes
