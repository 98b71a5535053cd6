"""`millrace-oee recompute --publish`: what is too old to be revised live is told again, as live would have told it in time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import millrace_oee.__main__ as oee
from millrace_contract.language.entries import decode_entry
from millrace_contract.language.measurements import PRODUCTION_BUCKET, TELEMETRY_BUCKET
from millrace_contract.language.messages import Kept, encode
from millrace_contract.language.oee_messages import OeeDocument, OeeInterval
from millrace_contract.language.points import context_event_line, oee_interval_line, oee_window_line, telemetry_line
from millrace_contract.language.telemetry import decode_telemetry
from millrace_contract.language.times import parse_timestamp
from millrace_contract.runtime.influx import BucketRetention, Influx
from millrace_contract.store_forward.sqlite import transaction
from millrace_contract.store_forward.store_file import open_store
from millrace_contract.testing import Influxd
from millrace_oee.hand_over import FOLDER, HandOver
from millrace_oee.results import Results
from millrace_oee.store import OEE_STORE, Store
from tests.made_by_oee import Made, made_by_oee, some_days, write_oee_plant

FROM, UNTIL = "2025-03-04T06:00:00.000Z", "2025-03-06T06:00:00.000Z"
FROM_MS, UNTIL_MS = parse_timestamp(FROM), parse_timestamp(UNTIL)
DEVICES = ("CNC-01", "CNC-02")
SHIFTS = {"early": {"start": "06:00", "end": "14:00"}, "late": {"start": "14:00", "end": "22:00"}}
LATE = range(parse_timestamp("2025-03-04T10:00:00Z"), parse_timestamp("2025-03-04T12:00:00Z"))
SCRAP = {
    "kind": "scrap",
    "id": "lab-9",
    "timestamp": "2025-03-25T09:00:00.000Z",
    "actor": "lab",
    "values": {"count": 24, "start": "2025-03-05T10:00:00Z", "end": "2025-03-05T11:00:00Z"},
}


def is_late(event: str) -> bool:
    said = json.loads(event)
    return "CNC-01" in said["topic"] and parse_timestamp(said["payload"]["timestamp"]) in LATE


@pytest.fixture
def plant(tmp_path: Path, influxd: Influxd, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Made, Made]:
    """What was told without two hours of CNC-01 and without what the lab found later, in a database that has all of it by now;
    and what would have been told with them."""
    config = write_oee_plant(tmp_path / "config", {"line1": DEVICES}, SHIFTS)
    events = [event for device in DEVICES for event in some_days("line1", device, FROM_MS, UNTIL_MS + 3_600_000)]
    entry = json.dumps({"topic": "factory/line1/CNC-01/context/event", "payload": SCRAP})
    told = made_by_oee(config, [event for event in events if not is_late(event)], UNTIL_MS + 7_200_000)
    whole = made_by_oee(config, [*events, entry], UNTIL_MS + 7_200_000)
    monkeypatch.setenv("MILLRACE_INFLUX_URL", influxd.url)
    monkeypatch.setenv("MILLRACE_INFLUX_TOKEN", Influxd.TOKEN)
    monkeypatch.setenv("MILLRACE_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    with Influx(influxd.settings()) as influx:
        heard = [json.loads(event) for event in events]
        lines = [
            telemetry_line(
                "test-cnc", "line1", each["topic"].split("/")[2], decode_telemetry(encoded(each["payload"]), UNTIL_MS * 2)
            )
            for each in heard
        ]
        influx.write(TELEMETRY_BUCKET, b"\n".join(lines))
        influx.write(PRODUCTION_BUCKET, b"\n".join([*map(oee_window_line, told.windows), *map(oee_interval_line, told.intervals)]))
        influx.write(PRODUCTION_BUCKET, context_event_line("line1", "CNC-01", decode_entry(encoded(SCRAP))))
    return tmp_path, told, whole


def encoded(payload: Any) -> bytes:
    return json.dumps(payload).encode()


def mend(folder: Path, *more: str) -> int:
    span = ["--from", FROM, "--to", UNTIL]
    return oee.main(["recompute", "--config", str(folder / "config"), "--device", "CNC-01", *span, "--publish", *more])


def key(document: OeeDocument) -> tuple[object, ...]:
    return document.device_id, document.window.kind, document.window.id


def figures(document: OeeDocument) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(encode(document))
    return {name: value for name, value in said.items() if name not in {"revision", "cause"}}


@pytest.mark.influx
def test_old_windows_become_revisions_with_the_bytes_that_live_would_have_told(
    plant: tuple[Path, Made, Made], influxd: Influxd, capsys: pytest.CaptureFixture[str], make_service: Callable[..., Service]
) -> None:
    folder, told, whole = plant
    assert mend(folder) == 0
    said = capsys.readouterr()
    printed = [msgspec.json.decode(line, type=OeeDocument) for line in said.out.splitlines()]
    inside = [each for each in whole.windows if each.window.start >= FROM and each.window.end <= UNTIL]
    before = {key(each): each for each in told.windows}
    changed = {key(each): each for each in inside if figures(each) != figures(before[key(each)])}
    assert {key(each) for each in printed} == changed.keys()
    assert {each.window.kind for each in printed if each.device_id is msgspec.UNSET} >= {"hour", "shift", "day"}
    for each in printed:
        assert figures(each) == figures(changed[key(each)])
        late = "lab" if each.window.id.startswith("2025-03-05") else "late"
        assert (each.revision, each.cause) == (2, {"lab": "scrap", "late": "late_data"}[late]), each.window
    assert "not told again, for they are not whole between --from and --to: 2025-03, 2025-W10" in said.err

    service = make_service(folder / "data")
    service.turn()
    windows = [each for each in service.sent if isinstance(each, OeeDocument)]
    assert [encode(each) for each in windows] == [encode(each) for each in printed]
    stops = [each for each in service.sent if isinstance(each, OeeInterval)]
    known = {each.id: each for each in whole.intervals}
    assert stops
    assert all(known[each.id].end == each.end for each in stops if each.end != each.start)
    service.turn()
    assert len(service.sent) == len(windows) + len(stops), "once"
    assert list((folder / "data" / FOLDER).iterdir()) == []

    with Influx(influxd.settings()) as influx:
        influx.write(PRODUCTION_BUCKET, b"\n".join([*map(oee_window_line, windows), *map(oee_interval_line, stops)]))
        assert mend(folder) == 0
        assert "nothing differs from what was told" in capsys.readouterr().err
        influx.set_retention(TELEMETRY_BUCKET, BucketRetention(30 * 86_400, 86_400))
    assert mend(folder) == 2
    assert "of windows that start earlier cannot be computed again, and stands" in capsys.readouterr().err


class Service:
    """The service's side of the hand-over, on its real store."""

    def __init__(self, data: Path) -> None:
        self.sent: list[Kept] = []
        self._store = open_store(OEE_STORE, data / "oee.db", 0)
        self.begin(data)

    def begin(self, data: Path) -> None:
        self._taking = HandOver(
            data, Store(self._store.connection), Results(self._store.connection, lambda _topic, message: self.sent.append(message))
        )

    def turn(self, *, killed: bool = False) -> None:
        with transaction(self._store.connection):
            self._taking.take()
        if not killed:
            self._taking.committed()

    def close(self) -> None:
        self._store.close()


