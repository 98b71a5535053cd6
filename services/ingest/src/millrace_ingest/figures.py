"""What the service counts: the same numbers in its status, its metrics and its commands."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from millrace_contract.runtime import metrics

from .lags import Lags
from .twins import Twins
from .voices import Voices

RATE_WINDOW_S = 30.0

_MESSAGES = metrics.Counter("millrace_ingest_messages_total", "Messages by what became of them", ["outcome"])
_READINGS = metrics.Counter("millrace_ingest_lines_total", "Lines written to the database", ["bucket"])
_DEAD_LETTERS = metrics.Counter("millrace_ingest_dead_letters_total", "Dead letters by reason", ["code"])
_SEQUENCE = metrics.Counter("millrace_ingest_sequence_total", "Telemetry that is not the next of its device", ["step"])
_REQUESTS = metrics.Counter("millrace_ingest_write_requests_total", "Writes to the database, failed ones too")
_WRITE_SECONDS = metrics.Histogram("millrace_ingest_write_seconds", "Time to store one batch")
_GAUGES = metrics.Gauge("millrace_ingest_figure", "Depths, lags and states, as in the status topic", ["figure"])


@dataclass
class Figures:
    """Changed by the writer thread, read by any: single numbers and whole dictionaries are swapped, never half-made."""

    outcomes: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    undeclared: int = 0
    doubted: int = 0
    unknown_keys: int = 0
    lags: Lags = field(default_factory=Lags)
    voices: Voices = field(default_factory=Voices)
    twins: Twins = field(default_factory=Twins)
    _batches: deque[tuple[float, int]] = field(default_factory=deque, repr=False)

    def count(self, outcome: str, number: int = 1) -> None:
        """`outcome`: stored, forgotten, spooled, parked, held_back, refused, cleared, lost."""
        if number:
            self.outcomes[outcome] += number
            _MESSAGES.labels(outcome).inc(number)

    def dead_letter(self, code: str) -> None:
        self.dead_letters[code] += 1
        _DEAD_LETTERS.labels(code).inc()

    def step(self, step: str) -> None:
        self.steps[step] += 1
        _SEQUENCE.labels(step).inc()

    def wrote(self, lines_by_bucket: dict[str, int], requests: int, seconds: float, now_s: float) -> None:
        """A batch is in the database."""
        for bucket, lines in lines_by_bucket.items():
            _READINGS.labels(bucket).inc(lines)
        _REQUESTS.inc(requests)
        _WRITE_SECONDS.observe(seconds)
        self._batches.append((now_s, sum(lines_by_bucket.values())))
        while self._batches and self._batches[0][0] < now_s - RATE_WINDOW_S:
            self._batches.popleft()

    def rate_per_s(self, now_s: float) -> float:
        """Lines stored a second, over the last half minute."""
        return sum(lines for at_s, lines in list(self._batches) if at_s >= now_s - RATE_WINDOW_S) / RATE_WINDOW_S

    def summary(self, now_s: float) -> dict[str, float]:
        return {
            "stored": self.outcomes["stored"],
            "stored_per_s": round(self.rate_per_s(now_s), 1),
            "forgotten": self.outcomes["forgotten"],
            "spooled": self.outcomes["spooled"],
            "parked": self.outcomes["parked"],
            "held_back": self.outcomes["held_back"],
            "refused": self.outcomes["refused"],
            "gaps": self.steps["gap"],
            "repeats": self.steps["repeat"],
            "conflicts": self.steps["conflict"],
            "undeclared": self.undeclared,
            "doubted": self.doubted,
            "foreign": self.voices.messages,
            "foreign_devices": self.voices.devices(now_s),
            "unknown_keys": self.unknown_keys,
            "twins": self.twins.count(now_s),
            **self.lags.figures(),
        }


def publish(summary: dict[str, float]) -> None:
    """Shows the figures as metrics."""
    for name, value in summary.items():
        _GAUGES.labels(name).set(value)
