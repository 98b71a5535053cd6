"""The running service and what people enter: heard from the broker, read back from the database where it was missed, asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from millrace_contract.language.entries import QualityCount, ScrapEntry
from millrace_contract.language.measurements import PRODUCTION_BUCKET
from millrace_contract.language.points import context_event_line
from millrace_contract.language.requests import ExplainQuestion, PeriodQuestion
from millrace_contract.language.times import format_timestamp, parse_timestamp
from millrace_contract.language.topics import Topics
from millrace_contract.language.words import NoReply, RevisionCause
from millrace_contract.runtime.asking import Inquiries
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks
from millrace_contract.testing import Influxd, Mosquitto, wait_until
from millrace_oee.hand_over import FOLDER, HandedWindow, hand_over

from .test_service import HOURS, Oee, Plant, _all_there, _influx, _past, _replayed, _store, plant, start_oee

pytestmark = [pytest.mark.broker, pytest.mark.influx]
FIXTURES = (plant, start_oee)
"""Used by name."""
TOPICS = Topics("factory")
SAID = ("availability", "performance", "quality", "oee", "ms", "parts", "ideal_ms", "good_ms", "coverage", "flags", "reason")


def scrap(entry_id: str, window: dict[str, Any], count: int, seq: int, prev: int | None) -> ScrapEntry:
    values = QualityCount(count=count, start=window["start"], end=window["end"])
    now = format_timestamp(SystemClock().now_ms())
    return ScrapEntry(id=entry_id, timestamp=now, values=values, stream="alerts-1.ab", seq=seq, prev=prev)


@pytest.mark.long
def test_an_entry_that_was_missed_is_read_back_and_a_period_that_is_asked_for_is_the_hour_that_was_told(
    plant_folder: Callable[..., Path], plant: Plant, start_oee: Callable[..., Oee], influxd: Influxd, mosquitto: Mosquitto
) -> None:
    config = plant_folder(shifts=HOURS, interval_s=5.0)
    events = _past(3)
    with _influx(influxd) as influx:
        _store(influx, events)
        oee = start_oee(config, influxd.url, Influxd.TOKEN)
        for topic, payload in events:
            plant.publish(topic, payload)
        expected = _replayed(config, events)
        wait_until(_all_there(plant, expected), "every window")
        key, hour = next(each for each in expected.items() if each[1].get("device_id") and each[1]["parts"]["good"] > 20)
        # The first and the last of three entries come; the one between is in the database only.
        entries = [
            scrap("a", hour["window"], 3, 4, None),
            scrap("b", hour["window"], 5, 9, 4),
            scrap("c", hour["window"], 7, 12, 9),
        ]
        influx.write(PRODUCTION_BUCKET, b"\n".join(context_event_line("line1", "CNC-01", each) for each in entries))
        for each in (entries[0], entries[2]):
            plant.publish(TOPICS.context_event("line1", "CNC-01"), msgspec.json.encode(each))
    was = hour["parts"]["scrap"]
    wait_until(lambda: plant.windows()[key]["parts"]["scrap"] == was + 15, "the revision with all three entries", 90)
    revised = plant.windows()[key]
    assert revised["cause"] == "scrap"
    wait_until(lambda: b'"gaps_open":0' in plant.retained["factory/_platform/oee/1/status"], "the gap to close")

    asker = Inquiries(TOPICS, "alerts-1", SystemClock())
    session = LeanSession(mosquitto.settings(), "alerts-1", Callbacks(message=asker.heard), fleeting=asker.filters)
    asker.attach(session)
    session.start()
    try:
        assert session.wait_connected(30)
        question = PeriodQuestion(line="line1", device="CNC-01", start=revised["window"]["start"], end=revised["window"]["end"])
        reply = asker.ask("oee", question, 60)
        assert reply.document is not None, reply.detail
        told = json.loads(msgspec.json.encode(reply.document))
        assert {name: told[name] for name in SAID} == {name: revised[name] for name in SAID}
        assert told["window"]["kind"] == "period"
        why = asker.ask("oee", ExplainQuestion(line="line1", device="CNC-01", window=revised["window"]["id"]), 60)
        assert why.explained is not None, why.detail
        assert (why.explained.adds_up, {each.id for each in why.explained.entries}) == (True, {"a", "b", "c"})
        since = ExplainQuestion(line="line1", device="CNC-01", window=revised["window"]["id"], since_revision=1)
        changed = asker.ask("oee", since, 60)
        assert changed.explained is not None, changed.detail
        assert changed.explained.revised is not None
        assert {each.entry for each in changed.explained.revised.changes if each.entry} == {"a", "b", "c"}
        scrap_figure = next(each for each in changed.explained.revised.figures if each.name == "parts.scrap")
        assert (scrap_figure.before, scrap_figure.after) == (was, was + 15)
        of_nobody = asker.ask("oee", msgspec.structs.replace(question, device="X"), 60)
        assert (of_nobody.problem, of_nobody.detail) == (NoReply.NOT_FOUND, "no device X of line line1 has OEE")
        longer = msgspec.structs.replace(question, start=format_timestamp(parse_timestamp(question.end) - 49 * 3_600_000))
        assert asker.ask("oee", longer, 60).problem is NoReply.REFUSED
    finally:
        session.stop()

    # What `recompute --publish` leaves for the service goes out with the number and cause that it has.
    document = msgspec.structs.replace(reply.document, revision=7, cause=RevisionCause.SCRAP, final=True)
    start_ms, end_ms = (parse_timestamp(each) for each in (document.window.start, document.window.end))
    hand_over(oee.data, "test", [HandedWindow("CNC-01", start_ms, end_ms, TOPICS.oee_window("line1", "CNC-01"), document)], [])
    told_again = ("factory/line1/CNC-01", "period", document.window.id)
    wait_until(lambda: plant.windows().get(told_again, {}).get("revision") == 7, "what was handed over")
    assert plant.windows()[told_again]["cause"] == "scrap"
    wait_until(lambda: not list((oee.data / FOLDER).iterdir()), "the file to be removed")
    assert oee.stop() == 0
