import json
from collections.abc import Callable
from typing import Any

import pytest

from millrace_contract.language.alert_messages import AlertEvent
from millrace_contract.language.messages import Ledger, Status, encode
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.topics import Kind
from millrace_contract.language.words import EventCause, IsaState
from millrace_contract.plant import PlantModel
from millrace_ingest.confirmations import Identity
from millrace_ingest.decoder import Accepted, Decoder, Ignored, Rejected
from millrace_ingest.signal_limit import SignalLimit
from tests.made_by_oee import an_hour

NOW_MS = 1_760_000_000_000
TOPIC = "plant/line1/D-0/telemetry"
GOOD: dict[str, Any] = {"timestamp": "2025-10-09T08:53:20Z", "readings": {"temperature": 20.5}}
Message = Callable[..., bytes]


@pytest.fixture
def decoder(plant: PlantModel) -> Decoder:
    return Decoder(plant)


def payload(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def test_a_message_becomes_one_line_with_its_identity(decoder: Decoder, message: Message) -> None:
    found = decoder.decode(TOPIC, message(seq=7, prev=5), NOW_MS)
    assert isinstance(found, Accepted)
    assert found.line == (
        b'acme-mill,line=line1,device=D-0,station=ST3 run_status=1.0,temperature=20.5,_stream="edge-1.aa",_seq=7,_prev=5'
        b" 1760000000000000000"
    )
    assert found.identity == Identity("edge-1.aa", 7)
    assert (found.bucket, found.prev, found.time_ms, found.declared) == ("telemetry", 5, NOW_MS, True)


BAD = {
    "not UTF-8": (b"\xff\xfe\x00", "not_json"),
    "nested without end": (b'{"timestamp":"2025-10-09T08:53:20Z","x":' + b"[" * 100_000, "not_json"),
    "1 MB": (payload(padding="x" * 1_000_000), "too_large"),
}
"""What no golden case can hold; the others are in tests/cases/ingest."""


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_rejected_with_its_reason(what: str, decoder: Decoder) -> None:
    body, code = BAD[what]
    found = decoder.decode(TOPIC, body, NOW_MS)
    assert isinstance(found, Rejected)
    assert found.code == code
    assert found.reason


def test_a_rejected_message_of_the_devices_gateway_keeps_its_identity(decoder: Decoder) -> None:
    body = b'{"timestamp":"2025-10-09T08:53:20Z","readings":{"t":1e999},"stream":"edge-1.aa","seq":4}'
    found = decoder.decode(TOPIC, body, NOW_MS)
    assert isinstance(found, Rejected)
    assert (found.code, found.device, found.identity) == ("schema", "D-0", Identity("edge-1.aa", 4))
    forged = payload(timestamp="no", stream="edge-2.aa", seq=4)
    found = decoder.decode(TOPIC, forged, NOW_MS)
    assert isinstance(found, Rejected)
    assert found.identity is None


def test_nobody_but_its_gateway_speaks_as_a_device(decoder: Decoder, message: Message) -> None:
    for stream in ("edge-2.aa", None):
        found = decoder.decode(TOPIC, message(stream=stream, seq=7), NOW_MS)
        assert isinstance(found, Rejected)
        assert (found.code, found.device, found.identity) == ("foreign", "D-0", None)
        assert "not of gateway edge-1, which reads D-0" in found.reason


def test_an_undeclared_device_has_no_stream_that_is_believed(decoder: Decoder, message: Message) -> None:
    stranger = decoder.decode("plant/line1/sensor-9/telemetry", message("sensor-9", stream="edge-1.aa", seq=7), NOW_MS)
    assert isinstance(stranger, Accepted)
    assert stranger.identity is None
    assert stranger.doubted


def oee(**changes: Any) -> OeeDocument:
    fields = {"device": "D-0", "timestamp": "2025-10-09T08:53:20.000Z", "stream": "oee-1.ab", "seq": 3, **changes}
    return an_hour(parse_timestamp("2025-10-09T08:00:00Z"), **fields)


def test_documents_of_our_services_go_to_their_buckets(decoder: Decoder) -> None:
    live = decoder.decode("plant/line1/D-0/oee", encode(oee()), NOW_MS)
    window = decoder.decode("plant/line1/D-0/oee/window", encode(oee()), NOW_MS)
    assert isinstance(live, Accepted)
    assert isinstance(window, Accepted)
    assert (live.bucket, live.topic.kind) == ("telemetry", Kind.OEE)
    assert (window.bucket, window.topic.kind, window.identity) == ("production", Kind.OEE_WINDOW, Identity("oee-1.ab", 3))


def test_a_document_must_agree_with_its_topic(decoder: Decoder) -> None:
    for topic in ("plant/line1/D-1/oee/window", "plant/line1/oee/window", "plant/line2/D-0/oee/window"):
        found = decoder.decode(topic, encode(oee()), NOW_MS)
        assert isinstance(found, Rejected)
        assert found.code == "device"
        assert found.identity == Identity("oee-1.ab", 3)


def test_a_document_from_the_future_is_rejected(decoder: Decoder) -> None:
    found = decoder.decode("plant/line1/D-0/oee/window", encode(oee(timestamp="2025-10-09T09:00:00Z")), NOW_MS)
    assert isinstance(found, Rejected)
    assert found.code == "future"


def test_a_document_with_an_unreadable_time_is_rejected(decoder: Decoder) -> None:
    found = decoder.decode("plant/line1/D-0/oee", encode(oee(timestamp="soon")), NOW_MS)
    assert isinstance(found, Rejected)


def test_alerts_ledger_and_status_of_the_platform_are_stored(decoder: Decoder) -> None:
    event = AlertEvent(
        event_seq=1, alert_id="a", rule="no-ingest", line=None, from_state=IsaState.NORM, to_state=IsaState.UNACK,
        cause=EventCause.CONDITION, timestamp="2025-10-09T08:53:20Z", source_timestamp="2025-10-09T08:53:20Z",
    )  # fmt: skip
    ledger = Ledger(timestamp="2025-10-09T08:53:20Z", service="gateway", instance="edge-1", count=3, cause="outbox_full")
    status = Status(service="oee", instance="1", alive=False)
    for topic, body in [
        ("plant/_platform/alert/no-ingest/event", encode(event)),
        ("plant/_platform/gateway/edge-1/ledger", encode(ledger)),
        ("plant/_platform/oee/1/status", encode(status)),
    ]:
        found = decoder.decode(topic, body, NOW_MS)
        assert isinstance(found, Accepted), (topic, found)
        assert found.bucket == "production"
    assert isinstance(decoder.decode("plant/_platform/gateway/edge-2/ledger", encode(ledger), NOW_MS), Rejected)


def test_cleared_retained_topics_are_no_dead_letters(decoder: Decoder) -> None:
    assert decoder.decode("plant/line1/D-0/oee", b"", NOW_MS) == Ignored("cleared", "D-0")
    assert decoder.decode("plant/_platform/oee/1/status", b"", NOW_MS) == Ignored("cleared", None)


def test_unknown_keys_are_counted(decoder: Decoder) -> None:
    found = decoder.decode(TOPIC, payload(firmware="1.2", operator="me", stream="edge-1.aa", seq=4), NOW_MS)
    assert isinstance(found, Accepted)
    assert found.unknown_keys == 2


def test_a_stranger_on_a_machines_topic_uses_up_nothing_that_the_profile_declares(plant: PlantModel, message: Message) -> None:
    decoder = Decoder(plant, SignalLimit(3))
    for number in range(5):
        decoder.decode(TOPIC, payload(readings={f"value_{number}": 1}), NOW_MS)
    assert isinstance(decoder.decode(TOPIC, payload(readings={"value_9": 1}), NOW_MS), Rejected)
    assert isinstance(decoder.decode(TOPIC, message(seq=7), NOW_MS), Accepted)


def test_a_word_of_a_newer_sender_makes_a_dead_letter_that_says_so(decoder: Decoder) -> None:
    payload = encode(oee()).replace(b'"kind":"hour"', b'"kind":"decade"')
    found = decoder.decode("plant/line1/D-0/oee", payload, NOW_MS)
    assert isinstance(found, Rejected)
    assert found.code == "schema"
    assert "'decade'" in found.reason
    assert "window.kind" in found.reason
