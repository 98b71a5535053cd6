"""A disk that refuses: nothing of the transaction is kept, in the file or in memory, and the same work done again fits."""

from collections.abc import Callable
from pathlib import Path

import pytest

from millrace_contract.language.messages import encode
from millrace_contract.language.telemetry import Telemetry
from millrace_contract.language.times import parse_timestamp
from millrace_contract.store_forward.sqlite import DiskRefused, transaction
from millrace_contract.store_forward.store_file import open_store
from millrace_oee.chains import LOOKS_FOR_OTHERS
from millrace_oee.engine import Engine
from millrace_oee.plan import Plan, load_plan
from millrace_oee.results import Results
from millrace_oee.store import OEE_STORE, Store, connect_in_memory

START_MS = parse_timestamp("2025-10-15T06:00:00Z")
BATCHES = [range(start, start + 600) for start in range(0, 7800, 600)]


def _apply(plan: Plan, engine: Engine, seconds: range) -> None:
    """Ten minutes of a machine that makes a part a second, stops now and then, and misses a message that never comes."""
    for second in seconds:
        if second == 1000:
            continue
        state = 2.0 if second % 700 < 100 else 1.0
        message = Telemetry(
            timestamp_ms=START_MS + second * 1000,
            readings={"run_status": state, "cycle_count": float(second), "defect_count": 0.0},
            quality={},
            tags={},
            stream="edge-1.a",
            seq=second,
            prev=second - 1,
        )
        engine.accept("CNC-01", message, message.timestamp_ms)
    track = engine.tracks["CNC-01"]
    now_ms = START_MS + seconds[-1] * 1000
    engine.evaluate("CNC-01", as_of_ms=track.as_of_ms(now_ms), ended_ms=track.ended_ms(now_ms))
    engine.save()


@pytest.mark.long
def test_rolled_back_work_done_again_gives_the_same_results(plant_folder: Callable[..., Path], tmp_path: Path) -> None:
    plan = load_plan(plant_folder())
    calm = connect_in_memory()
    results = Results(calm, lambda _topic, _message: None)
    engine = Engine(plan, Store(calm), results)
    for seconds in BATCHES:
        _apply(plan, engine, seconds)

    connection = open_store(OEE_STORE, tmp_path / "oee.db", START_MS).connection
    with transaction(connection):
        refused_results = Results(connection, lambda _topic, _message: None)
        refused = Engine(plan, Store(connection), refused_results)
    count = 0
    for seconds in BATCHES:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        try:
            with transaction(connection):
                _apply(plan, refused, seconds)
        except DiskRefused:
            count += 1
            refused.reload()
            connection.execute("PRAGMA max_page_count = 100000")
            with transaction(connection):
                _apply(plan, refused, seconds)
        connection.execute("PRAGMA max_page_count = 100000")
    assert count > 3
    assert [encode(d) for d in refused_results.windows()] == [encode(d) for d in results.windows()]
    assert refused.gaps() == engine.gaps()
    assert len(engine.gaps()) == 1
    known = refused.tracks["CNC-01"].known
    assert known is not None
    assert known == engine.tracks["CNC-01"].known


def test_gap_in_the_stream_of_a_gateway_that_no_longer_reads_the_machine_ends_after_a_few_looks(
    plant_folder: Callable[..., Path],
) -> None:
    connection = connect_in_memory()
    results = Results(connection, lambda _topic, _message: None)
    engine = Engine(load_plan(plant_folder()), Store(connection), results)
    _apply(engine.plan, engine, range(990, 1010))
    [gap] = engine.gaps()
    engine.looked_for(gap, 1)
    assert engine.gaps() == [gap], "its gateway may still send it"
    folder = plant_folder()
    plant = (folder / "plant.yaml").read_text()
    (folder / "plant.yaml").write_text(plant.replace("micro_stop_s:", "gateway: edge-2\n        micro_stop_s:"))
    moved = Engine(load_plan(folder), Store(connection), results)
    [gap] = moved.gaps()
    moved.looked_for(gap, LOOKS_FOR_OTHERS - 1)
    assert moved.gaps() == [gap], "the database may still be told"
    moved.looked_for(gap, LOOKS_FOR_OTHERS)
    assert moved.gaps() == []
    assert Engine(load_plan(folder), Store(connection), results).gaps() == []
