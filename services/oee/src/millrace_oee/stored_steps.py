"""The steps of counters that wait for a decision, as the database holds them: for `millrace-oee steps`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from millrace_contract.language.measurements import PRODUCTION_BUCKET
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import IntervalKind
from millrace_contract.runtime.influx import Influx, literal

_FIELDS = (
    "id_text", "counter_text", "event_text", "verdict_text", "from_value", "to_value", "parts", "counted", "end_ms", "withdrawn",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredStep:
    """A step, `at` the reading that showed it. `verdict` is empty while it waits."""

    id: str
    line: str
    device: str
    counter: str
    event: str
    start: str
    at: str
    from_value: int
    to_value: int
    parts: int
    verdict: str
    counted: int

    @property
    def in_words(self) -> str:
        state = f"{self.verdict}, {self.counted} counted" if self.verdict else f"waits: {self.parts} parts"
        moved = f"{self.from_value} to {self.to_value}, {self.event}"
        return f"{self.device} {self.counter} {self.start} to {self.at}: {moved}; {state}\n  {self.id}"


def read_steps(influx: Influx, device: str | None, from_ms: int) -> list[StoredStep]:
    """Steps that began since then, by time; without those that better knowledge did away with.

    Raises Unavailable, Refused or QueryFailed.
    """
    of_device = "" if device is None else f" AND device = {literal(device)}"
    query = (
        f"SELECT {', '.join(_FIELDS)} FROM oee_interval WHERE kind = {literal(IntervalKind.COUNTER_STEP)}"  # noqa: S608 - literals
        f"{of_device} AND time >= {from_ms}ms GROUP BY line, device"
    )
    steps = []
    for series in influx.query(PRODUCTION_BUCKET, query):
        for row in series.rows:
            values = dict(zip(series.columns, row, strict=True))
            if not values["withdrawn"]:
                steps.append(_step(series.tags, values))
    return sorted(steps, key=lambda step: (step.at, step.id))


def _step(tags: Mapping[str, str], values: Mapping[str, object]) -> StoredStep:
    def number(name: str) -> int:
        value = values[name]
        return int(value) if isinstance(value, int | float) else 0

    return StoredStep(
        id=str(values["id_text"]),
        line=tags["line"],
        device=tags["device"],
        counter=str(values["counter_text"]),
        event=str(values["event_text"]),
        start=format_timestamp(number("time")),
        at=format_timestamp(number("end_ms")),
        from_value=number("from_value"),
        to_value=number("to_value"),
        parts=number("parts"),
        verdict=str(values["verdict_text"] or ""),
        counted=number("counted"),
    )
