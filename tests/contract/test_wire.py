"""MQTT packets: every message survives any cutting of the stream, and no bytes at all do more than end the connection."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.runtime.mqtt.packets import (
    Connack,
    Disconnected,
    PacketReader,
    Pong,
    ProtocolError,
    Puback,
    Suback,
    encode_connect,
    encode_pubacks,
    encode_publish,
    encode_subscribe,
)
from millrace_contract.runtime.mqtt.session import Received

TOPICS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0#+"), min_size=1, max_size=60)
MESSAGES = st.tuples(TOPICS, st.binary(max_size=300), st.integers(1, 65_535), st.booleans())


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


@given(st.lists(MESSAGES, max_size=20), st.lists(st.integers(0, 10_000), max_size=20))
def test_messages_arrive_as_they_were_sent_however_the_stream_is_cut(
    messages: list[tuple[str, bytes, int, bool]], places: list[int]
) -> None:
    stream = b"".join(encode_publish(topic, payload, mid, retain=retain) for topic, payload, mid, retain in messages)
    reader = PacketReader(7)
    packets = [packet for chunk in _cut(stream, places) for packet in reader.feed(chunk)]
    assert packets == [Received(topic, payload, retain, 1, mid, 7) for topic, payload, mid, retain in messages]


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_no_bytes_do_more_than_end_the_connection(chunks: list[bytes]) -> None:
    reader = PacketReader(1)
    with suppress(ProtocolError):
        for chunk in chunks:
            reader.feed(chunk)


@given(st.sampled_from([0x20, 0x30, 0x32, 0x40, 0x90, 0xD0, 0xE0]), st.binary(max_size=60))
def test_no_packet_that_is_whole_does_more_than_end_the_connection(head: int, body: bytes) -> None:
    with suppress(ProtocolError):
        (packet,) = PacketReader(1).feed(bytes((head, len(body))) + body)
        assert isinstance(packet, Received | Connack | Puback | Suback | Pong | Disconnected)


def test_a_large_message_that_comes_in_small_pieces() -> None:
    payload = bytes(range(256)) * 1_000
    stream = encode_publish("t", payload, 9, retain=False)
    reader = PacketReader(1)
    packets = [packet for at in range(0, len(stream), 1_000) for packet in reader.feed(stream[at : at + 1_000])]
    assert packets == [Received("t", payload, False, 1, 9, 1)]


def test_a_message_of_qos_0_and_one_with_properties() -> None:
    plain = b"\x30\x05\x00\x01t\x00x"
    with_expiry = b"\x3b\x0c\x00\x01t\x00\x05\x05\x02\x00\x00\x00\x09y"
    assert PacketReader(1).feed(plain + with_expiry) == [
        Received("t", b"x", False, 0, 0, 1),
        Received("t", b"y", True, 1, 5, 1),
    ]


def test_a_broker_names_its_limits() -> None:
    properties = b"\x21\x00\x14\x27\x00\x20\x00\x00\x13\x00\x0a\x22\x00\x0a\x1f\x00\x02no"
    body = b"\x01\x00" + bytes((len(properties),)) + properties
    assert PacketReader(1).feed(b"\x20" + bytes((len(body),)) + body) == [Connack(0, True, 20, 2_097_152, 10)]
    assert PacketReader(1).feed(b"\x20\x03\x00\x87\x00") == [Connack(0x87, False, 65_535, 268_435_460, None)]


def test_answers_of_a_broker() -> None:
    stream = (
        b"\x40\x02\x00\x07"
        + b"\x40\x03\x00\x08\x87"
        + b"\x90\x05\x00\x01\x00\x01\x87"
        + b"\xd0\x00"
        + b"\xe0\x01\x8e"
        + b"\xe0\x00"
    )
    assert PacketReader(1).feed(stream) == [
        Puback(7, 0),
        Puback(8, 0x87),
        Suback((1, 0x87)),
        Pong(),
        Disconnected(0x8E),
        Disconnected(0),
    ]


def test_what_a_client_sends_stands_in_the_bytes_of_the_standard() -> None:
    connect = encode_connect(
        "c",
        username="u",
        password="p",
        will=("w", b"x"),
        keepalive_s=30,
        clean_start=False,
        receive_maximum=1000,
        session_expiry_s=60,
    )
    body = b"\x00\x04MQTT\x05\xec\x00\x1e" + b"\x08\x21\x03\xe8\x11\x00\x00\x00\x3c"
    body += b"\x00\x01c" + b"\x00\x00\x01w\x00\x01x" + b"\x00\x01u\x00\x01p"
    assert connect == b"\x10" + bytes((len(body),)) + body
    assert encode_subscribe(1, ["a/+"]) == b"\x82\x09\x00\x01\x00\x00\x03a/+\x01"
    assert encode_pubacks([1, 0x102]) == b"\x40\x02\x00\x01\x40\x02\x01\x02"
    assert encode_publish("t", b"x" * 200, 1, retain=True)[:8] == b"\x33\xce\x01\x00\x01t\x00\x01"


@pytest.mark.parametrize(
    ("stream", "what"),
    [
        (b"\x30\xff\xff\xff\xff\x01", "length"),
        (b"\x34\x06\x00\x01t\x00\x01\x00", "QoS"),
        (b"\x82\x00", "never sent"),
        (b"\x20\x06\x00\x00\x03\x21\x00\x00", "limit of 0"),
        (b"\x32\x06\x00\x01\xff\x00\x01\x00", "UTF-8"),
    ],
)
def test_what_is_no_mqtt_is_said_in_words(stream: bytes, what: str) -> None:
    with pytest.raises(ProtocolError, match=what):
        PacketReader(1).feed(stream)
