"""The writer against a database that follows InfluxDB's rules, on a real disk, with a clock that moves when told."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from millrace_contract.errors import Unavailable
from millrace_contract.language.messages import Status, encode
from millrace_contract.plant import PlantModel, load_plant
from millrace_contract.runtime.database_restart import RestartRequest
from millrace_contract.runtime.health import Heartbeats
from millrace_contract.runtime.influx import BadLines, Failing, PartialWrite, Refused
from millrace_contract.runtime.mqtt.session import Received
from millrace_contract.testing import ManualClock
from millrace_ingest.backoff import Backoff
from millrace_ingest.confirmations import Confirmation
from millrace_ingest.database_state import DatabaseState
from millrace_ingest.dead_letters import Selection
from millrace_ingest.decoder import Decoder
from millrace_ingest.local_store import DiskLimits, open_local_store
from millrace_ingest.outcomes import Arrival
from millrace_ingest.storage import Storage
from millrace_ingest.voices import SAID_S
from millrace_ingest.writer import Writer

Message = Callable[..., bytes]


class ScriptedDatabase:
    """Keeps lines by bucket. `trouble` is raised instead while it is set, each of `hiccups` once.

    Temperatures of 13 conflict, those of 14 can't be read, and at those of 15 the database fails.
    """

    def __init__(self) -> None:
        self.lines: dict[str, list[bytes]] = {"telemetry": [], "production": []}
        self.trouble: Exception | None = None
        self.hiccups: list[Exception] = []
        self.requests = 0

    def write(self, bucket: str, body: bytes) -> None:
        self.requests += 1
        if self.hiccups:
            raise self.hiccups.pop()
        if self.trouble is not None:
            raise self.trouble
        lines = body.split(b"\n")
        if any(b"temperature=15.0" in line for line in lines):
            raise Failing("internal error")
        if any(b"temperature=14.0" in line for line in lines):
            raise BadLines("unable to parse")
        good = [line for line in lines if b"temperature=13.0" not in line]
        self.lines[bucket] += good
        if len(good) < len(lines):
            raise PartialWrite("field type conflict", len(lines) - len(good))

    def seqs(self) -> list[int]:
        lines = [line for line in self.lines["telemetry"] if b"_seq=" in line]
        return sorted(int(line.split(b"_seq=")[1].split(b",")[0].split(b" ")[0]) for line in lines)


class Bench:
    """A writer with everything around it, and what it did."""

    def __init__(self, folder: Path, plant: PlantModel, limits: DiskLimits) -> None:
        self.clock = ManualClock()
        self.database = ScriptedDatabase()
        self.decoder = Decoder(plant)
        self.local, _ = open_local_store(folder, limits, self.clock.now_ms())
        self.confirmed: list[Confirmation] = []
        self.acknowledged: list[int] = []
        self.reports: list[bool] = []
        self.heartbeats = Heartbeats(self.clock)
        self.arrived = 0
        storage = Storage(self.database, self.clock, patience_s=3.0, wait=self.clock.advance, beat=lambda: None)
        self.writer = Writer(
            storage,
            self.local,
            DatabaseState(Backoff(random.Random(1))),
            self.clock,
            service="ingest",
            instance="1",
            confirm=self.confirmed.append,
            acknowledge=lambda messages: self.acknowledged.extend(one.mid for one in messages if one.qos),
            status_changed=lambda: self.reports.append(self.writer.database.taking),
            decoder=lambda: self.decoder,
            heartbeats=self.heartbeats,
            restart=RestartRequest(folder, "ingest-1", self.clock),
        )

    def arrive(self, body: bytes, device: str = "D-0", topic: str | None = None) -> Arrival:
        topic = topic or f"plant/line1/{device}/telemetry"
        number, self.arrived = self.arrived, self.arrived + 1
        now_ms = self.clock.now_ms()
        message = Received(topic, body, retained=False, qos=1, mid=number, generation=1)
        return Arrival(message, now_ms, self.decoder.decode(topic, body, now_ms))

    def confirmed_seqs(self) -> list[int]:
        return sorted(seq for one in self.confirmed for first, last in one.seqs for seq in range(first, last + 1))

    def letters(self) -> list[tuple[str | None, str]]:
        return sorted((one.device, one.code) for one in self.local.dead_letters.select(Selection(), 100_000))

    def ledger(self) -> list[tuple[str, int]]:
        return [(loss.cause, loss.count) for _, loss in self.local.losses.entries(100)]


@pytest.fixture
def bench(tmp_path: Path, plant: PlantModel) -> Iterator[Bench]:
    made = Bench(tmp_path / "data", plant, DiskLimits(10**8, 10**8))
    yield made
    made.local.close()


def test_stored_messages_are_confirmed_and_acknowledged_in_order(bench: Bench, message: Message) -> None:
    bench.writer.turn([bench.arrive(message(seq=seq)) for seq in (3, 4, 6)])
    assert bench.database.seqs() == [3, 4, 6]
    assert bench.confirmed == [Confirmation("edge-1", "edge-1.aa", [(3, 4), (6, 6)])]
    assert bench.acknowledged == [0, 1, 2]
    assert bench.reports == [True]


def test_the_sender_is_told_before_the_broker_and_after_the_database(tmp_path: Path, plant: PlantModel, message: Message) -> None:
    bench = Bench(tmp_path / "order", plant, DiskLimits(10**8, 10**8))
    steps: list[str] = []
    bench.writer._confirm = lambda _: steps.append(f"confirmed with {len(bench.database.lines['telemetry'])} lines")
    bench.writer._acknowledge = lambda messages: steps.extend("acknowledged" for _ in messages)
    bench.writer.turn([bench.arrive(message(seq=1))])
    assert steps == ["confirmed with 2 lines", "acknowledged"]  # one line is the first probe's


def test_a_dead_letter_is_kept_confirmed_and_costs_its_neighbours_nothing(bench: Bench, message: Message) -> None:
    bodies = [message(seq=1), message(seq=2, timestamp_ms=bench.clock.now_ms() + 61_000), b"hello", message(seq=4)]
    bench.writer.turn([bench.arrive(body) for body in bodies])
    assert bench.database.seqs() == [1, 4]
    assert bench.letters() == [("D-0", "future"), ("D-0", "not_json")]
    assert bench.confirmed_seqs() == [1, 2, 4]
    assert bench.acknowledged == [0, 1, 2, 3]


def test_lines_that_the_database_refuses_become_dead_letters(bench: Bench, message: Message) -> None:
    temperatures = [1.0, 13.0, 2.0, 14.0, 3.0]
    bench.writer.turn([bench.arrive(message(seq=seq, temperature=value)) for seq, value in enumerate(temperatures)])
    assert bench.database.seqs().count(0) >= 1
    assert set(bench.database.seqs()) == {0, 2, 4}
    assert bench.letters() == [("D-0", "conflict"), ("D-0", "refused_line")]
    assert bench.confirmed_seqs() == [0, 1, 2, 3, 4]


def test_a_device_under_suspicion_no_longer_slows_the_others(bench: Bench, message: Message) -> None:
    def batch() -> list[Arrival]:
        good = [bench.arrive(message("D-1", seq=seq), "D-1") for seq in range(1_000)]
        return [*good, bench.arrive(message("D-2", seq=5_000, temperature=14.0), "D-2")]

    bench.writer.turn(batch())
    before = bench.database.requests
    bench.writer.turn(batch())
    assert bench.database.requests - before == 2  # the good ones in one body, the suspect in another


def test_while_the_database_is_away_what_an_outbox_holds_is_forgotten_and_the_rest_is_spooled(
    bench: Bench, message: Message
) -> None:
    bench.writer.turn([])
    bench.database.trouble = Unavailable("no route")
    bench.writer.turn([bench.arrive(message(seq=1)), bench.arrive(message("S-1", seq=None), "S-1"), bench.arrive(b"rubbish")])
    assert bench.reports == [True, False]
    assert bench.confirmed == []
    assert bench.acknowledged == [0, 1, 2]
    assert bench.local.spool.count == 1
    assert bench.letters() == [("D-0", "not_json")]
    assert "no route" in bench.writer.problems[0]

    bench.database.trouble = None
    bench.clock.advance(10)
    bench.writer.turn([bench.arrive(message(seq=2))])
    assert bench.reports == [True, False, True]
    assert bench.local.spool.count == 0
    assert any(b"device=S-1" in line for line in bench.database.lines["telemetry"])
    assert bench.database.seqs() == [2]
    assert bench.writer.problems == []


def test_ten_minutes_away_need_no_memory_and_no_disk(bench: Bench, message: Message) -> None:
    bench.writer.turn([])
    bench.database.trouble = Unavailable("away")
    for second in range(600):
        bench.clock.advance(1)
        bench.writer.turn([bench.arrive(message(seq=second, timestamp_ms=bench.clock.now_ms()))])
    assert bench.local.spool.count == 0
    assert bench.acknowledged == list(range(600))
    assert bench.database.requests < 350  # small probes, at most about one in three seconds


def test_a_short_hiccup_is_waited_out(bench: Bench, message: Message) -> None:
    bench.writer.turn([])
    bench.database.hiccups = [Unavailable("busy", 0.5), Unavailable("busy")]
    bench.writer.turn([bench.arrive(message(seq=1))])
    assert bench.database.seqs() == [1]
    assert bench.confirmed_seqs() == [1]
    assert bench.reports == [True]


def test_a_wrong_token_keeps_everything_and_says_so(bench: Bench, message: Message) -> None:
    bench.database.trouble = Refused("InfluxDB answers 401: unauthorized")
    bench.writer.turn([bench.arrive(message(seq=1)), bench.arrive(message("S-1", seq=None), "S-1")])
    assert bench.letters() == []
    assert bench.confirmed == []
    assert bench.local.spool.count == 1
    assert bench.writer.problems == ["the database takes no data: InfluxDB answers 401: unauthorized"]


def test_a_token_that_is_refused_for_a_minute_is_unhealthy_and_a_database_that_is_away_for_a_day_is_not(bench: Bench) -> None:
    bench.database.trouble = Refused("InfluxDB answers 401: unauthorized")
    for _ in range(13):
        bench.writer.turn([])
        bench.clock.advance(5)
    assert list(bench.heartbeats.failing()) == ["store"]
    assert "401: unauthorized" in bench.heartbeats.failing()["store"]
    bench.database.trouble = Unavailable("InfluxDB does not answer")
    for _ in range(24):
        bench.writer.turn([])
        bench.clock.advance(3600)
        assert not bench.heartbeats.failing()


def test_a_weekend_without_messages_is_healthy(bench: Bench) -> None:
    bench.writer.turn([])
    bench.clock.advance(60 * 3600)
    bench.writer.turn([])
    assert not bench.heartbeats.failing()


def test_messages_that_cannot_be_stored_for_a_minute_are_a_fault_of_our_own(bench: Bench, message: Message) -> None:
    for second in range(63):
        bench.writer.turn(
            [bench.arrive(b'{"timestamp": 1, "stream": "edge-1.a", "seq": %d}' % (100 * second + n)) for n in range(100)]
        )
        bench.clock.advance(1)
    assert "not storable" in bench.heartbeats.failing()["decode"]


def test_a_full_spool_is_told_in_the_ledger_of_the_database(tmp_path: Path, plant: PlantModel, message: Message) -> None:
    bench = Bench(tmp_path / "small", plant, DiskLimits(10**8, 20_000))
    bench.database.trouble = Unavailable("away")
    for number in range(200):
        bench.writer.turn([bench.arrive(message("S-1", seq=None, timestamp_ms=bench.clock.now_ms() - number), "S-1")])
    spooled = bench.local.spool.count
    assert 0 < spooled < 200
    assert bench.ledger() == [("spool_full", 200 - spooled)]
    bench.database.trouble = None
    bench.clock.advance(10)
    bench.writer.turn([])
    [entry] = [line for line in bench.database.lines["production"] if line.startswith(b"ledger,")]
    assert b"cause=spool_full" in entry
    assert f"count={float(200 - spooled)}".encode() in entry
    assert bench.ledger() == []
    assert sum(b"device=S-1" in line for line in bench.database.lines["telemetry"]) == spooled


def test_the_fuse_stops_parking_what_an_outbox_holds_and_the_good_goes_on(bench: Bench, message: Message) -> None:
    def batch(bad: int, good: int) -> list[Arrival]:
        late = [bench.arrive(message(seq=seq, temperature=13.0)) for seq in range(bad)]
        return [*late, *[bench.arrive(message("D-1", seq=10_000 + seq), "D-1") for seq in range(good)]]

    bench.writer.turn(batch(300, 100))
    assert bench.local.dead_letters.count == 0
    assert bench.confirmed_seqs() == list(range(10_000, 10_100))
    assert len(bench.acknowledged) == 400
    assert "75% of the gateways' messages" in bench.writer.problems[0]
    bench.writer.turn([bench.arrive(b"a stranger's rubbish", "S-1")])
    assert bench.letters() == [("S-1", "not_json")]  # nobody else holds it

    bench.clock.advance(61)
    bench.writer.turn(batch(0, 300))
    assert bench.writer.problems == []
    bench.writer.turn(batch(3, 0))
    assert bench.local.dead_letters.count == 4


def test_a_full_disk_confirms_nothing_and_the_ledger_tells_what_nobody_held(bench: Bench, message: Message) -> None:
    disk = bench.local._disk
    [(pages,)] = disk.execute("PRAGMA page_count")
    disk.execute(f"PRAGMA max_page_count = {pages}")
    future = bench.clock.now_ms() + 100_000
    bodies = [message(seq=1, timestamp_ms=future), b"x" * 20_000, message(seq=3)]
    bench.writer.turn([bench.arrive(body) for body in bodies])
    assert bench.confirmed_seqs() == [3]
    assert "disk" in bench.writer.problems[0]
    disk.execute("PRAGMA max_page_count = 1000000")
    bench.clock.advance(10)
    bench.writer.turn([])
    assert any(b"cause=disk_refused" in line and b"count=1.0" in line for line in bench.database.lines["production"])
    assert bench.writer.problems == []


def test_replayed_letters_are_stored_after_the_cause_is_mended(
    tmp_path: Path, write_plant: Callable[..., Path], message: Message
) -> None:
    parking = load_plant(write_plant(tmp_path / "parking", undeclared="park"))
    bench = Bench(tmp_path / "data", parking, DiskLimits(10**8, 10**8))
    bench.writer.turn([bench.arrive(message("S-1", seq=None), "S-1"), bench.arrive(b"rubbish", "S-1")])
    assert bench.letters() == [("S-1", "not_json"), ("S-1", "undeclared")]

    bench.decoder = Decoder(load_plant(write_plant(tmp_path / "storing", undeclared="store")))
    bench.local.dead_letters.request_replay(Selection(device="S-1"), bench.clock.now_ms())
    bench.clock.advance(2)
    bench.writer.turn([])
    assert any(b"device=S-1" in line for line in bench.database.lines["telemetry"])
    [left] = bench.local.dead_letters.select(Selection(), 10)
    assert (left.code, left.attempts, left.replay_ms) == ("not_json", 1, None)


def test_a_replay_waits_for_the_database(bench: Bench, message: Message) -> None:
    bench.writer.turn([bench.arrive(message(seq=1, timestamp_ms=bench.clock.now_ms() + 100_000))])
    bench.database.trouble = Unavailable("away")
    bench.clock.advance(200)
    bench.writer.turn([bench.arrive(message(seq=2))])
    bench.local.dead_letters.request_replay(Selection(), bench.clock.now_ms())
    bench.writer.turn([])
    assert bench.local.dead_letters.count == 1
    bench.database.trouble = None
    bench.clock.advance(10)
    bench.writer.turn([])
    assert bench.local.dead_letters.count == 0
    assert bench.database.seqs() == [1]


def test_refused_devices_are_counted_in_the_ledger(tmp_path: Path, write_plant: Callable[..., Path], message: Message) -> None:
    plant = load_plant(write_plant(tmp_path / "config", undeclared="refuse"))
    bench = Bench(tmp_path / "data", plant, DiskLimits(10**8, 10**8))
    bench.writer.turn([bench.arrive(message("S-1", seq=None), "S-1") for _ in range(3)])
    assert not any(b"S-1" in line for line in bench.database.lines["telemetry"])
    assert any(b"cause=undeclared_refused" in line for line in bench.database.lines["production"])
    assert bench.acknowledged == [0, 1, 2]


def test_gaps_repeats_and_conflicts_are_counted(bench: Bench, message: Message) -> None:
    sent = [(1, None, 1.0), (2, 1, 2.0), (4, 3, 4.0), (2, 1, 2.0), (4, 3, 5.0), (3, 2, 3.0)]
    bench.writer.turn([bench.arrive(message(seq=seq, prev=prev, temperature=value)) for seq, prev, value in sent])
    steps = bench.writer.figures.steps
    assert (steps["gap"], steps["repeat"], steps["conflict"], steps["late"]) == (1, 1, 1, 1)
    assert bench.writer.continuity.sequences.open_gaps == 0


def test_status_of_services_is_platform_health(bench: Bench) -> None:
    body = encode(Status(service="oee", instance="1", alive=True, timestamp="2025-10-09T08:53:20Z", figures={"windows": 3}))
    bench.writer.turn([bench.arrive(body, topic="plant/_platform/oee/1/status")])
    assert any(line.startswith(b"platform,service=oee,instance=1 alive=1.0") for line in bench.database.lines["production"])


def test_a_line_at_which_the_database_always_fails_is_isolated(bench: Bench, message: Message) -> None:
    temperatures = {17: 15.0, 40: 14.0}
    arrivals = [bench.arrive(message(seq=seq, device=f"D-{seq % 20}", temperature=temperatures.get(seq, 20.0)), f"D-{seq % 20}")
                for seq in range(1, 101)]  # fmt: skip
    bench.writer.turn(arrivals)
    assert bench.writer.database.taking
    assert bench.database.seqs() == [seq for seq in range(1, 101) if seq not in temperatures]
    assert bench.letters() == [("D-0", "refused_line"), ("D-17", "server_error")]
    assert bench.confirmed_seqs() == list(range(1, 101))
    # For a while its topic is written apart: neither patience nor neighbours are spent on it again.
    before_s, requests = bench.clock.monotonic_s(), bench.database.requests
    bench.writer.turn(
        [
            bench.arrive(message(seq=101, device="D-17", temperature=15.0), "D-17"),
            bench.arrive(message(seq=102, device="D-1"), "D-1"),
        ]
    )
    assert bench.clock.monotonic_s() == before_s
    assert bench.database.requests - requests < 10
    assert 102 in bench.database.seqs()


def test_a_database_that_fails_at_everything_is_no_fault_of_a_line(bench: Bench, message: Message) -> None:
    bench.writer.turn([bench.arrive(message(seq=1))])
    bench.database.trouble = Failing("internal error")
    bench.writer.turn([bench.arrive(message(seq=seq)) for seq in range(2, 50)])
    assert not bench.writer.database.taking
    assert bench.letters() == []
    assert bench.confirmed_seqs() == [1]


def test_a_message_again_with_other_values_is_a_conflict_for_ten_minutes(bench: Bench, message: Message) -> None:
    now_ms = bench.clock.now_ms()
    for device, seq in (("D-0", 7), ("S-1", None)):
        first, other = (message(device, timestamp_ms=now_ms, seq=seq, temperature=value) for value in (20.0, 21.0))
        bench.writer.turn([bench.arrive(first, device)])
        conflicts, repeats = bench.writer.figures.steps["conflict"], bench.writer.figures.steps["repeat"]
        bench.writer.turn([bench.arrive(first, device)])
        assert bench.writer.figures.steps["repeat"] == repeats + 1
        bench.clock.advance(590)
        bench.writer.turn([bench.arrive(other, device)])
        assert bench.writer.figures.steps["conflict"] == conflicts + 1


@pytest.mark.parametrize("seq", [7, None])
def test_another_voice_is_parked_counted_and_told_and_nobody_is_told_that_it_is_safe(
    bench: Bench, message: Message, seq: int | None
) -> None:
    now_ms = bench.clock.now_ms()
    bench.writer.turn([bench.arrive(message(timestamp_ms=now_ms, stream="edge-2.aa", seq=seq)) for _ in range(2)])
    [letter] = bench.local.dead_letters.select(Selection(), 10)
    assert (letter.code, letter.device, letter.stream, letter.times) == ("foreign", "D-0", None, 2)
    assert bench.confirmed == []
    [problem] = bench.writer.problems
    assert problem.startswith("something publishes as D-0 that may not: it")
    summary = bench.writer.figures.summary(bench.clock.monotonic_s())
    assert (summary["foreign"], summary["foreign_devices"], summary["stored"]) == (2, 1, 0)
    bench.clock.advance(SAID_S + 1)
    assert bench.writer.problems == []


def test_how_late_each_device_is_goes_to_the_database_and_a_wrong_clock_is_said(bench: Bench, message: Message) -> None:
    now_ms = bench.clock.now_ms()
    bench.writer.turn(
        [
            bench.arrive(message(seq=1, timestamp_ms=now_ms + 50_000)),
            bench.arrive(message("S-1", timestamp_ms=now_ms - 100, seq=None), "S-1"),
        ]
    )
    bench.clock.advance(30)
    bench.writer.turn([])
    found = [line.rsplit(b" ", 1)[0] for line in bench.database.lines["telemetry"] if line.startswith(b"device_lag")]
    assert found == [
        b"device_lag,line=line1,device=D-0,sender=edge-1 lag_ms=-50000.0,lag_min_ms=-50000.0,lag_max_ms=-50000.0,messages=1.0",
        b"device_lag,line=line1,device=S-1,sender=undeclared lag_ms=100.0,lag_min_ms=100.0,lag_max_ms=100.0,messages=1.0",
    ]
    assert bench.writer.problems == [
        "gateway edge-1 dates its readings 50.0 s ahead of this server's clock: one of the two is wrong"
    ]
    assert any(note.startswith("undeclared publisher line1/S-1") for note in bench.writer.notes)
