"""Samples straight from the rows of the database: what `sample_of` makes of the messages that the rows are (stored_points.py)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from millrace_contract.language.stored_points import StoredColumns

from .machine import Machine
from .samples import Sample, sample_of


def stored_samples(machine: Machine, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[Sample]:
    """The samples of an answer's rows, in their order. A row that says nothing of the machine is none.

    Most rows say what the one before said: then only the time is new.
    """
    stored = StoredColumns(columns)
    held, facts, said = machine, None, Sample(0)
    for row in rows:
        ts_ms, now = int(row[0]), row[1:]
        if now != facts or (machine.versions and machine.at(ts_ms) is not held):
            held, facts = machine.at(ts_ms), now
            said = sample_of(held, stored.message(row))
        if not said.empty:
            yield Sample(ts_ms, said.state, said.total, said.good, said.reject, said.hold_ms)
