"""The fifteen rules of docs/examples/rules: each is loaded, and raises in one recording and not in another."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from millrace_alerts.replay import AlertsReplay
from millrace_alerts.rules import watched_rules
from millrace_contract.language.event_file import Event
from millrace_contract.language.messages import Status, encode
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.plant import PlantModel, load_plant
from millrace_contract.plant.alert_rules import load_alert_rules
from tests.made_by_oee import Made, made_by_oee, write_oee_plant

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "docs" / "examples" / "rules"
FILES = sorted(RULES.glob("*.yaml"))
SIX_MS = parse_timestamp("2025-10-15T06:00:00Z")
Values = Mapping[str, float | str]
Says = Callable[[int], Mapping[str, Values]]


@dataclass(frozen=True)
class Recorded:
    """What devices say at each step: `bad(i)` raises the rule, `well(i)` does not. By device, the readings."""

    bad: Says
    well: Says
    steps: int = 60
    step_s: int = 5


def cnc(**values: float | str) -> Mapping[str, Values]:
    return {"CNC-01": {"run_status": 1, **values}}


def vibrating(one: float) -> Mapping[str, Values]:
    return {"CNC-01": {"vibration": one}, "CNC-02": {"vibration": 1.4}, "LATHE-01": {"vibration": 1.6}}


def metered(i: int, each_kwh: float) -> Mapping[str, Values]:
    return {**cnc(cycle_count=i // 2), "METER-01": {"energy": i // 2 * each_kwh}}


READINGS = {
    "01-spindle-temperature": Recorded(
        lambda i: cnc(spindle_temperature=60.0 + i), lambda i: cnc(spindle_temperature=84.0 + i % 2 * 2)
    ),
    "02-oil-heats-up-fast": Recorded(
        lambda i: {"PRESS-01": {"oil_temperature": 40 + i / 2}}, lambda i: {"PRESS-01": {"oil_temperature": 40 + i / 50 + i % 3}}
    ),
    "03-sensor-hangs": Recorded(
        lambda _: cnc(coolant_temperature=21.5), lambda i: cnc(coolant_temperature=21.5, run_status=0) if i % 2 else cnc(), 200
    ),
    "04-counts-nothing": Recorded(lambda i: cnc(cycle_count=min(i, 9)), lambda i: cnc(cycle_count=i // 20), 100),
    "05-program-changed": Recorded(lambda i: cnc(program="P1" if i < 9 else "P2"), lambda _: cnc(program="P1")),
    "06-door-open-at-work": Recorded(lambda i: cnc(door_open=int(i > 9)), lambda i: cnc(door_open=i % 2, run_status=1 - i % 2)),
    "07-nozzle-follows-the-barrel": Recorded(
        lambda i: {"IMM-01": {"machine_state": 6, "barrel_temperature": 230, "nozzle_temperature": 225 - i}},
        lambda i: {"IMM-01": {"machine_state": 6, "barrel_temperature": 230 + i, "nozzle_temperature": 225 + i}},
    ),
    "08-unlike-the-other-machines": Recorded(lambda _: vibrating(4.0), lambda _: vibrating(2.0)),
    "09-compressed-air-low": Recorded(
        lambda i: {"COMP-01": {"pressure": 7 - i / 20}}, lambda i: {"COMP-01": {"pressure": 5.9 if i % 2 else 6.4}}
    ),
    "14-energy-of-a-part": Recorded(lambda i: metered(i, 0.7), lambda i: metered(i, 0.3), 200),
}


@pytest.fixture(scope="module")
def plant() -> PlantModel:
    return load_plant(ROOT / "config")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A morning of CNC-01 by the real oee: two good hours, then it is held."""
    config = write_oee_plant(tmp_path_factory.mktemp("oee"), {"line1": ["CNC-01"]}, {"early": {"start": "06:00", "end": "14:00"}})
    said = []
    for minute in range(220):
        readings = {"run_status": 1 if minute < 120 else 2, "cycle_count": min(minute, 120) * 10, "defect_count": 0}
        at = format_timestamp(SIX_MS + minute * 60_000)
        payload = {"timestamp": at, "readings": readings, "stream": "edge-1.a1", "seq": 1 + minute, "hold_s": 60}
        said.append(json.dumps({"topic": "factory/line1/CNC-01/telemetry", "payload": payload}))
    return made_by_oee(config, said, SIX_MS + 220 * 60_000)


def raised(plant: PlantModel, file: Path, messages: Iterator[Event], tmp_path: Path) -> list[str]:
    """The alerts of the file's rules, of a replay of the recording."""
    (tmp_path / "alerts.yaml").write_bytes(file.read_bytes())
    rules = load_alert_rules(tmp_path, plant)
    replay = AlertsReplay(plant, watched_rules(plant, rules), SIX_MS + 86_400_000)
    events = [event for event in replay.events(messages) if event.rule in rules]
    return [event.alert_id for event in events if event.cause == "condition"]


