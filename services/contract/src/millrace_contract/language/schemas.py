"""JSON Schema files of the messages, generated from their types: `python -m millrace_contract.language.schemas DIR`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from . import alert_messages, messages, oee_messages
from .entries import Entry
from .telemetry import TelemetryMessage

PUBLISHED: dict[str, Any] = {
    "telemetry": TelemetryMessage,
    "comms": messages.Comms,
    "oee": oee_messages.OeeDocument,
    "oee-interval": oee_messages.OeeInterval,
    "alert": alert_messages.AlertState,
    "alert-event": alert_messages.AlertEvent,
    "context": messages.ContextState,
    "context-event": Entry,
    "status": messages.Status,
    "ledger": messages.Ledger,
    "stored": messages.Stored,
}
"""By name: a type of message, or the union of several."""


def schema(name: str) -> dict[str, Any]:
    """The schema of one kind of message."""
    (reference,), definitions = msgspec.json.schema_components([PUBLISHED[name]], ref_template="#/$defs/{name}")
    result = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Millrace {name}",
        **reference,
        "$defs": definitions,
    }
    if name == "telemetry":
        # Either readings by signal, or one signal_name with a value or a quality.
        result["$defs"]["TelemetryMessage"] |= {
            "anyOf": [
                {
                    "required": ["readings"],
                    "properties": {
                        "readings": {"type": "object"},
                        "signal_name": {"type": "null"},
                        "quality": {"type": ["object", "null"]},
                    },
                },
                {
                    "required": ["signal_name", "value"],
                    "properties": {
                        "signal_name": {"type": "string"},
                        "value": {"not": {"type": "null"}},
                        "readings": {"type": "null"},
                    },
                },
                {
                    "required": ["signal_name", "quality"],
                    "properties": {
                        "signal_name": {"type": "string"},
                        "quality": {"minLength": 1, "minProperties": 1},
                        "readings": {"type": "null"},
                    },
                },
            ]
        }
    return result


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in PUBLISHED:
        (folder / f"{name}.schema.json").write_text(json.dumps(schema(name), indent=2) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
