"""What the real oee engine makes of a machine's day: for tests of whoever reads its documents."""

from __future__ import annotations

import functools
import json
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from millrace_contract.language.oee_messages import OeeDocument, OeeInterval
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.language.words import IntervalKind
from millrace_contract.runtime.recording import Recording
from millrace_oee.plan import load_plan
from millrace_oee.replay import OeeReplay
from millrace_oee.results import Results
from millrace_oee.store import connect_in_memory

PROFILES = Path(__file__).parent / "cases" / "oee" / "setup-outside-lowers-no-oee" / "profiles"
EVERY_DAY = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
STEP_MS = 600_000


@dataclass(frozen=True)
class Made:
    """Last revisions of ended windows and of intervals, and the live documents by line and device (None: the line's own)."""

    windows: list[OeeDocument]
    intervals: list[OeeInterval]
    live: dict[tuple[str, str | None], OeeDocument]

    def of(self, kind: str, device: str | None = None) -> list[OeeDocument]:
        return [each for each in self.windows if each.window.kind == kind and (each.device_id or None) == device]


def write_oee_plant(folder: Path, lines: dict[str, Sequence[str]], shifts: dict[str, dict[str, str]]) -> Path:
    """Lines of machines whose parts take six seconds, in UTC."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(PROFILES, folder / "profiles", dirs_exist_ok=True)
    connection = {"host": "127.0.0.1", "port": 5020}
    plant = {
        "root": "factory",
        "time_zone": "UTC",
        "lines": {
            line: {"devices": {each: {"profile": "test-cnc", "ideal_cycle_s": 6.0, "connection": connection} for each in devices}}
            for line, devices in lines.items()
        },
    }
    (folder / "plant.yaml").write_text(yaml.safe_dump(plant))
    (folder / "calendar.yaml").write_text(yaml.safe_dump({"shifts": {k: {"days": EVERY_DAY, **s} for k, s in shifts.items()}}))
    return folder


def some_days(line: str, device: str, from_ms: int, until_ms: int) -> Iterator[str]:
    """A machine that runs at nine tenths of its pace, stops for this and that, and makes some scrap; always the same."""
    chance = random.Random(device)
    total = reject = 0
    for ms in range(from_ms, until_ms, STEP_MS):
        state = chance.choices([1, 2, 4, 6, 0], weights=[16, 2, 1, 1, 1])[0]
        readings = {"run_status": state, "cycle_count": total % 65536, "defect_count": reject % 65536}
        payload = {
            "timestamp": format_timestamp(ms),
            "readings": readings,
            "hold_s": 600,
            "stream": f"edge-1.{device}",
            "seq": ms // STEP_MS,
        }
        yield json.dumps({"topic": f"factory/{line}/{device}/telemetry", "payload": payload})
        made = chance.randrange(80, 100) if state == 1 else 0
        total, reject = total + made, reject + (made > 95)


def made_by_oee(config: Path, events: Sequence[str], now_ms: int) -> Made:
    """Everything that the service would have published of these messages."""
    path = config / "events.jsonl"
    path.write_text("\n".join(events) + "\n")
    connection, recording = connect_in_memory(), Recording(path)
    replay = OeeReplay(load_plan(config), connection, now_ms, by_arrival=False)
    replay.run(recording)
    assert not recording.broken
    results = Results(connection, lambda _topic, _message: None)
    intervals = [each for device in replay.engine.plan.machines for each in results.intervals(device, 0)]
    live = {(line, device): document for line, device, document in replay.engine.live_documents(set())}
    return Made(list(results.windows()), intervals, live)


@functools.cache
def a_shift() -> Made:
    """A shift of CNC-01 in line1, its hours, stops and live documents; made once a process."""
    with tempfile.TemporaryDirectory() as folder:
        config = write_oee_plant(Path(folder), {"line1": ["CNC-01"]}, {"early": {"start": "06:00", "end": "14:00"}})
        from_ms = parse_timestamp("2025-10-15T05:00:00Z")
        until_ms = from_ms + 10 * 3_600_000
        return made_by_oee(config, list(some_days("line1", "CNC-01", from_ms, until_ms)), until_ms)


def an_hour(start_ms: int, *, device: str | None = "CNC-01", **changes: Any) -> OeeDocument:
    """A document of an hour as oee made it, of another time and name; `changes`: what else a test needs to be so."""
    made = next(each for each in a_shift().of("hour", device and "CNC-01") if each.parts.scrap and each.stops and each.stops.count)
    start, end = format_timestamp(start_ms), format_timestamp(start_ms + 3_600_000)
    window = msgspec.structs.replace(made.window, id=start, start=start, end=end)
    said = {"window": window, "timestamp": end, "device_id": msgspec.UNSET if device is None else device, **changes}
    return msgspec.structs.replace(made, **said)


def a_stop(start_ms: int, end_ms: int | None, *, device: str = "CNC-01", **changes: Any) -> OeeInterval:
    """A stop as oee made it, of another time and name."""
    made = next(each for each in a_shift().intervals if each.kind is IntervalKind.STOP and each.end not in {None, each.start})
    start, end = format_timestamp(start_ms), None if end_ms is None else format_timestamp(end_ms)
    said = {"id": f"{device}/stop/{start}", "start": start, "end": end, "timestamp": end or start, "device_id": device, **changes}
    return msgspec.structs.replace(made, **said)