def said(plant: PlantModel, recorded: Recorded, says: Says) -> Iterator[Event]:
    for step in range(recorded.steps):
        at_ms = SIX_MS + step * recorded.step_s * 1000
        for device, readings in says(step).items():
            message = {"timestamp": format_timestamp(at_ms), "readings": readings, "hold_s": 10}
            message |= {"stream": f"{plant.devices[device].gateway}.a1", "seq": 1 + step}
            yield event(plant, f"{plant.devices[device].line}/{device}/telemetry", json.dumps(message).encode(), at_ms)


def event(plant: PlantModel, topic: str, payload: bytes, at_ms: int) -> Event:
    return Event(0, 0, f"{plant.root}/{topic}", payload, at_ms)


@pytest.mark.parametrize("name", READINGS)
def test_a_rule_raises_in_one_recording_and_not_in_another(plant: PlantModel, tmp_path: Path, name: str) -> None:
    recorded, file = READINGS[name], RULES / f"{name}.yaml"
    assert len(set(raised(plant, file, said(plant, recorded, recorded.bad), tmp_path))) == 1
    assert raised(plant, file, said(plant, recorded, recorded.well), tmp_path) == []


@pytest.mark.parametrize(("product", "is_raised"), [("cap-pp", True), ("cap-pa6", False), (None, False)])
def test_the_limit_is_that_of_the_product(plant: PlantModel, tmp_path: Path, product: str | None, is_raised: bool) -> None:
    context = {"timestamp": format_timestamp(SIX_MS)}
    if product is not None:
        context |= {"order": "O-1", "state": "running", "since": context["timestamp"], "product": product}
    recorded = Recorded(lambda _: {"IMM-01": {"barrel_temperature": 245}}, lambda _: {})
    messages = [event(plant, "line2/context", json.dumps(context).encode(), SIX_MS - 10_000), *said(plant, recorded, recorded.bad)]
    assert bool(raised(plant, RULES / "10-barrel-by-product.yaml", iter(messages), tmp_path)) is is_raised


@pytest.mark.parametrize(
    ("name", "until_min", "is_raised"),
    [
        ("11-stop-without-a-reason", 110, False),
        ("11-stop-without-a-reason", 220, True),
        ("12-poor-hour", 120, False),
        ("12-poor-hour", 220, True),
        ("13-behind-target", 220, True),
    ],
)
def test_rules_on_figures_raise_by_what_oee_made(  # noqa: PLR0917 - a row of the table
    plant: PlantModel, made: Made, tmp_path: Path, name: str, until_min: int, is_raised: bool
) -> None:
    until_ms = SIX_MS + until_min * 60_000
    messages = [(parse_timestamp(each.window.end), "oee/window", encode(each)) for each in made.of("hour", "CNC-01")]
    live = encode(made.live["line1", "CNC-01"])
    stops = [each for each in made.intervals if each.kind == "stop"]
    assert stops
    beats = range(SIX_MS, until_ms, 30_000)
    messages += [(at_ms, "oee", live) for at_ms in beats if at_ms > SIX_MS + 219 * 60_000 or name.startswith("11")]
    messages += [(parse_timestamp(each.start) + 5_000, "oee/interval", encode(each)) for each in stops]
    heard = [
        event(plant, f"line1/CNC-01/{kind}", payload, at_ms)
        for at_ms, kind, payload in sorted(messages, key=lambda each: each[0])
        if at_ms <= until_ms
    ]
    assert bool(raised(plant, RULES / f"{name}.yaml", iter(heard), tmp_path)) is is_raised


def test_a_machine_on_target_is_not_behind(plant: PlantModel, made: Made, tmp_path: Path) -> None:
    live = made.live["line1", "CNC-01"]
    parts = msgspec.structs.replace(live.parts, good=live.parts.good * 3)
    heard = [event(plant, "line1/CNC-01/oee", encode(msgspec.structs.replace(live, parts=parts)), SIX_MS)]
    assert raised(plant, RULES / "13-behind-target.yaml", iter(heard), tmp_path) == []


@pytest.mark.parametrize(("gaps", "is_raised"), [(2.0, True), (0.0, False)])
def test_a_gap_that_nothing_closes(plant: PlantModel, tmp_path: Path, gaps: float, is_raised: bool) -> None:
    status = encode(Status(service="ingest", instance="1", alive=True, figures={"open_gaps": gaps}))
    heard = [event(plant, "_platform/ingest/1/status", status, SIX_MS + at_s * 1000) for at_s in range(0, 3_700, 60)]
    assert bool(raised(plant, RULES / "15-readings-are-missing.yaml", iter(heard), tmp_path)) is is_raised


def test_every_example_is_tried() -> None:
    tried = {
        *READINGS,
        "10-barrel-by-product",
        "11-stop-without-a-reason",
        "12-poor-hour",
        "13-behind-target",
        "15-readings-are-missing",
    }
    assert {file.stem for file in FILES} == tried
    assert len(FILES) == 15
