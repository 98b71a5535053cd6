"""A real influxd that holds a scripted plant: a year of results, eight hours of states, a quarter of an hour of telemetry, faults.

Everything is written through the contract's own points, so that a board that asks for what no service writes stays empty here too.
"""

from __future__ import annotations

import math
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import pytest

from millrace_contract.language import measurements, points
from millrace_contract.language.alert_messages import AlertEvent
from millrace_contract.language.messages import Ledger, Status
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval, Parts, Window
from millrace_contract.language.telemetry import Telemetry
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import EventCause, IntervalKind, IsaState, Leaf, MachineState, Priority, Quality, WindowKind
from millrace_contract.runtime.influx import Influx
from millrace_contract.testing import Influxd

RunPython = Callable[..., subprocess.CompletedProcess[str]]
REPOSITORY = Path(__file__).resolve().parents[2]
MINUTE_MS = 60_000
QUARTER_MS = 15 * MINUTE_MS
HOUR_MS = 60 * MINUTE_MS

PLANT = {
    "line1": {"CNC-01": "demo-cnc", "CNC-02": "demo-cnc", "PRESS-01": "demo-press", "CONV-01": "demo-conveyor"},
    "line2": {"MOULD-01": "demo-moulder", "MOULD-02": "demo-moulder", "PACK-01": "demo-packer", "COMP-01": "demo-compressor"},
}
WITHOUT_OEE = {"COMP-01"}
SERVICES = (("gateway", "edge-1"), ("oee", "1"), ("alerts", "1"), ("rollup", "1"), ("ingest", "1"), ("ingest", "2"))
LEAVES = {
    "execute": "run",
    "held": "unplanned_stop",
    "suspended": "minor_stop",
    "aborted": "unplanned_stop",
    "setup": "setup",
    "idle": "unscheduled",
    "unknown": "unknown",
}


@pytest.fixture(scope="session")
def quarter_ms() -> tuple[int, int]:
    """The quarter of an hour that the data cover in every detail, in ms since the epoch: it ends now."""
    end_ms = time.time_ns() // 1_000_000
    return end_ms - QUARTER_MS, end_ms


@pytest.fixture(scope="session")
def plant_influxd(tmp_path_factory: pytest.TempPathFactory, quarter_ms: tuple[int, int]) -> Iterator[Influxd]:
    """The scripted plant's database; nobody else's, because boards show whatever is there."""
    if Influxd.binary() is None:
        missing("influxd is not on this machine: run scripts/influxd")
    server = Influxd(tmp_path_factory.mktemp("influxd"))
    server.start()
    with Influx(server.settings()) as database:
        database.write(measurements.TELEMETRY_BUCKET, b"\n".join(_telemetry_bucket(quarter_ms[1])))
        database.write(measurements.PRODUCTION_BUCKET, b"\n".join(_production_bucket(quarter_ms[1])))
        database.write(measurements.ROLLUP_1H_BUCKET, b"\n".join(_hours(quarter_ms[1])))
    yield server
    server.stop()


