"""What the services write into the problems of their status, by their own code: doctor knows each, and says what mends it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from millrace_admin.doctor.complaints import Complaint, is_known, judged
from millrace_admin.doctor.evidence import Evidence
from millrace_alerts.api.tokens import ApiTokens
from millrace_contract.errors import Problem
from millrace_contract.language.messages import Status
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import Prognosis
from millrace_contract.plant import PlantModel, load_plant
from millrace_contract.runtime.database_restart import RestartRequest
from millrace_contract.runtime.disk_space import Room
from millrace_contract.runtime.health import FAILING_LIMIT_S, Heartbeats
from millrace_contract.runtime.influx import Influx, NoRoom
from millrace_contract.runtime.mqtt.paho_session import PahoSession
from millrace_contract.runtime.mqtt.refused_topics import RefusedTopics
from millrace_contract.runtime.mqtt.session import TAKEN_OVER, WRONG_ACCOUNT, Callbacks
from millrace_contract.runtime.settings import BrokerSettings, DatabaseSettings
from millrace_contract.store_forward.outbox_figures import OutboxFigures
from millrace_contract.store_forward.store_file import SetAside
from millrace_contract.testing import ManualClock
from millrace_gateway.fleet import select_fleet
from millrace_ingest.archive import Archive
from millrace_ingest.backoff import Backoff
from millrace_ingest.database_state import DatabaseState
from millrace_ingest.decoder import Decoder
from millrace_ingest.known_store import KnownStore, StoreSaid, compare
from millrace_ingest.lags import Lags
from millrace_ingest.local_store import DiskLimits, open_local_store
from millrace_ingest.storage import Storage
from millrace_ingest.twins import Twins
from millrace_ingest.voices import Voices
from millrace_ingest.writer import Writer
from millrace_oee.machine import unmapped_in_words
from millrace_oee.plan import load_plan

NOW_MS = 1_790_000_000_000
SAMPLE = Path(__file__).resolve().parents[2] / "config"


@dataclass
class Bench:
    """Where the parts that speak are put together."""

    folder: Path
    plant: PlantModel
    clock: ManualClock = field(default_factory=ManualClock)

    def session(self) -> PahoSession:
        """Never started."""
        return PahoSession(BrokerSettings(mqtt_username="oee-1"), "oee-1", Callbacks())

    def writer(self, problem: Exception | None = None) -> Writer:
        """Ingest's, before its first write, or after one that failed."""
        local, _ = open_local_store(self.folder, DiskLimits(spool_bytes=10**6, dead_letter_bytes=10**6), NOW_MS)
        writer = Writer(
            Storage(Nothing(), self.clock, patience_s=3.0, wait=self.clock.advance, beat=lambda: None),
            local,
            DatabaseState(Backoff(random.Random(1))),
            self.clock,
            service="ingest",
            instance="1",
            confirm=lambda _: None,
            acknowledge=lambda _: None,
            status_changed=lambda: None,
            decoder=lambda: Decoder(self.plant),
            heartbeats=Heartbeats(self.clock),
            restart=RestartRequest(self.folder, "ingest-1", self.clock),
        )
        if problem is not None:
            writer.database.failed(str(problem), 0.0)
        return writer


class Nothing:
    """No database."""

    def write(self, bucket: str, body: bytes) -> None:
        raise AssertionError(f"nobody writes here: {bucket}, {body!r}")


def refused(bench: Bench) -> list[str]:
    return [bench.session()._refusal(code, "not authorized") for code in sorted(WRONG_ACCOUNT)]


def rival(bench: Bench) -> list[str]:
    session = bench.session()
    session._pause_after(0.1, TAKEN_OVER)
    return session.notices


def unread(bench: Bench) -> list[str]:
    session = bench.session()
    session._subscribed(["factory/+/+/telemetry"], [False])
    return session.notices


def unwritten(_bench: Bench) -> list[str]:
    topics = RefusedTopics()
    topics.note("factory/line1/CNC-01/telemetry", "not authorized", 0.0, is_rights=True)
    return topics.sentences("gateway-edge-1", 1.0)


def wrong_token(bench: Bench) -> list[str]:
    influx = Influx(DatabaseSettings(influx_url="http://influxdb:8086"))
    problem = influx._refused(401, "telemetry", b'{"code":"unauthorized"}')
    influx.close()
    return [*bench.writer(problem).problems, f"nothing is rolled up: {problem}"]


def full_database(bench: Bench) -> list[str]:
    return bench.writer(NoRoom("InfluxDB answers 500: no space left on device: its disk is full")).problems


def parking(bench: Bench) -> list[str]:
    writer = bench.writer()
    writer.database.wrote()
    writer._disk("database or disk is full")
    return writer.problems


def blown(bench: Bench) -> list[str]:
    writer = bench.writer()
    writer.database.wrote()
    writer.fuse.observe(1_000, 900, 0.0)
    return writer.problems


def clock_off(_bench: Bench) -> list[str]:
    lags = Lags()
    for _ in range(2):
        lags.note("line1", "CNC-01", "edge-1", -30_000)
        lags.close_if_due(0.0)
    return lags.problems()


def foreign(_bench: Bench) -> list[str]:
    voices = Voices()
    voices.note("CNC-01", "stream 'edge-2.8f3c' is of edge-2", 0.0)
    return voices.problems(1.0)


