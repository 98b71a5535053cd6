"""What ingest makes of each message of a case: plant.yaml, profiles/ and messages.jsonl in, expected.jsonl out.

A message becomes a line of a bucket, a dead letter with its reason, or nothing. `received` is the server's clock.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from millrace_contract.language.event_file import Event
from millrace_contract.plant import load_plant
from millrace_contract.runtime.recording import Recording
from millrace_ingest.confirmations import Identity
from millrace_ingest.decoder import Accepted, Decoder, Rejected


def test_what_is_stored_of_a_message(case: Path, expect: Callable[[Path, str], None]) -> None:
    decoder = Decoder(load_plant(case, {}))
    recording = Recording(case / "messages.jsonl")
    found = [_found(decoder, event) for event in recording.events()]
    assert not recording.broken
    expect(case / "expected.jsonl", "".join(json.dumps(each) + "\n" for each in found))


def _found(decoder: Decoder, event: Event) -> dict[str, Any]:
    assert event.received_ms is not None, f"line {event.line} does not say when it was received"
    verdict = decoder.decode(event.topic, event.payload, event.received_ms)
    if isinstance(verdict, Accepted):
        return {"bucket": verdict.bucket, "line": verdict.line.decode(), "confirmed": _shown(verdict.identity)}
    if isinstance(verdict, Rejected):
        return {"dead_letter": verdict.code, "reason": verdict.reason, "confirmed": _shown(verdict.identity)}
    return {"ignored": verdict.why}


def _shown(identity: Identity | None) -> list[str | int] | None:
    return None if identity is None else [identity.stream, identity.seq]
