"""`millrace-oee explain` on a real database: what was read, entered and published there, and a published figure that is another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import millrace_oee.__main__ as oee
from millrace_contract.language.entries import decode_entry
from millrace_contract.language.measurements import PRODUCTION_BUCKET, TELEMETRY_BUCKET
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.points import context_event_line, oee_window_line, telemetry_line
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.language.words import RevisionCause, WindowKind
from millrace_contract.runtime.influx import BucketRetention, Influx
from millrace_contract.runtime.recording import Recording
from millrace_contract.testing import Influxd
from millrace_oee.plan import load_plan
from millrace_oee.replay import OeeReplay
from millrace_oee.store import connect_in_memory

START_MS = parse_timestamp("2025-10-15T06:00:00Z")
MINUTE_MS = 60_000
JAM = {
    "kind": "reason",
    "id": "r-1",
    "timestamp": "2025-10-15T07:05:00.000Z",
    "actor": "anna",
    "values": {"action": "choose", "reason": "mechanical/jam", "start": "2025-10-15T06:30:00Z"},
}


def an_hour() -> list[bytes]:
    """A part a second; from 06:30 to 06:40 it stood."""
    said, total = [], 0
    for minute in range(76):
        stands = 30 <= minute < 40
        payload = {
            "timestamp": format_timestamp(START_MS + minute * MINUTE_MS),
            "readings": {"run_status": 2 if stands else 1, "cycle_count": total, "defect_count": 0},
            "hold_s": 60,
            "stream": "edge-1.a",
            "seq": minute + 1,
            "prev": minute,
        }
        said.append(json.dumps(payload).encode())
        total += 0 if stands else 60
    return said


@pytest.mark.influx
def test_a_window_of_the_database_is_explained_and_held_against_what_was_published(
    plant_folder: Callable[..., Path], influxd: Influxd, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = plant_folder(shifts={"early": {"start": "06:00", "end": "07:00"}})
    monkeypatch.setenv("MILLRACE_INFLUX_URL", influxd.url)
    monkeypatch.setenv("MILLRACE_INFLUX_TOKEN", Influxd.TOKEN)
    monkeypatch.setenv("MILLRACE_DATA", str(folder / "data"))
    topics = ["factory/line1/CNC-01/telemetry"] * 76 + ["factory/line1/CNC-01/context/event"]
    payloads = [*an_hour(), json.dumps(JAM).encode()]
    (folder / "events.jsonl").write_text(
        "".join(json.dumps({"topic": t, "payload": json.loads(p)}) + "\n" for t, p in zip(topics, payloads, strict=True))
    )
    now_ms = START_MS + 86_400_000
    replay = OeeReplay(load_plan(folder), connect_in_memory(), now_ms, by_arrival=False)
    replay.run(Recording(folder / "events.jsonl"))
    shift = next(each for each in replay.documents() if each.device_id == "CNC-01" and each.window.kind is WindowKind.SHIFT)

    def publish(document: OeeDocument) -> None:
        influx.write(PRODUCTION_BUCKET, oee_window_line(document))

    def explained() -> int:
        return oee.main(["explain", "CNC-01", "--config", str(folder), "--window", "2025-10-15/early"])

    with Influx(influxd.settings()) as influx:
        lines = [telemetry_line("test-cnc", "line1", "CNC-01", decode_telemetry(each, now_ms)) for each in payloads[:-1]]
        influx.write(TELEMETRY_BUCKET, b"\n".join(lines))
        influx.write(PRODUCTION_BUCKET, context_event_line("line1", "CNC-01", decode_entry(payloads[-1])))
        publish(msgspec.structs.replace(shift, revision=2, cause=RevisionCause.REASON))
        assert explained() == 0
        said = capsys.readouterr().out
        assert "06:30-06:40 held, reason mechanical/jam (anna, 07:05), 10 min unplanned; lost 600 parts" in said
        assert "revision 2, because of reason" in said
        assert "It adds up: 3600000 ms, 3000 parts (3000 good), ideal time 3000000 ms, good time 3000000 ms." in said

        publish(msgspec.structs.replace(shift, revision=3, good_ms=shift.good_ms + 1))
        assert explained() == 1
        assert "IT DOES NOT ADD UP: good_ms is 3000000 by what is listed, 3000001 in the document." in capsys.readouterr().out

        influx.set_retention(TELEMETRY_BUCKET, BucketRetention(7 * 86_400, 86_400))
        assert explained() == 2
        assert "of 2025-10-15/early stands, and cannot be explained any more" in capsys.readouterr().err
