"""What the score does not look at: are OEE's figures those that the stored readings give, and is every event of an alert there?"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from millrace_contract.language.measurements import PRODUCTION_BUCKET
from millrace_contract.language.times import parse_timestamp
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.settings import DatabaseSettings

from .plant import Plant

Document = dict[str, Any]
RECOMPUTE_LIMIT_S = 120.0
_OF_THE_MESSAGE = ("revision", "cause", "stream", "seq", "prev")
"""Keys that say how a document came about, not what it says."""


@dataclass(slots=True)
class Figures:
    """`windows` of OEE that ended for good in the storm, compared with what `millrace-oee recompute` makes of the readings."""

    windows: int = 0
    alert_events: int = 0
    ledger_entries: dict[str, int] = field(default_factory=dict)
    """By cause."""
    wrong: list[str] = field(default_factory=list)


def look(plant: Plant, since_ms: int) -> Figures:
    """Everything from the database, as somebody would who trusts nothing else."""
    figures = Figures()
    token = (plant.places.secrets / "simulator" / "influx_token").read_text().strip()
    settings = DatabaseSettings(influx_url=f"http://127.0.0.1:{plant.ports.influxd}", influx_token=SecretStr(token))
    with Influx(settings) as influx:
        for series in influx.query(PRODUCTION_BUCKET, 'SELECT count("count") FROM "ledger" GROUP BY "cause"'):
            figures.ledger_entries[series.tags["cause"]] = int(series.rows[0][1])
        numbers = [
            int(row[1])
            for series in influx.query(PRODUCTION_BUCKET, 'SELECT "event_seq" FROM "alert_event"')
            for row in series.rows
        ]
        stored = [
            json.loads(row[1])
            for series in influx.query(PRODUCTION_BUCKET, f'SELECT "document_text" FROM "oee_window" WHERE time >= {since_ms}ms')
            for row in series.rows
        ]
    figures.alert_events = len(numbers)
    if missing := sorted(set(range(1, max(numbers, default=0) + 1)) - set(numbers)):
        figures.wrong.append(f"events of alerts that are not stored: {missing[:20]}")
    _compare(plant, [document for document in stored if document.get("device_id") and document["final"]], figures)
    return figures


def _compare(plant: Plant, stored: list[Document], figures: Figures) -> None:
    by_device: dict[str, list[Document]] = {}
    for document in stored:
        by_device.setdefault(document["device_id"], []).append(document)
    for device, documents in sorted(by_device.items()):
        first = min((document["window"]["start"] for document in documents), key=parse_timestamp)
        last = max((document["window"]["end"] for document in documents), key=parse_timestamp)
        arguments = ("recompute", "--device", device, "--from", first, "--to", last, "--json")
        done = plant.run("millrace-oee", *arguments, timeout_s=RECOMPUTE_LIMIT_S)
        if done.returncode:
            figures.wrong.append(f"{device}: recompute: {done.stderr.strip()}")
            continue
        recomputed = _by_window(json.loads(line) for line in done.stdout.splitlines())
        for window, document in _by_window(documents).items():
            figures.windows += 1
            if recomputed.get(window) != document:
                figures.wrong.append(f"{device}: window {window} is {document}; recomputed {recomputed.get(window)}")


def _by_window(documents: Iterable[Document]) -> dict[tuple[str, str], Document]:
    return {
        (document["window"]["kind"], document["window"]["id"]): {
            key: value for key, value in document.items() if key not in _OF_THE_MESSAGE
        }
        for document in documents
    }