def missing(message: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def _telemetry_bucket(end_ms: int) -> Iterator[bytes]:
    seq = 0
    for line, devices in PLANT.items():
        for number, (device, profile) in enumerate(devices.items()):
            for second in range(0, QUARTER_MS // 1000, 2):
                seq += 1
                yield points.telemetry_line(
                    profile, line, device, _message(number, end_ms - QUARTER_MS + second * 1000, second, seq)
                )
    for line, devices in PLANT.items():
        for ago_ms in range(QUARTER_MS, 0, -10_000):
            yield points.oee_live_line(_oee(line, None, end_ms - ago_ms, kind="shift"))
        for device in devices.keys() - WITHOUT_OEE:
            yield points.oee_live_line(_oee(line, device, end_ms - 5_000, kind="shift"))
        for number, device in enumerate(devices):
            yield points.device_lag_line((line, device, "edge-1"), end_ms - 20_000, 300 * number - 200, -200, 2_000, 15)


def _hours(end_ms: int) -> Iterator[bytes]:
    """A year of roll-ups, every sixth hour of it."""
    for line, devices in PLANT.items():
        for number, (device, profile) in enumerate(devices.items()):
            for hours in range(0, 365 * 24, 6):
                made = 590 - hours % 50
                values = {"cycle_count_increase": float(made)}
                for signal, mean in (("cycle_count", 1e6 - made * hours), ("temperature", 60 + 8 * math.sin(hours / 700) + number)):
                    fields = {"mean": mean, "min": mean - 3, "max": mean + 4, "last": mean, "covered_ms": 3.4e6}
                    values |= {f"{signal}_{field}": value for field, value in fields.items()}
                time_ms = end_ms - hours * HOUR_MS - 10 * MINUTE_MS
                tags = (("line", line), ("device", device))
                yield points.rollup_line(profile, tags, values, time_ms)


def _message(number: int, time_ms: int, second: int, seq: int) -> Telemetry:
    wave = math.sin(second / 60 + number)
    readings: dict[str, float | str] = {
        "run_status": 1.0,
        "cycle_count": float(4000 + second // 6),
        "temperature": 60 + number * 5 + 8 * wave,
        "vibration": 1.5 + 0.3 * wave,
        "power": 12_000 + 3000 * wave,
        "program": "O1234",
    }
    quality: dict[str, Quality] = {}
    # Faults: one sensor spoils its answers, one is doubtful, one signal is missing for four minutes.
    if number == 0 and 300 <= second < 420:
        quality["vibration"] = Quality.BAD
        del readings["vibration"]
    if number == 1 and 500 <= second < 540:
        quality["temperature"] = Quality.UNCERTAIN
    return Telemetry(
        timestamp_ms=time_ms, readings=readings, quality=quality, tags={"station": f"ST{number}"}, stream="edge-1.ab", seq=seq
    )


def _oee(line: str, device: str | None, time_ms: int, *, kind: str) -> OeeDocument:
    chance = random.Random(f"{line}/{device}/{time_ms if kind != 'shift' else ''}")
    availability, performance, quality = (0.75 + 0.2 * chance.random(), 0.7 + 0.25 * chance.random(), 0.95 + 0.05 * chance.random())
    if line == "line2" and device is None:
        availability = 0.55
    length_ms = {"hour": HOUR_MS, "shift": 5 * HOUR_MS, "day": 16 * HOUR_MS}[kind]
    start_ms = time_ms - length_ms if kind == "shift" else time_ms
    shares = {
        "minor_stop": 0.04,
        "planned_stop": 0.05,
        "setup": 0.03,
        "break": 0.05,
        "unknown": 0.02,
        "unscheduled": 0.0,
        "not_scheduled": 0.0,
    }
    ms = {leaf: int(share * length_ms) for leaf, share in shares.items()}
    ms["unplanned_stop"] = int(length_ms * (1 - availability) * 0.8)
    ms["run"] = length_ms - sum(ms.values())
    total = int(ms["run"] / 6000 * performance)
    return OeeDocument(
        line=line,
        timestamp=format_timestamp(start_ms + length_ms),
        window=Window(
            kind=WindowKind(kind),
            id="2026-01-01/early",
            start=format_timestamp(start_ms),
            end=format_timestamp(start_ms + 8 * 3_600_000),
        ),
        ms={**ms, "all": length_ms},
        parts=Parts(total=total, good=int(total * quality), scrap=total - int(total * quality)),
        availability=availability,
        performance=performance,
        quality=quality,
        oee=availability * performance * quality,
        ideal_ms=total * 6000,
        good_ms=int(total * quality) * 6000,
        coverage=0.98,
        device_id=msgspec.UNSET if device is None else device,
    )


def _production_bucket(end_ms: int) -> Iterator[bytes]:
    yield from _intervals(end_ms)
    for line, devices in PLANT.items():
        for hour in range(1, 8):
            yield points.oee_window_line(_oee(line, None, end_ms - hour * 3_600_000, kind="hour"))
        for day in range(1, 365):
            for device in (None, *sorted(devices.keys() - WITHOUT_OEE)):
                yield points.oee_window_line(_oee(line, device, end_ms - day * 24 * HOUR_MS, kind="day"))
    yield from _alerts(end_ms)
    yield from _platform(end_ms)
    entry = Ledger(
        timestamp=format_timestamp(end_ms - QUARTER_MS // 2), service="gateway", instance="edge-1", count=12, cause="clock_step",
        device_id="CNC-01", stream="edge-1.ab", seq=77,
    )  # fmt: skip
    yield points.ledger_line(entry)


def _intervals(end_ms: int) -> Iterator[bytes]:
    chance = random.Random(7)
    for line, devices in PLANT.items():
        for device in sorted(devices.keys() - WITHOUT_OEE):
            at_ms, state = end_ms - 9 * 3_600_000, "execute"
            while at_ms < end_ms:
                minutes = chance.expovariate(1 / 25) if state == "execute" else chance.expovariate(1 / 6)
                until_ms = at_ms + int(max(minutes, 0.2) * MINUTE_MS)
                yield from _interval(line, device, state, at_ms, until_ms if until_ms < end_ms else None)
                at_ms = until_ms
                others = chance.choices(list(LEAVES)[1:], weights=[5, 6, 1, 2, 1, 1])
                state = others[0] if state == "execute" else "execute"
    # Late data did away with this state: no board may show it.
    yield from _interval("line2", "COMP-01", "held", end_ms - 6 * MINUTE_MS, end_ms - 6 * MINUTE_MS)
    # Whatever the dice say: one machine stands now, because of its own fault.
    yield from _interval("line2", "PACK-01", "aborted", end_ms - 4 * MINUTE_MS, None)


def _interval(line: str, device: str, word: str, start_ms: int, end_ms: int | None) -> Iterator[bytes]:
    state, leaf = MachineState(word), Leaf(LEAVES[word])

    def one(kind: IntervalKind, reason: str | None) -> OeeInterval:
        return OeeInterval(
            id=f"{device}/{kind}/{start_ms}", device_id=device, line=line, kind=kind, state=state, leaf=leaf,
            start=format_timestamp(start_ms), end=None if end_ms is None else format_timestamp(end_ms),
            timestamp=format_timestamp(end_ms or start_ms), reason=reason, pending=end_ms is None,
            stream="oee-1.cd", seq=start_ms % 10_000,
        )  # fmt: skip

    yield points.oee_interval_line(one(IntervalKind.STATE, None))
    if leaf.endswith("stop"):
        yield points.oee_interval_line(one(IntervalKind.STOP, "mechanical/jam" if start_ms % 2 else None))


def _alerts(end_ms: int) -> Iterator[bytes]:
    story = [
        ("line1", "CNC-01", "spindle-hot", "high", ["UNACK", "ACKED"]),
        ("line1", "CNC-02", "spindle-hot", "high", ["UNACK", "RTNUN"]),
        ("line2", "PACK-01", "no-data", "medium", ["UNACK", "ACKED", "NORM"]),
        ("line2", "MOULD-01", "device-offline", "critical", ["UNACK"]),
        ("line2", None, "line-starved", "low", ["UNACK"]),
    ]
    number = 0
    for line, device, rule, priority, states in story:
        before = "NORM"
        for step, state in enumerate(states):
            number += 1
            at = format_timestamp(end_ms - 12 * MINUTE_MS + step * 3 * MINUTE_MS + number)
            yield points.alert_event_line(
                AlertEvent(
                    event_seq=number,
                    alert_id=f"{line}/{device}/{rule}",
                    rule=rule,
                    line=line,
                    device_id=device,
                    from_state=IsaState(before),
                    to_state=IsaState(state),
                    cause=EventCause.CONDITION,
                    timestamp=at,
                    source_timestamp=at,
                    priority=Priority(priority),
                    stream="alerts-1.ef",
                    seq=number,
                )
            )
            before = state


def _platform(end_ms: int) -> Iterator[bytes]:
    for ago_ms in range(QUARTER_MS, 0, -10_000):
        database_is_away = 4 * MINUTE_MS < ago_ms < 7 * MINUTE_MS
        for service, instance in SERVICES:
            waiting = max(0, 7 * MINUTE_MS - ago_ms) / 1000 if database_is_away and service != "ingest" else 0.4
            status = Status(
                service=service, instance=instance, alive=instance != "2",
                timestamp=format_timestamp(end_ms - ago_ms), version="0.1.0",
                taking=not database_is_away if service == "ingest" else None,
                figures=_figures(service, (QUARTER_MS - ago_ms) // 10_000, waiting),
            )  # fmt: skip
            yield points.platform_line(status, end_ms - ago_ms)


def _figures(service: str, step: int, waiting: float) -> dict[str, float]:
    """What each service counts: a fault every now and then."""
    outbox = {"outbox_oldest_s": waiting, "outbox_messages": 4 + waiting * 8}
    match service:
        case "ingest":
            return {
                "stored_per_s": 12.0 + step % 7, "lag_p50_ms": 40 + step % 9, "lag_max_ms": 220 + step % 50, "lag_min_ms": 12,
                "queue": step % 5, "spool": 0, "dead_letters": step // 40, "open_gaps": step // 60, "gaps": step // 30,
                "repeats": step // 10, "conflicts": step // 80, "parked": step // 40,
            }  # fmt: skip
        case "gateway":
            return {**outbox, "outbox_holds_h": 61.0, "late_cycles": step // 15}
        case "rollup":
            return {"rollup_behind_s": 125 + step % 6 * 10}
        case _:
            return outbox


@pytest.fixture(scope="session")
def stand_in() -> Path:
    """The checker that reads provisioning as Grafana does: beside the repository, or where MILLRACE_GRAFANA_CHECK says."""
    given = os.environ.get("MILLRACE_GRAFANA_CHECK")
    path = Path(given) if given else REPOSITORY.parent / "shared" / "standins" / "grafana" / "server.py"
    if not path.is_file():
        missing("no checker of Grafana's files beside the repository; MILLRACE_GRAFANA_CHECK may name one")
    return path


@pytest.fixture
def run_python() -> RunPython:
    """Runs a module of grafana/ or a script with this interpreter, from the repository's root."""

    def run(*arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "grafana")}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    return run


def expanded(server: Influxd, stand_in: Path, folder: Path, boards: Iterable[Path], during_ms: tuple[int, int]) -> list[str]:
    """The command for every query of these boards as Grafana expands it; its status is 1 where one fails or finds nothing."""
    dashboards, secrets = folder / "dashboards", folder / "secrets" / "millrace"
    dashboards.mkdir()
    secrets.mkdir(parents=True)
    for board in boards:
        shutil.copy(board, dashboards)
    (secrets / "influx_token").write_text(server.TOKEN)
    return [
        str(stand_in), "--queries", "--require-data", "--no-secrets", "--url", server.url,
        "--from", str(during_ms[0]), "--to", str(during_ms[1]),
        "--provisioning", str(REPOSITORY / "grafana" / "provisioning"),
        "--map", f"/etc/grafana/dashboards={dashboards}", "--map", f"/run/secrets={folder / 'secrets'}",
        "--var", "line=line1", "--var", "device=CNC-01",
    ]  # fmt: skip