@pytest.fixture
def make_service() -> Iterator[Callable[[Path], Service]]:
    made: list[Service] = []

    def make(data: Path) -> Service:
        made.append(Service(data))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_kill_between_the_commit_and_the_removal_of_the_file_publishes_nothing_twice(
    tmp_path: Path, make_service: Callable[..., Service]
) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir()
    for name in ("1-line1-0000", "2-line1-0000"):
        (folder / name).write_bytes(msgspec.msgpack.encode({"windows": [], "stops": []}))
    (folder / "0-broken").write_bytes(b"\xc1")
    service = make_service(tmp_path)
    service.turn()
    assert sorted(each.name for each in folder.iterdir()) == ["0-broken~", "1-line1-0000", "2-line1-0000"], "it is set aside"
    service.turn(killed=True)
    service.begin(tmp_path)
    service.turn()  # the first is known, and goes; the second is taken
    assert [each.name for each in folder.iterdir()] == ["0-broken~"]
    service.turn()
    assert Store(service._store.connection).facts("handed_over:") == []


def test_what_oee_revises_by_itself_is_refused(plant_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = plant_folder(shifts={"early": {"start": "06:00", "end": "14:00"}})
    span = ["--from", "2025-03-04T06:00:00Z", "--to", "2099-03-04T06:00:00Z"]
    assert oee.main(["recompute", "--config", str(folder), "--device", "CNC-01", *span, "--publish"]) == 2
    assert "oee revises by itself; give no later time" in capsys.readouterr().err
