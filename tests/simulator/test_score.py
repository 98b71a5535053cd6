"""The score finds what is injected, against a real database: a loss, a duplicate, a wrong value; and is clean without them."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

import pytest
from pymodbus.exceptions import ModbusException

from millrace_contract.language import measurements, points
from millrace_contract.language.messages import Ledger
from millrace_contract.language.telemetry import Telemetry, canonical
from millrace_contract.language.times import format_timestamp
from millrace_contract.plant import RegisterSignal
from millrace_contract.runtime.influx import Influx
from millrace_contract.store_forward.ranges import RangeSet
from millrace_contract.testing import Influxd
from millrace_simulator.__main__ import main
from millrace_simulator.control import send
from millrace_simulator.faults import Fault, FaultKind
from millrace_simulator.score import Score, score_stream
from millrace_simulator.scoring import LAG_MS, take_score
from millrace_simulator.testing import RunningSimulator

from .device_reader import DeviceReader

pytestmark = pytest.mark.influx

LATER_MS = LAG_MS
"""The score is taken as if this much later, so that nothing is too young to be judged."""


@dataclass
class Recorder:
    """A gateway in thirty lines: reads devices over Modbus, numbers the messages, hands out their points."""

    simulator: RunningSimulator
    stream: str = field(default_factory=lambda: f"edge-1.{secrets.token_hex(4)}")
    seq: int = 0
    last_ms: dict[str, int] = field(default_factory=dict)

    def poll(self, name: str) -> Telemetry:
        device, profile = self.simulator.plant.devices[name], self.simulator.plant.profile_of(name)
        readings: dict[str, float | str] = {}
        with DeviceReader(device) as reader:
            for table in ("input", "holding"):
                for signal in profile.register_signals.values():
                    if signal.table == table:
                        readings[signal.name] = scaled(signal, reader.read(signal))
        self.seq += 1
        time_ms = max(time.time_ns() // 1_000_000, self.last_ms.get(name, 0) + 1)
        self.last_ms[name] = time_ms
        return Telemetry(timestamp_ms=time_ms, readings=readings, quality={}, tags={}, stream=self.stream, seq=self.seq)


def scaled(signal: RegisterSignal, raw: float | str) -> float | str:
    if isinstance(raw, str) or not signal.is_scaled:
        return canonical(raw)
    return canonical(float(Decimal(raw) * Decimal(str(signal.scale)) + Decimal(str(signal.offset))))


@pytest.fixture
def recorder(simulator: RunningSimulator) -> Recorder:
    return Recorder(simulator)


def store(shared_influxd: Influxd, recorder: Recorder, polls: Iterable[tuple[str, Telemetry]]) -> None:
    plant = recorder.simulator.plant
    lines = [points.telemetry_line(plant.devices[name].profile, plant.devices[name].line, name, message) for name, message in polls]
    with Influx(shared_influxd.settings()) as influx:
        influx.write(measurements.TELEMETRY_BUCKET, b"\n".join(lines))


def score(shared_influxd: Influxd, recorder: Recorder) -> Score:
    truth = recorder.simulator.settings.data / "truth"
    with Influx(shared_influxd.settings()) as influx:
        return take_score(influx, recorder.simulator.plant, truth, None, time.time_ns() // 1_000_000 + LATER_MS)


def polled(recorder: Recorder, rounds: int = 5) -> list[tuple[str, Telemetry]]:
    return [(name, recorder.poll(name)) for _ in range(rounds) for name in ("CNC-01", "PRESS-01", "METER-01")]


def test_a_faithful_record_is_clean(shared_influxd: Influxd, recorder: Recorder) -> None:
    store(shared_influxd, recorder, polled(recorder))
    found = score(shared_influxd, recorder)
    assert found.examples == []
    assert found.is_clean
    assert [(found.devices[name].served, found.devices[name].stored) for name in ("CNC-01", "PRESS-01")] == [(5, 5)] * 2
    assert found.devices["CNC-01"].values == 5 * 13
    assert found.streams[recorder.stream].stored == 15


def test_a_lost_number_is_found_and_a_ledger_explains_it(shared_influxd: Influxd, recorder: Recorder) -> None:
    polls = polled(recorder)
    store(shared_influxd, recorder, polls[:6] + polls[8:])
    found = score(shared_influxd, recorder)
    assert (found.lost, found.duplicated, found.wrong) == (2, 0, 0)
    assert found.streams[recorder.stream].lost_ranges == [(7, 8)]
    assert found.devices["CNC-01"].never_committed == {"unexplained": 1}
    assert [burst.reads for burst in found.bursts] == [2]
    entry = Ledger(
        timestamp=format_timestamp(polls[-1][1].timestamp_ms),
        service="gateway",
        instance="edge-1",
        count=2,
        cause="limit_bytes",
        device_id="CNC-01",
        lost_stream=recorder.stream,
        lost_seqs=[(7, 8)],
        stream=recorder.stream,
        seq=16,
    )
    with Influx(shared_influxd.settings()) as influx:
        influx.write(measurements.PRODUCTION_BUCKET, points.ledger_line(entry))
    found = score(shared_influxd, recorder)
    assert (found.lost, found.streams[recorder.stream].in_ledger, found.streams[recorder.stream].last) == (0, 2, 16)


def test_the_first_number_of_a_stream_may_not_be_missing(shared_influxd: Influxd, recorder: Recorder) -> None:
    store(shared_influxd, recorder, polled(recorder)[1:])
    assert score(shared_influxd, recorder).streams[recorder.stream].lost_ranges == [(1, 1)]


def test_a_duplicate_is_found(shared_influxd: Influxd, recorder: Recorder) -> None:
    polls = polled(recorder)
    name, message = polls[-1]
    moved = {**as_fields(message), "timestamp_ms": message.timestamp_ms + 1, "seq": recorder.seq + 1}
    again = Telemetry(**moved)  # type: ignore[arg-type]
    store(shared_influxd, recorder, [*polls, (name, again)])
    found = score(shared_influxd, recorder)
    assert (found.lost, found.duplicated, found.wrong) == (0, 1, 0)
    assert found.examples[0].startswith(f"duplicated: {name} reads_served")


@pytest.mark.parametrize("signal", ["spindle_temperature", "cycle_count", "program", "run_status"])
def test_a_wrong_value_is_found_to_the_last_bit(shared_influxd: Influxd, recorder: Recorder, signal: str) -> None:
    polls = polled(recorder)
    name, message = polls[3]
    value = message.readings[signal]
    wrong = value * (1 + 2**-50) + 1e-300 if isinstance(value, float) and value else "O9999" if isinstance(value, str) else 1.0
    polls[3] = (name, Telemetry(**{**as_fields(message), "readings": {**message.readings, signal: wrong}}))  # type: ignore[arg-type]
    store(shared_influxd, recorder, polls)
    found = score(shared_influxd, recorder)
    assert (found.lost, found.duplicated, found.wrong) == (0, 0, 1)
    assert found.examples[0].startswith(f"wrong: {name} {signal} is")


def as_fields(message: Telemetry) -> dict[str, object]:
    return {name: getattr(message, name) for name in message.__struct_fields__}


def test_a_counter_that_was_never_served_is_wrong(shared_influxd: Influxd, recorder: Recorder) -> None:
    polls = polled(recorder)
    name, message = polls[0]
    invented = {**message.readings, "reads_served": 99_999_999.0}
    polls[0] = (name, Telemetry(**{**as_fields(message), "readings": invented}))  # type: ignore[arg-type]
    store(shared_influxd, recorder, polls)
    found = score(shared_influxd, recorder)
    assert found.wrong == 1
    assert found.examples[0] == f"wrong: {name} reads_served is 99999999, which was never served"


def test_an_answer_that_a_fault_spoiled_has_a_cause(shared_influxd: Influxd, recorder: Recorder) -> None:
    """The client refuses the spoiled answer, so it is served and never committed, and the column says why."""
    polls = polled(recorder)
    send(recorder.simulator.url, "POST", Fault(device="CNC-01", kind=FaultKind.DROP))
    device = recorder.simulator.plant.devices["CNC-01"]
    with DeviceReader(device) as reader, pytest.raises(ModbusException):
        reader.client.read_holding_registers(0, count=2, device_id=1)
    store(shared_influxd, recorder, polls)
    found = score(shared_influxd, recorder)
    assert found.is_clean
    assert found.devices["CNC-01"].never_committed == {"drop": 1}
    assert found.bursts == []


def test_the_command_says_it_and_exits_with_it(
    shared_influxd: Influxd, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = recorder.simulator.settings
    environ = {
        "CONFIG": settings.config,
        "DATA": settings.data,
        "INFLUX_URL": shared_influxd.url,
        "INFLUX_TOKEN": shared_influxd.TOKEN,
    }
    for name, value in environ.items():
        monkeypatch.setenv(f"MILLRACE_{name}", str(value))
    with pytest.raises(SystemExit) as nothing_stored:
        main(["score", "--json"])
    assert nothing_stored.value.code == 1
    assert json.loads(capsys.readouterr().out)["clean"] is False
    with pytest.raises(SystemExit) as mistake:
        main(["score", "--since", "yesterday"])
    assert mistake.value.code == 2
    assert "yesterday" in capsys.readouterr().err
    monkeypatch.setenv("MILLRACE_DATA", str(Path(settings.data) / "elsewhere"))
    with pytest.raises(SystemExit) as no_truth:
        main(["score"])
    assert no_truth.value.code == 2
    assert "holds no truth" in capsys.readouterr().err


def test_a_streams_numbers_are_judged_over_stored_and_ledger_together() -> None:
    stored, ledger = RangeSet(), RangeSet()
    for first, last in ((5, 9), (12, 20), (25, 25)):
        stored.add(first, last)
    ledger.add(10, 11)
    found = score_stream(5, stored, ledger)
    assert (found.lost, found.lost_ranges, found.stored, found.in_ledger) == (4, [(21, 24)], 15, 2)
    assert replace(found, lost=0) != found
