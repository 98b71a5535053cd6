"""What is computed again from a real database is what was told live, to the digit, under each policy for unknown time: with watched
silence, bad and uncertain readings, states that no profile names, and several messages of one instant."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

import millrace_oee.__main__ as oee
from millrace_contract.language.measurements import TELEMETRY_BUCKET
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.points import telemetry_line
from millrace_contract.language.telemetry import Telemetry, decode_telemetry, encode_telemetry
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.language.words import WindowKind
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.influx import BucketRetention, Influx
from millrace_contract.runtime.recording import Recording
from millrace_contract.testing import Influxd
from millrace_oee.plan import load_plan
from millrace_oee.recompute import recompute
from millrace_oee.replay import OeeReplay
from millrace_oee.store import connect_in_memory

START_MS = parse_timestamp("2025-10-15T06:00:00Z")
HOUR_MS = 3_600_000
END_MS = START_MS + 3 * HOUR_MS
SIGNALS = ("run_status", "cycle_count", "defect_count")
HOURS = {f"h{hour:02}": {"start": f"{hour:02}:00", "end": f"{hour + 1:02}:00"} for hour in range(6, 10)}


def spoken(device: str, seed: int) -> Iterator[bytes]:
    """Messages in order of arrival, some late, some of the same millisecond as another."""
    rng, at_ms, total, reject = random.Random(seed), START_MS, 65_000, 0
    said: list[bytes] = []
    for seq in range(1, 900):
        at_ms += rng.choice([0, 1_000, 1_000, 5_000, 5_000, 20_000, 61_000])
        total, reject = total + rng.randint(0, 3), reject + (rng.random() < 0.05)
        readings: dict[str, Any] = {
            "run_status": rng.choice([0, 1, 1, 1, 2, 4, 5, 77]),
            "cycle_count": total % 65_536,
            "defect_count": reject,
        }
        facts: dict[str, Any] = {"readings": readings, "quality": {}}
        match rng.random():
            case chance if chance < 0.1:
                facts = {"readings": {}, "quality": {}, "unreachable": True}
            case chance if chance < 0.2:
                spoiled = rng.sample(SIGNALS, rng.randint(1, 3))
                facts = {
                    "readings": {k: v for k, v in readings.items() if k not in spoiled},
                    "quality": dict.fromkeys(spoiled, "bad"),
                }
            case chance if chance < 0.3:
                facts["quality"] = dict.fromkeys(rng.sample(SIGNALS, rng.randint(1, 3)), "uncertain")
            case chance if chance < 0.35:
                facts["readings"] = {"cycle_count": total % 65_536}
        said.append(
            encode_telemetry(device_id=device, timestamp_ms=at_ms, tags={}, stream="edge-1.a", seq=seq, prev=seq - 1, **facts)
        )
        if at_ms > END_MS + 1_800_000:
            break
    for place in range(0, len(said) - 9, 40):  # some overtake each other
        said[place], said[place + 8] = said[place + 8], said[place]
    yield from said


@pytest.mark.influx
@pytest.mark.parametrize(
    ("policy", "seed", "source"),
    [
        ("exclude", 0, "values"),
        ("down", 1, "values"),
        ("hold", 2, "values"),
        ("infer", 3, "values"),
        ("exclude", 4, "band"),
        ("down", 5, "cycles"),
    ],
)
def test_a_recompute_says_what_was_told(
    plant_folder: Callable[..., Path], shared_influxd: Influxd, policy: str, seed: int, source: str
) -> None:
    device = f"R-{uuid.uuid4().hex[:12]}"
    folder = plant_folder({device: 1.0}, shifts=HOURS, coverage_min=0.1)
    plant = yaml.safe_load((folder / "plant.yaml").read_text())
    plant["lines"]["line1"]["devices"][device]["oee"] = {"unknown": policy}
    (folder / "plant.yaml").write_text(yaml.safe_dump(plant))
    tell_state_by(source, folder / "profiles" / "test-cnc.yaml")
    plan, payloads = load_plan(folder), list(spoken(device, seed))
    topic = plan.topics.telemetry("line1", device)

    told: dict[tuple[WindowKind, str], OeeDocument] = {}

    def keep(document: OeeDocument) -> None:
        if isinstance(document.device_id, str):
            told[document.window.kind, document.window.id] = document

    events = folder / "events.jsonl"
    events.write_text("".join(json.dumps({"topic": topic, "payload": json.loads(payload)}) + "\n" for payload in payloads))
    OeeReplay(plan, connect_in_memory(), END_MS + 20 * HOUR_MS, by_arrival=True, publish=keep).run(Recording(events))

    with Influx(shared_influxd.settings()) as influx:
        for batch in batches(payloads):
            influx.write(TELEMETRY_BUCKET, b"\n".join(telemetry_line("test-cnc", "line1", device, each) for each in batch))
    again = {
        (document.window.kind, document.window.id): document
        for document in recompute(plan, shared_influxd.settings(), device, START_MS, END_MS)
    }
    kinds, end = (WindowKind.SHIFT, WindowKind.HOUR), format_timestamp(END_MS)
    expected = {key: each for key, each in told.items() if key[0] in kinds and each.window.end <= end}
    assert len(expected) == 6
    assert {key: plain(again[key]) for key in expected} == {key: plain(each) for key, each in expected.items()}


def tell_state_by(source: str, path: Path) -> None:
    profile = yaml.safe_load(path.read_text())
    if source == "band":
        del profile["signals"]["run_status"]["values"], profile["oee"]["leaves"]
        profile["oee"]["running"] = {"above": 4, "below": 1}  # most readings lie between the two
    if source == "cycles":
        del profile["oee"]["state"], profile["oee"]["leaves"]
        profile["oee"]["cycles"] = {"stop_after": 3}
    path.write_text(yaml.safe_dump(profile))


def batches(payloads: list[bytes]) -> Iterator[list[Telemetry]]:
    """The messages in writes of their own wherever two are of one instant, so that the later one is a later write."""
    batch: dict[int, Telemetry] = {}
    for payload in payloads:
        message = decode_telemetry(payload, END_MS + 20 * HOUR_MS)
        if message.timestamp_ms in batch:
            yield list(batch.values())
            batch = {}
        batch[message.timestamp_ms] = message
    yield list(batch.values())


def plain(document: OeeDocument) -> OeeDocument:
    return msgspec.structs.replace(document, revision=1, cause=None)


@pytest.mark.influx
def test_what_the_database_keeps_no_more_is_not_computed_again(
    plant_folder: Callable[..., Path],
    influxd: Influxd,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, now_ms = plant_folder(), SystemClock().now_ms()
    monkeypatch.setenv("MILLRACE_INFLUX_URL", influxd.url)
    monkeypatch.setenv("MILLRACE_INFLUX_TOKEN", Influxd.TOKEN)
    monkeypatch.setenv("MILLRACE_DATA", str(folder / "data"))

    def recomputed(days: int) -> int:
        start, end = (format_timestamp(now_ms - 24 * HOUR_MS * before) for before in (days, days - 1))
        return oee.main(["recompute", "--config", str(folder), "--device", "CNC-01", "--from", start, "--to", end])

    assert recomputed(9) == 0
    with Influx(influxd.settings()) as influx:
        influx.set_retention(TELEMETRY_BUCKET, BucketRetention(7 * 86_400, 86_400))
    assert recomputed(6) == 0
    assert recomputed(9) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "raw readings are kept since" in said.err
    assert "cannot be computed again, and stands" in said.err
