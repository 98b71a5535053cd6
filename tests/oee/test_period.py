"""Any period: the sums of windows over any time, from a file and from the database; drawn; and how fast a machine goes at best."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from millrace_contract.language.messages import encode
from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.words import Leaf
from millrace_contract.runtime.recording import Recording
from millrace_oee.__main__ import main
from millrace_oee.best_cycle import cycles_of, speed_loss
from millrace_oee.machine import Machine
from millrace_oee.period_figures import in_full, machine_period, period_document
from millrace_oee.plan import load_plan
from millrace_oee.replay import OeeReplay
from millrace_oee.samples import Sample
from millrace_oee.store import connect_in_memory
from millrace_oee.windows import Sums
from tests.made_by_oee import some_days, write_oee_plant

FROM_MS, UNTIL_MS = parse_timestamp("2025-09-28T06:00:00Z"), parse_timestamp("2025-10-07T12:00:00Z")
SHIFTS = {"early": {"start": "06:00", "end": "14:00"}, "late": {"start": "14:00", "end": "22:00"}}
DEVICES = ("CNC-01", "CNC-02")
SUMS = ("ms", "parts", "losses", "stops", "ideal_ms", "good_ms")


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_oee_plant(tmp_path_factory.mktemp("period"), {"line1": DEVICES}, SHIFTS)


@pytest.fixture(scope="module")
def events(plant: Path) -> Path:
    path = plant / "days.jsonl"
    path.write_text("\n".join(event for device in DEVICES for event in some_days("line1", device, FROM_MS, UNTIL_MS)) + "\n")
    return path


Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def replayed(plant: Path, events: Path) -> OeeReplay:
    replay = OeeReplay(load_plan(plant), connect_in_memory(), UNTIL_MS, by_arrival=False)
    replay.run(Recording(events))
    return replay


@pytest.fixture
def ask(replayed: OeeReplay) -> Ask:
    """What the command answers, from a file that is read once."""

    def asked(whose: str, start: str, end: str) -> Any:
        from_ms, to_ms = parse_timestamp(start), parse_timestamp(end)
        line = whose if whose == "line1" else None
        told = {device: machine_period(replayed.engine, device, from_ms, to_ms) for device in (DEVICES if line else [whose])}
        document = period_document(replayed.engine.plan, told, from_ms, to_ms, line=line)
        return json.loads(msgspec.json.encode(in_full(document, told, replayed.engine.plan.machines)))

    return asked


@pytest.mark.long
@pytest.mark.parametrize("whose", ["CNC-01", "line1"])
@pytest.mark.parametrize("kind", ["hour", "shift", "day", "week"])
def test_a_period_that_is_a_window_has_its_figures(replayed: OeeReplay, ask: Ask, whose: str, kind: str) -> None:
    device = None if whose == "line1" else whose
    told = [json.loads(encode(each)) for each in replayed.documents()]
    window = [each for each in told if each["window"]["kind"] == kind and each.get("device_id") == device and each["final"]][-1]
    figures = ask(whose, window["window"]["start"], window["window"]["end"])["figures"]
    leave_out = {"window", "teep", "oee_end"}
    assert {k: v for k, v in figures.items() if k not in leave_out} == {k: v for k, v in window.items() if k not in leave_out}
    assert figures["window"]["kind"] == "period"


@pytest.mark.long
def test_periods_add_up_wherever_they_are_cut(ask: Ask) -> None:
    """P5, with stops and losses: any cut of nine hours around the end of a day."""
    hours = ("02T17:00:00.000", "02T20:03:17.123", "02T21:59:59.999", "03T06:10:00.000", "03T09:00:00.000")
    times = [f"2025-10-{hour}Z" for hour in hours]
    whole = ask("CNC-02", times[0], times[-1])
    parts = [ask("CNC-02", a, b) for a, b in pairwise(times)]
    for key in ("ms", "parts", "stops"):
        assert {k: sum(part["figures"][key][k] for part in parts) for k in whole["figures"][key]} == whole["figures"][key]
    assert abs(sum(part["figures"]["good_ms"] for part in parts) - whole["figures"]["good_ms"]) <= len(parts)
    assert sum(g["count"] for part in parts for g in part["stops"]) == sum(g["count"] for g in whole["stops"])
    assert sum(g["ms"] for part in parts for g in part["stops"]) == sum(g["ms"] for g in whole["stops"])


@pytest.mark.long
def test_the_command_answers_in_full_and_draws(
    plant: Path, events: Path, ask: Ask, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path, times = tmp_path / "week.svg", ("2025-09-29T06:00:00Z", "2025-10-06T06:00:00Z")
    where = ["--config", str(plant), "--file", str(events), "--line", "line1", "--from", times[0], "--to", times[1]]
    assert main(["period", *where, "--svg", str(path)]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole == ask("line1", *times)
    texts = [element.text for element in ElementTree.fromstring(path.read_text()).iter("{http://www.w3.org/2000/svg}text")]
    names = {step["name"].replace("_", " "): step["ms"] for step in whole["waterfall"] if step["ms"] or not step["is_loss"]}
    assert [text for text in texts if text in names] == list(names)
    assert f"{whole['figures']['good_ms'] / 3_600_000:.2f} h" in texts
    assert {each["device_id"] for each in whole["longest_stops"]} == set(DEVICES)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--device", "CNC-09", "--from", "2025-10-01T00:00:00Z", "--to", "2025-10-02T00:00:00Z"], "there are: CNC-01, CNC-02"),
        (["--line", "line9", "--from", "2025-10-01T00:00:00Z", "--to", "2025-10-02T00:00:00Z"], "there are: line1"),
        (["--line", "line1", "--from", "2025-10-03T00:00:00Z", "--to", "2025-10-02T00:00:00Z"], "is not before --to"),
    ],
)
def test_a_mistake_is_answered_in_words(plant: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert main(["period", "--config", str(plant), "--file", str(plant / "days.jsonl"), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_the_best_cycle_is_one_that_is_kept_up(make_machine: Callable[..., Machine]) -> None:
    """A machine of 4 s a part that runs at 5 s most of the time, read each second: the reading's second is no pace of its own."""
    samples, count, part_s = [], 0.0, 5.0
    for second in range(8 * 3600):
        part_s = 4.0 if second % 3600 < 600 else 5.0
        count += 1 / part_s
        state = 2.0 if second % 1800 > 1700 else 1.0
        samples.append(Sample(second * 1000, state, int(count) % 65536))
    best_s = cycles_of(make_machine(), samples).best_s
    assert best_s is not None
    assert 3.9 <= best_s <= 4.1
    machine = make_machine()
    ran_ms = sum(1000 for sample in samples if sample.state == 1.0)
    made = sum(1 for one, other in pairwise(samples) if other.total != one.total and one.state == 1.0)
    sums = Sums(ms={**Sums().ms, Leaf.RUN: ran_ms}, matched=made, counted=True)
    loss = speed_loss(machine, cycles_of(machine, samples), sums)
    assert loss is not None
    assert (loss.run_ms, loss.parts, loss.lost_ms) == (ran_ms, made, ran_ms - made * round(best_s * 1000))
    assert 0.14 <= loss.lost_ms / ran_ms <= 0.19, "five sixths of its time it makes a part in 5 s that it can make in 4"
    assert speed_loss(machine, cycles_of(machine, samples[:600]), sums) is None
    assert cycles_of(make_machine(), samples[:600]).best_s is None, "a dozen rows of parts tell too little"
    jumps = [Sample(n * 1000, 1.0, n * 60) for n in range(3600)]
    assert cycles_of(make_machine(), jumps).best_s is None, "no machine makes sixty parts a second"


def test_a_stop_of_a_period_has_the_reason_that_its_state_tells(capsys: pytest.CaptureFixture[str]) -> None:
    case = Path(__file__).parents[1] / "cases" / "oee" / "a-state-tells-why-until-somebody-says-otherwise"
    asked = ["--device", "CNC-01", "--from", "2025-10-15T06:00:00Z", "--to", "2025-10-15T08:00:00Z"]
    assert main(["period", "--config", str(case), "--file", str(case / "events.jsonl"), *asked]) == 0
    stops = json.loads(capsys.readouterr().out)["stops"]
    assert {(each["leaf"], each["reason"]) for each in stops} == {
        ("planned_stop", "cleaning"),
        ("unplanned_stop", "jam"),
        ("unscheduled", "power"),
    }