def other_store(_bench: Bench) -> list[str]:
    known = KnownStore(identity="a", turn=9, began_ms=NOW_MS - 10**9, noted_ms=NOW_MS - 10**6)
    cases = [
        compare(known, StoreSaid("b", 3, NOW_MS - 10**7), is_empty=False, now_ms=NOW_MS),
        compare(known, StoreSaid("a", 3, NOW_MS - 10**7), is_empty=False, now_ms=NOW_MS),
        compare(known, StoreSaid("a", 12, NOW_MS), is_empty=False, now_ms=NOW_MS),
        compare(known, None, is_empty=True, now_ms=NOW_MS),
        compare(known, None, is_empty=False, now_ms=NOW_MS),
        compare(None, StoreSaid("a", 3, NOW_MS), is_empty=False, now_ms=NOW_MS),
    ]
    return [each.words for each in cases if each is not None]


def twins(bench: Bench) -> list[str]:
    seen = Twins()
    for turn, host in enumerate(("here", "there", "here", "there")):
        started = format_timestamp(NOW_MS - 10_000 if host == "here" else NOW_MS - 9_000)
        said = format_timestamp(NOW_MS + 1_000 * turn)
        seen.take(Status(service="oee", instance="1", alive=True, started=started, timestamp=said, host=host), float(turn))
    return seen.problems(4.0)


def tokens(bench: Bench) -> list[str]:
    held = ApiTokens(bench.folder / "none.json", bench.clock)
    held.client("any")
    return [held.problem or ""]


def archive(bench: Bench) -> list[str]:
    (bench.folder / "archive").write_text("no folder")
    kept = Archive(bench.folder / "archive", "1", 0)
    kept.append("telemetry", [b"m f=1 1"], NOW_MS)
    return [kept.problem or ""]


def unhealthy(bench: Bench) -> list[str]:
    beats = Heartbeats(bench.clock)
    step = beats.step("commit")
    step.failed("disk I/O error")
    bench.clock.advance(FAILING_LIMIT_S + 1)
    step.failed("disk I/O error")
    return [f"unhealthy: {name} {problem}" for name, problem in beats.failing().items()]


def no_devices(bench: Bench) -> list[str]:
    return [select_fleet(bench.plant, "edge-7").problem() or ""]


def unmapped(_bench: Bench) -> list[str]:
    return [unmapped_in_words(load_plan(SAMPLE).machines["PACK-01"], {"17", "99"})]


ACT, MENDS, NOTE = Prognosis.ACT, Prognosis.MENDS, Prognosis.NOTE
SAID: dict[str, tuple[Callable[[Bench], list[str]], Prognosis | None, str]] = {
    "a wrong account": (refused, ACT, "makes account and password fit"),
    "not connected yet": (lambda bench: [bench.session().problem or ""], MENDS, ""),
    "two of one name": (rival, ACT, "stop one"),
    "a topic that may not be read": (unread, ACT, "renders the access rules"),
    "a topic that may not be written": (unwritten, ACT, "in plant.yaml"),
    "a full disk of an outbox": (lambda _: OutboxFigures(disk_problem="disk is full").problems, ACT, "free room"),
    "a disk that is nearly full": (lambda _: [Room("influxdb", Path("/x"), 1, 100).problem or ""], ACT, "make room"),
    "a disk that cannot be looked at": (
        lambda _: [Room("influxdb", Path("/x"), refusal="no").problem or ""],
        ACT,
        "MILLRACE_",
    ),
    "nothing written yet": (lambda bench: bench.writer().problems, MENDS, ""),
    "a wrong token": (wrong_token, ACT, "makes buckets and tokens"),
    "a full database": (full_database, ACT, "make room"),
    "a full disk of ingest": (parking, ACT, "free room"),
    "messages that nobody can store": (blown, ACT, "dead-letters list"),
    "a clock that is off": (clock_off, ACT, "time server"),
    "another's voice": (foreign, ACT, "dead-letters list --reason foreign"),
    "another database": (other_store, MENDS, "shows the ledger"),
    "two of one name, as ingest sees them": (twins, ACT, "give one of them another MILLRACE_INSTANCE"),
    "tokens that cannot be read": (tokens, ACT, "makes what is missing"),
    "an archive that refuses": (archive, ACT, "the right to write there"),
    "a step that fails": (unhealthy, ACT, "docker compose logs"),
    "a gateway without devices": (no_devices, ACT, "`gateway: "),
    "a store set aside": (lambda _: [SetAside(Path("oee.db.set-aside-1"), "is no database").in_words], NOTE, "the ledger"),
    "a state that no profile names": (unmapped, NOTE, "signals.state_current.values"),
    "a mistake in a file": (lambda _: [str(Problem("plant.yaml", 3, "root", "is no root"))], None, ""),
}


@pytest.mark.parametrize(("say", "prognosis", "mend"), SAID.values(), ids=SAID)
def test_doctor_knows_the_words_of_the_services(
    say: Callable[[Bench], list[str]], prognosis: Prognosis | None, mend: str, tmp_path: Path
) -> None:
    texts = say(Bench(tmp_path, load_plant(SAMPLE)))
    assert texts
    status = Status(service="oee", instance="1", alive=True, timestamp=format_timestamp(NOW_MS))
    facts = Evidence(now_ms=NOW_MS, version="0.1.0")
    for text in texts:
        assert is_known(text), f"add a rule to complaints.py of the admin's doctor, or mend the one it had: {text}"
        finding = judged(facts, Complaint("oee", status, text, is_local=True))
        if prognosis is None:
            assert finding is None, text
        else:
            assert finding is not None, text
            assert (finding.prognosis, mend in finding.mend) == (prognosis, True), finding
