"""How machines tell their state: what each source means, what is refused, and a machine that only counts (oee.md A6, A8)."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_contract.errors import ConfigurationProblems
from millrace_contract.language.words import MachineState
from millrace_contract.plant import load_plant
from millrace_contract.plant.machine_states import PACKML_NUMBERS, Band, StateSource
from millrace_oee.cycles import CycleTimeline
from millrace_oee.machine import UNREACHABLE_STATE
from millrace_oee.master_data import remembered
from millrace_oee.plan import load_plan
from millrace_oee.samples import Sample
from millrace_oee.store import HOUR_MS, Store, connect_in_memory
from millrace_oee.windows import add, sums_of

Make = Callable[..., Any]
NOW_MS = 1_760_000_000_000
BAND = Band(above=4, below=3)
COUNTS = {
    "state_signal": "",
    "states": {},
    "stop_after": 3.0,
    "ideal_ns": 10_000_000_000,
    "micro_ms": 60_000,
}


def runs_of(*readings: tuple[int, int], until_s: int) -> list[tuple[int, int, str]]:
    """(start, end, state) in seconds of a machine of 10 s a part; its counter is read so: (second, parts since the last time)."""
    timeline = CycleTimeline(5_000, 10_000, 30_000)
    for second, parts in readings:
        timeline.counted(second * 1000, parts)
    found = timeline.runs(0, until_s * 1000, until_s * 1000)
    return [(run.start_ms // 1000, run.end_ms // 1000, run.state.value) for run in found]


def watched(from_s: int, to_s: int) -> list[tuple[int, int]]:
    """Readings each 5 s in which nothing was made."""
    return [(second, 0) for second in range(from_s, to_s + 1, 5)]


def test_a_part_within_the_limit_is_pace_and_beyond_it_the_machine_stood_from_one_cycle_after_the_last() -> None:
    slow = [(0, 0), (5, 1), *watched(10, 30), (35, 1), *watched(40, 60)]
    assert runs_of(*slow, until_s=60) == [(0, 5, "unknown"), (5, 60, "execute")]
    stood = [(0, 0), (5, 1), *watched(10, 65), (70, 1)]
    assert runs_of(*stood, until_s=74) == [(0, 5, "unknown"), (5, 15, "execute"), (15, 70, "stopped"), (70, 74, "execute")]


def test_that_it_stands_shows_once_the_limit_is_over_and_then_since_one_cycle_after_the_last_part() -> None:
    readings = [(0, 0), (5, 1), *watched(10, 35)]
    assert runs_of(*readings, until_s=35) == [(0, 5, "unknown"), (5, 35, "execute")]
    assert runs_of(*readings, (40, 0), until_s=40) == [(0, 5, "unknown"), (5, 15, "execute"), (15, 40, "stopped")]


def test_several_parts_between_two_readings_took_several_cycles() -> None:
    assert runs_of((0, 0), (5, 1), *watched(10, 100), (104, 4), until_s=104) == [
        (0, 5, "unknown"),
        (5, 15, "execute"),
        (15, 74, "stopped"),
        (74, 104, "execute"),
    ]
    seldom = CycleTimeline(400_000, 10_000, 30_000)
    for second, parts in ((0, 0), (300, 30), (600, 30), (900, 10)):
        seldom.counted(second * 1000, parts)
    assert [(run.start_ms, run.state) for run in seldom.runs(0, 900_000, 900_000)] == [
        (0, MachineState.UNKNOWN),
        (10_000, MachineState.EXECUTE),
    ], "thirty parts took thirty cycles, and ten parts in five minutes are each within three"


def test_silence_is_unknown_and_what_follows_begins_with_what_is_seen() -> None:
    assert runs_of((0, 0), (5, 1), (100, 3), until_s=104) == [
        (0, 5, "unknown"),
        (5, 10, "execute"),
        (10, 100, "unknown"),
        (100, 104, "execute"),
    ]
    assert runs_of((0, 0), (5, 1), (100, 0), (104, 0), until_s=104) == [
        (0, 5, "unknown"),
        (5, 10, "execute"),
        (10, 100, "unknown"),
        (100, 104, "stopped"),
    ]


def test_a_machine_of_which_no_part_was_seen_stands_once_it_should_have_made_one() -> None:
    assert runs_of(*watched(0, 60), until_s=60) == [(0, 35, "unknown"), (35, 60, "stopped")]


def test_a_machine_that_only_counts_and_does_not_answer_is_not_answering(make_machine: Make, make_history: Make) -> None:
    samples = [Sample(0, None, 0), Sample(5_000, None, 1), Sample(8_000, UNREACHABLE_STATE), Sample(100_000, None, 1)]
    history = make_history(samples, make_machine(**COUNTS))
    assert [(run.start_ms, run.state.value) for run in history.timeline.runs(0, 104_000, 104_000)] == [
        (0, "unknown"),
        (5_000, "execute"),
        (8_000, "unreachable"),
        (100_000, "stopped"),
    ]


moves = st.tuples(st.sampled_from([1, 5, 5, 5, 10, 40, 100]), st.sampled_from([0, 0, 0, 1, 1, 2, 9]), st.booleans())


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(moves, min_size=2, max_size=40), cut=st.floats(0, 1))
def test_time_is_tiled_and_two_halves_are_the_whole(  # P1, P5
    make_machine: Make, make_history: Make, steps: list[Any], cut: float
) -> None:
    at_ms, total, samples = 1_760_000_400_000, 0, []
    for wait_s, parts, is_dark in steps:
        at_ms, total = at_ms + wait_s * 1000, total + parts
        samples.append(Sample(at_ms, UNREACHABLE_STATE) if is_dark and not parts else Sample(at_ms, None, total, None, 0))
    history = make_history(samples, make_machine(**COUNTS))
    start_ms = samples[0].ts_ms
    runs = history.timeline.runs(start_ms, at_ms, at_ms)
    assert all(a.end_ms == b.start_ms and a.told != b.told for a, b in pairwise(runs))
    whole, split_ms = sums_of(history, start_ms, at_ms, at_ms), start_ms + round((at_ms - start_ms) * cut)
    halves = add(sums_of(history, start_ms, split_ms, at_ms), sums_of(history, split_ms, at_ms, at_ms))
    assert (halves.ms, halves.total, halves.ideal_ns) == (whole.ms, whole.total, whole.ideal_ns)
    assert whole.all_ms == at_ms - start_ms


@pytest.mark.parametrize(
    ("source", "reading", "state"),
    [
        (StateSource("s", PACKML_NUMBERS["tr88"]), 6.0, "execute"),
        (StateSource("s", PACKML_NUMBERS["opc_30060"]), 6.0, "complete"),
        (StateSource("s", PACKML_NUMBERS["opc_30060"]), 0.0, "stopped"),
        (StateSource("s", PACKML_NUMBERS["tr88"]), 0.0, None),
        (StateSource("s", PACKML_NUMBERS["tr88"]), 6.5, None),
        (StateSource("s"), "EXECUTE", "execute"),
        (StateSource("s"), "Un-Suspending ", "unsuspending"),
        (StateSource("s"), "unknown", None),
        (StateSource("s"), "unreachable", None),
        (StateSource("s", texts={"AUTO": MachineState.EXECUTE}), "AUTO", "execute"),
        (StateSource("s", texts={"AUTO": MachineState.EXECUTE}), "auto", None),
        (StateSource("s", band=BAND), 4.1, "execute"),
        (StateSource("s", band=BAND), 4.0, None),
        (StateSource("s", band=BAND), 3.0, None),
        (StateSource("s", band=BAND), 2.9, "stopped"),
    ],
)
def test_what_a_reading_says(source: StateSource, reading: float | str, state: str | None) -> None:
    assert source.state_of(reading) == state


def test_a_quantity_between_its_limits_goes_on_as_it_was_however_long_ago(make_machine: Make, make_history: Make) -> None:
    machine = make_machine(states={}, band=BAND)
    history = make_history([Sample(1_000 * at, value) for at, value in enumerate([3.5, 5.0, 3.5, 2.0, 3.5, 4.5])], machine)
    states = [run.state.value for run in history.timeline.runs(0, 6_000, 6_000)]
    assert states == ["unknown", "execute", "stopped", "execute"]
    store = Store(connect_in_memory())
    for hour, value in ((0, 5.0), (1, 3.5), (2, 3.1), (5, 3.9)):
        store.append("M", Sample(hour * HOUR_MS, value))
    assert [store.was_running("M", hour * HOUR_MS, BAND) for hour in (0, 1, 6)] == [None, True, True]
    store.pack("M", 5 * HOUR_MS, limit=9)
    assert store.was_running("M", 6 * HOUR_MS, BAND)
    store.append("M", Sample(6 * HOUR_MS, 1.0))
    assert [store.was_running("M", hour * HOUR_MS, BAND) for hour in (6, 7)] == [True, False]
    store.keep_running("N", was_running=True)
    assert store.was_running("N", 1, BAND)


STATE = {"address": 10, "type": "uint16"}
TEXT = {"address": 20, "type": "string", "registers": 4}


@pytest.mark.parametrize(
    ("signal", "oee", "words"),
    [
        (STATE, {"state": "it"}, "needs the key values"),
        (STATE, {}, "of a machine that only counts, cycles: {}"),
        (STATE, {"packml": "tr88", "total": "n"}, "it needs the key state"),
        (STATE, {"cycles": {}}, "it needs total or good"),
        (STATE, {"state": "it", "packml": "tr88", "cycles": {}, "total": "n"}, "is for machines that only count"),
        (STATE, {"cycles": {}, "total": "n"}, "this device needs ideal_cycle_s"),
        (STATE, {"state": "it", "packml": "tr99"}, "'tr99' is not one of"),
        (STATE, {"state": "it", "packml": "tr88", "running": {"above": 4, "below": 3}}, "packml and running; one of them"),
        ({**STATE, "values": {1: "execute"}}, {"state": "it", "packml": "tr88"}, "packml and values; one of them"),
        (TEXT, {"state": "it", "packml": "tr88"}, "does not fit signal it, which is a text"),
        (STATE, {"state": "it", "texts": {"RUN": "execute"}}, "does not fit signal it, which is no text"),
        (TEXT, {"state": "it", "texts": {"RUN": "runing"}}, "'runing' is not one of"),
        (STATE, {"state": "it", "running": {"above": 3, "below": 4}}, "below 4 is more than above 3"),
        (STATE, {"state": "it", "packml": "tr88", "total": "n", "parts_per_count": 0}, "it must be 1 or more"),
        (STATE, {"state": "it", "packml": "tr88", "total": "n", "parts_per_count": {"all": 2}}, "'all'"),
    ],
)
def test_a_source_that_cannot_be_is_refused_in_words(
    tmp_path: Path, signal: dict[str, Any], oee: dict[str, Any], words: str
) -> None:
    counter = {"address": 30, "type": "uint16", "counter": {"modulus": 65536, "max_rate_per_s": 5}}
    write_plant(tmp_path, {"it": signal, "n": counter}, oee, {})
    with pytest.raises(ConfigurationProblems) as refused:
        load_plant(tmp_path, {})
    assert any(words in problem.message for problem in refused.value.problems), refused.value.problems


DOCS = (Path(__file__).parents[2] / "docs" / "write-a-profile.md").read_text()
SECTION = DOCS.partition("## How a machine tells its state")[2].partition("\n## ")[0]
EXAMPLES = re.findall(r"```yaml\n(.*?)```", SECTION, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_of_the_docs_are_good(tmp_path: Path, example: str) -> None:
    found = yaml.safe_load(example)
    counter = {"type": "uint16", "counter": {"modulus": 65536, "max_rate_per_s": 5}}
    found["signals"] |= {name: {**counter, "address": 100 + place} for place, name in enumerate(("strokes", "rejects"))}
    write_plant(tmp_path, found["signals"], found["oee"], {"ideal_cycle_s": 10})
    assert len(EXAMPLES) == 7
    machine = load_plan(tmp_path).machines["M-01"]
    assert machine.counters["total"].signal == "strokes"
    for _ in range(2):  # it is remembered beyond an edit of the files, too
        assert remembered(tmp_path, load_plan(tmp_path), NOW_MS).machines["M-01"] == machine
    assert machine.counts_cycles == ("cycles" in found["oee"])
    assert machine.counters["total"].parts_per_count == (4 if "parts_per_count" in found["oee"] else 1)


def write_plant(folder: Path, signals: dict[str, Any], oee: dict[str, Any], device: dict[str, Any]) -> None:
    (folder / "profiles").mkdir()
    profile = {"title": "M", "source": "t", "verified": "t", "groups": {"fast": {"interval_s": 1}}, "signals": signals, "oee": oee}
    device = {"profile": "m", "connection": {"host": "127.0.0.1"}, **device}
    plant = {"root": "factory", "time_zone": "UTC", "lines": {"line1": {"devices": {"M-01": device}}}}
    shift = {"start": "06:00", "end": "14:00", "days": ["mon"]}
    (folder / "profiles" / "m.yaml").write_text(yaml.safe_dump(profile))
    (folder / "plant.yaml").write_text(yaml.safe_dump(plant))
    (folder / "calendar.yaml").write_text(yaml.safe_dump({"shifts": {"early": shift}}))
