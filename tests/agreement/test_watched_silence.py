"""A gateway says once a minute that a device does not answer: news for OEE, and nothing at all for who wants readings."""

from __future__ import annotations

from millrace_alerts.records import Saved
from millrace_alerts.rules import watched_rules
from millrace_alerts.service import load_configuration
from millrace_alerts.watch import Watch
from millrace_contract.language.field_names import SEQ_FIELD, STREAM_FIELD, UNREACHABLE_FIELD
from millrace_contract.language.points import telemetry_line
from millrace_contract.language.telemetry import Telemetry, decode_telemetry, encode_telemetry
from millrace_contract.language.words import MachineState, Quality
from millrace_contract.runtime.influx import Series
from millrace_ingest.rollup import raw
from millrace_oee.history import History, Seed
from millrace_oee.plan import load_plan
from millrace_oee.samples import sample_of

from .conftest import STATES, WritePlant

START_MS = 1_760_000_040_000
SIGNALS = {"it": {"address": 10, "type": "uint16", "values": STATES}}
RULES = {
    "quiet": {"title": "Quiet", "class": "system", "condition": {"kind": "no_data", "after_s": 30}},
    "offline": {"title": "Offline", "class": "system", "condition": {"kind": "device_offline"}},
}


def told(at_ms: int, **said: object) -> Telemetry:
    facts = {"readings": {}, "quality": {}, "tags": {}, "stream": "edge-1.a", "seq": at_ms} | said
    payload = encode_telemetry(device_id="M-01", timestamp_ms=at_ms, **facts)  # type: ignore[arg-type]
    assert len(payload) < 200, "it costs little"
    return decode_telemetry(payload, at_ms, "M-01")


def test_a_word_without_readings_is_news_for_oee_alone(write_plant: WritePlant) -> None:
    folder = write_plant(SIGNALS, oee={"state": "it"}, rules=RULES)
    words = [
        told(START_MS, readings={"it": 1.0}),
        told(START_MS + 1_000, quality={"it": "bad"}, unreachable=True),
        told(START_MS + 61_000, unreachable=True),
        told(START_MS + 121_000, unreachable=True),
    ]
    plan = load_plan(folder)
    history = History(plan.machines["M-01"], plan.calendars["line1"], 0, Seed({}))
    for message in words:
        history.add(sample_of(history.machine, message))
    assert [run.state for run in history.timeline.runs(START_MS, START_MS + 301_001, START_MS + 301_001)] == [
        MachineState.EXECUTE,
        MachineState.UNREACHABLE,
        MachineState.UNKNOWN,
    ]

    configuration = load_configuration(folder)
    watch = Watch(configuration.plant, watched_rules(configuration.plant, configuration.rules), Saved())
    for message in words[:2]:
        watch.telemetry("M-01", message)
    before = watch.alerts["quiet.M-01"], watch.devices["M-01"].heard_ms, watch.devices["M-01"].readings["it"]
    for message in words[2:]:
        assert watch.telemetry("M-01", message) == []
    assert before == (watch.alerts["quiet.M-01"], watch.devices["M-01"].heard_ms, watch.devices["M-01"].readings["it"])
    assert before[2].quality is Quality.BAD
    watch.tick(START_MS + 150_000)
    assert watch.alerts["quiet.M-01"].facts.in_alarm, "missing data are missing, whoever watches"

    assert raw_samples(words[2]) == {}


def raw_samples(message: Telemetry) -> object:
    """What the roll-ups read of it."""
    line = telemetry_line("machine", "line1", "M-01", message)
    assert UNREACHABLE_FIELD.encode() in line
    row = [message.timestamp_ms, message.stream, message.seq, 1.0]
    series = Series("machine", {"line": "line1"}, ("time", STREAM_FIELD, SEQ_FIELD, UNREACHABLE_FIELD), [row])

    class Database:
        def query(self, bucket: str, influxql: str, **parameters: str | float) -> list[Series]:  # noqa: ARG002 - what it holds
            return [series]

    return raw.read(Database(), raw.RawSource("machine", "M-01"), START_MS, START_MS + 1_000_000)["line1"]
