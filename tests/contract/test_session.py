"""A session against a real broker that is killed, hangs, refuses and limits: the same for both clients."""

from __future__ import annotations

import datetime
import ipaddress
import queue
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.paho_session import PahoSession
from millrace_contract.runtime.mqtt.session import Callbacks, Received
from millrace_contract.runtime.settings import BrokerSettings, load_settings
from millrace_contract.testing import Broker, BrokerSetup, Mosquitto, free_port, wait_until

pytestmark = pytest.mark.broker

PATIENCE_S = 60.0
"""Only guards: what is awaited comes at once, but for a broker that is starved."""

MUTE_CONNECT = b"\x10\x11\x00\x04MQTT\x05\x02\x00\x02\x00\x00\x04mute"
"""MQTT 5, a clean start, a keep-alive of 2 s, the client id "mute"."""

ACCOUNTS = BrokerSetup(passwords={"gateway": "right"})
SessionType = type[PahoSession] | type[LeanSession]


class Client:
    """A session whose callbacks only enqueue."""

    def __init__(self, session_type: SessionType, settings: BrokerSettings, client_id: str, **options: Any) -> None:
        self.messages: queue.SimpleQueue[Received] = queue.SimpleQueue()
        self.published: queue.SimpleQueue[tuple[int, bool]] = queue.SimpleQueue()
        self.events: list[str] = []
        callbacks = Callbacks(
            message=self.messages.put,
            connected=lambda: self.events.append("connected"),
            disconnected=lambda: self.events.append("disconnected"),
            published=lambda token, ok: self.published.put((token, ok)),
        )
        self.listens = bool(options.get("filters"))
        self.session = session_type(settings, client_id, callbacks, **options)
        self.session.start()

    def payloads(self, count: int) -> list[bytes]:
        return [self.messages.get(timeout=PATIENCE_S).payload for _ in range(count)]


Connect = Callable[..., Client]


@pytest.fixture
def connect(session_type: SessionType, broker: Broker) -> Iterator[Connect]:
    """Make clients of the kind under test, stopped at the end."""
    clients: list[Client] = []

    own = uuid.uuid4().hex[:6]

    def make(client_id: str, settings: BrokerSettings | None = None, **options: Any) -> Client:
        clients.append(Client(session_type, settings or broker.settings(), f"{client_id}-{own}", **options))
        return clients[-1]

    yield make
    for client in clients:
        client.session.stop()


def _up(client: Client) -> Client:
    """Connected, and if it listens, sure to hear what is published from now on."""
    assert client.session.wait_connected(PATIENCE_S), client.session.problem
    if client.listens:
        wait_until(lambda: client.session.is_subscribed, "the broker's answer to the filters", PATIENCE_S)
    return client


def _until_silence(client: Client) -> list[Received]:
    """At least one message, and all that follow without a pause."""
    heard = [client.messages.get(timeout=PATIENCE_S)]
    with suppress(queue.Empty):
        while True:
            heard.append(client.messages.get(timeout=0.2))
    return heard


def test_what_was_not_acknowledged_comes_again(connect: Connect, broker: Broker) -> None:
    options = {"filters": ["t/+"], "persistent": True, "manual_ack": True}
    consumer, publisher = _up(connect("consumer", **options)), _up(connect("publisher"))
    token = publisher.session.publish("t/a", b"1")
    assert publisher.published.get(timeout=PATIENCE_S) == (token, True)
    first = consumer.messages.get(timeout=PATIENCE_S)
    consumer.session.stop()

    again = connect("consumer", **options)
    second = again.messages.get(timeout=PATIENCE_S)
    assert (first.payload, second.payload) == (b"1", b"1")
    again.session.acknowledge(second)
    again.session.stop()

    third = _up(connect("consumer", **options))
    publisher.session.publish("t/a", b"2")
    heard = third.messages.get(timeout=PATIENCE_S)
    if not isinstance(broker, Mosquitto) and heard.payload == b"1":
        # Once too often is allowed: the acknowledgement and the end came together. It goes on when that is acknowledged.
        third.session.acknowledge(heard)
        heard = third.messages.get(timeout=PATIENCE_S)
    assert heard.payload == b"2"


def test_what_follows_a_message_that_came_again_arrives_at_the_latest_when_that_is_acknowledged(connect: Connect) -> None:
    options = {"filters": ["t/+"], "persistent": True, "manual_ack": True}
    consumer, publisher = _up(connect("consumer", **options)), _up(connect("publisher"))
    publisher.session.publish("t/a", b"1")
    consumer.messages.get(timeout=PATIENCE_S)
    consumer.session.stop()

    again = _up(connect("consumer", **options))
    repeated = again.messages.get(timeout=PATIENCE_S)
    publisher.session.publish("t/a", b"2")
    again.session.acknowledge(repeated)
    assert (repeated.payload, again.payloads(1)) == (b"1", [b"2"])


def test_without_a_persistent_session_nothing_is_kept(connect: Connect) -> None:
    publisher = _up(connect("publisher"))
    _up(connect("passer-by", filters=["t/+"])).session.stop()
    publisher.session.publish("t/a", b"missed")
    publisher.published.get(timeout=PATIENCE_S)
    back = _up(connect("passer-by", filters=["t/+"]))
    back.session.publish("t/a", b"heard")
    assert back.payloads(1) == [b"heard"]


def test_every_publish_of_several_threads_is_answered_and_arrives_in_order(connect: Connect, broker: Broker) -> None:
    count, threads = 1_000, 4
    consumer, publisher = _up(connect("consumer", filters=["t/+"])), _up(connect("publisher"))
    taken: list[list[int | None]] = [[] for _ in range(threads)]

    def publish(number: int) -> None:
        taken[number] = [publisher.session.publish(f"t/{number}", b"%d" % each) for each in range(count)]

    workers = [threading.Thread(target=publish, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    answers = [publisher.published.get(timeout=PATIENCE_S) for _ in range(count * threads)]
    assert sorted(token for token, _ in answers) == sorted(token for tokens in taken for token in tokens if token is not None)
    assert all(is_taken for _, is_taken in answers)
    heard: dict[str, list[int]] = {}
    for _ in range(count * threads):
        message = consumer.messages.get(timeout=PATIENCE_S)
        heard.setdefault(message.topic, []).append(int(message.payload))
    assert heard == {f"t/{number}": list(range(count)) for number in range(threads)}


def test_the_broker_sends_no_more_than_we_take_unacknowledged(connect: Connect) -> None:
    consumer = _up(connect("consumer", filters=["t/+"], manual_ack=True, receive_maximum=5))
    publisher = _up(connect("publisher"))
    for number in range(20):
        publisher.session.publish("t/a", b"%d" % number)
        publisher.published.get(timeout=PATIENCE_S)
    rounds: list[list[Received]] = []
    while sum(map(len, rounds)) < 20:
        rounds.append(_until_silence(consumer))
        for message in rounds[-1]:
            consumer.session.acknowledge(message)
    assert len(rounds[0]) <= 5  # mosquitto 2.0 no longer keeps count afterwards
    assert [int(message.payload) for held in rounds for message in held] == list(range(20))


def test_messages_come_in_order_and_are_acknowledged_many_at_once(
    session_type: SessionType, connect: Connect, broker: Broker
) -> None:
    heard: list[bytes] = []

    def take(messages: list[Received]) -> None:
        heard.extend(message.payload for message in messages)
        consumer.acknowledge_all(messages)

    callbacks = Callbacks(messages=take)
    consumer = session_type(broker.settings(), "many", callbacks, filters=["t/+"], manual_ack=True, receive_maximum=20)
    consumer.start()
    try:
        assert consumer.wait_connected(10)
        publisher = _up(connect("publisher"))
        sent = [b"%d" % number for number in range(300)]  # far more than may be unacknowledged
        for payload in sent:
            publisher.session.publish("t/a", payload)
        wait_until(lambda: len(heard) == len(sent), "all messages", 20)
    finally:
        consumer.stop()
    assert heard == sent


def test_a_killed_broker_is_noticed_and_nothing_is_published_meanwhile(connect: Connect, broker: Broker) -> None:
    client = _up(connect("survivor", filters=["s/+"]))
    generation = client.session.generation
    broker.kill()
    wait_until(lambda: not client.session.is_connected, "the session to notice")
    wait_until(lambda: client.events == ["connected", "disconnected"], "the callback")
    assert client.session.publish("s/a", b"lost") is None
    assert client.session.problem
    broker.start()
    _up(client)
    assert client.session.generation == generation + 1
    client.session.publish("s/a", b"kept")
    assert client.payloads(1) == [b"kept"]


def test_a_message_of_an_earlier_connection_is_not_acknowledged_on_the_next(connect: Connect, broker: Broker) -> None:
    consumer = _up(connect("consumer", filters=["t/+"], persistent=True, manual_ack=True))
    publisher = _up(connect("publisher"))
    publisher.session.publish("t/a", b"1")
    stale = consumer.messages.get(timeout=PATIENCE_S)
    broker.stop()
    wait_until(lambda: not consumer.session.is_connected, "the session to notice")
    broker.start()
    _up(consumer)
    fresh = consumer.messages.get(timeout=PATIENCE_S)
    assert (fresh.payload, fresh.generation) == (b"1", stale.generation + 1)
    consumer.session.acknowledge(stale)
    consumer.session.stop()
    assert connect("consumer", filters=["t/+"], persistent=True, manual_ack=True).payloads(1) == [b"1"]


def test_a_broker_that_comes_and_goes_is_no_rival_and_is_looked_for_as_often_as_ever(
    session_type: SessionType, mosquitto: Mosquitto
) -> None:
    client = Client(session_type, mosquitto.settings(), "faithful", filters=["s/+"])
    for _ in range(3):
        _up(client)
        mosquitto.kill()
        wait_until(lambda: "no answer from" in (client.session.problem or ""), "the session to look for the broker in vain")
        mosquitto.start()
    _up(client)
    client.session.stop()
    assert not client.session.has_rival
    assert not [said for said in client.session.notices if "again and again" in said]


def test_a_broker_that_hangs_is_noticed(connect: Connect, broker: Broker) -> None:
    client = _up(connect("patient", filters=["s/+"], keepalive_s=2))
    broker.pause()
    try:
        client.session.publish("s/a", b"into the void")
        wait_until(lambda: not client.session.is_connected, "the session to notice")
    finally:
        broker.resume()
    _up(client)
    client.session.publish("s/a", b"kept")
    if (first := client.payloads(1)) == [b"into the void"]:
        first = client.payloads(1)
    assert first == [b"kept"]


def test_a_quiet_connection_stays_where_the_broker_drops_one_without_a_word(connect: Connect, broker: Broker) -> None:
    client = _up(connect("quiet", filters=["s/+"], keepalive_s=2))
    with socket.create_connection((broker.settings().mqtt_host, broker.port), timeout=PATIENCE_S) as mute:
        mute.sendall(MUTE_CONNECT)
        while mute.recv(4096):  # Until the broker has had enough: one and a half keep-alives of 2 s.
            pass
    witness = _up(connect("witness", filters=["w/+"]))
    witness.session.publish("s/a", b"still there")
    assert client.payloads(1) == [b"still there"]
    assert client.events == ["connected"]


def test_wrong_password_is_said_in_words(connect: Connect, broker: Broker) -> None:
    broker.set_up(ACCOUNTS)
    client = connect("stranger", broker.settings("gateway", "wrong"))
    wait_until(lambda: "refuses the account gateway" in (client.session.problem or ""), "the refusal in words")
    assert not client.session.is_connected
    _up(connect("friend", broker.settings("gateway", "right")))


def test_a_refused_publish_does_not_count_as_delivered(connect: Connect, broker: Broker) -> None:
    broker.set_up(replace(ACCOUNTS, filters={"gateway": "allowed/#"}))
    client = _up(connect("gateway-1", broker.settings("gateway", "right"), filters=["allowed/#"]))
    refused = client.session.publish("forbidden/a", b"1")
    assert client.published.get(timeout=PATIENCE_S) == (refused, False)
    assert client.session.problem in (None, "connection lost: Not authorized")
    [notice] = client.session.notices
    assert notice.startswith("the broker refuses topic forbidden/a for account gateway (not authorized): an account may write what")
    assert client.session.publish("forbidden/a", b"1", retain=True) is None, "who keeps nothing does not try again and again"
    # Some brokers end the connection too, and with it what came after.
    wait_until(lambda: _is_taken(client, "allowed/a", b"2"), "the next publish to be taken")
    assert client.payloads(1) == [b"2"]
    assert client.session.notices == [notice]
    broker.set_up(replace(ACCOUNTS, filters={"gateway": "forbidden/#"}))
    wait_until(lambda: _is_taken(client, "forbidden/a", b"3"), "the topic to be taken")
    assert notice not in client.session.notices


def _is_taken(client: Client, topic: str, payload: bytes) -> bool:
    token = client.session.publish(topic, payload)
    with suppress(queue.Empty):
        return token is not None and client.published.get(timeout=2) == (token, True)
    return False


def test_nobody_takes_the_session_of_another_account(broker: Broker) -> None:
    """A broker that binds names, and accounts called like client ids (docs/another-broker.md)."""
    broker.set_up(BrokerSetup(passwords={"ingest-1": "right", "gateway-1": "right", "scale": "right"}, own_names=True))
    options = {"filters": ["t/+"], "persistent": True, "manual_ack": True}
    settings = broker.settings("", "right")  # without a name: that of the client id
    ingest = _up(Client(LeanSession, settings, "ingest-1", **options))
    ingest.session.stop()
    sender = _up(Client(LeanSession, settings, "gateway-1"))
    for number in range(10):
        sender.session.publish("t/a", b"%d" % number)
    assert [sender.published.get(timeout=PATIENCE_S)[1] for _ in range(10)] == [True] * 10
    thieves = [Client(LeanSession, broker.settings("scale", "right"), name) for name in ("ingest-1", "gateway-1")]
    # One broker refuses them, the other calls them by their account's name: harmless both.
    wait_until(lambda: all(thief.session.problem != "not connected yet" for thief in thieves), "the answers to the thieves")
    again = _up(Client(LeanSession, settings, "ingest-1", **options))
    assert again.payloads(10) == [b"%d" % number for number in range(10)]
    assert sender.events == ["connected"]
    for client in (*thieves, again, sender):
        client.session.stop()


def test_nobody_at_home_is_said_in_words(connect: Connect) -> None:
    port = free_port()
    client = connect("early", BrokerSettings(mqtt_port=port))
    wait_until(lambda: client.session.problem == f"no answer from 127.0.0.1:{port}", "the problem in words")
    assert client.session.publish("t", b"x") is None
    client.session.stop()
    assert not client.session.is_running


def test_a_message_too_large_for_the_broker_stops_no_other(broker: Broker) -> None:
    """Over paho it ends the connection each time that it is sent; nothing of ours is so large (256 KiB)."""
    broker.set_up(BrokerSetup(packet_bytes=10_000))
    client = _up(Client(LeanSession, broker.settings(), "large", filters=["t/+"]))
    large = client.session.publish("t/large", b"x" * 20_000)
    small = client.session.publish("t/a", b"x" * 9_000)
    assert dict(client.published.get(timeout=PATIENCE_S) for _ in range(2)) == {large: False, small: True}
    assert client.payloads(1) == [b"x" * 9_000]
    assert any("larger than the broker's limit" in said for said in client.session.notices)
    assert client.events == ["connected"]
    client.session.stop()


def test_what_is_far_too_much_to_wait_is_not_taken(broker: Broker) -> None:
    client = _up(Client(LeanSession, broker.settings(), "eager"))
    broker.pause()
    try:
        payload = b"x" * 1_000_000
        taken = [client.session.publish("t/a", payload) for _ in range(80)]
    finally:
        broker.resume()
    assert taken[0] is not None
    assert taken[-1] is None
    answers = dict(client.published.get(timeout=20) for token in taken if token is not None)
    assert answers == {token: True for token in taken if token is not None}
    client.session.stop()


def _certificate(folder: Path) -> tuple[Path, Path, Path]:
    """CA, and certificate and key of a server at 127.0.0.1."""
    now = datetime.datetime.now(datetime.UTC)

    def sign(name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, ca: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        )
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    paths = folder / "ca.crt", folder / "server.crt", folder / "server.key"
    paths[0].write_bytes(sign("our CA", ca_key, "our CA", ca_key, True))
    paths[1].write_bytes(sign("broker", key, "our CA", ca_key, False))
    paths[2].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def test_tls_with_our_own_authority_and_no_other(connect: Connect, broker: Broker, tmp_path: Path) -> None:
    ca, certificate, key = _certificate(tmp_path)
    for path in (tmp_path, broker.folder, *tmp_path.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    broker.set_up(BrokerSetup(certificate=certificate, key=key))
    settings = broker.settings().model_copy(update={"mqtt_ca": ca})
    client = _up(connect("secret", settings, filters=["t/+"]))
    large = bytes(range(256)) * 400
    for number in range(200):
        client.session.publish("t/a", large if number % 50 == 0 else b"%d" % number)
    assert client.payloads(200) == [large if number % 50 == 0 else b"%d" % number for number in range(200)]

    if isinstance(client.session, PahoSession):
        return  # paho refuses another authority too, and leaves its socket open then.
    (tmp_path / "other").mkdir()
    other, _, _ = _certificate(tmp_path / "other")
    stranger = connect("misled", settings.model_copy(update={"mqtt_ca": other}))
    wait_until(lambda: stranger.session.problem != "not connected yet", "the problem")
    assert not stranger.session.is_connected


def test_authority_and_password_that_are_put_right_mend_without_a_restart(
    session_type: SessionType, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    right, certificate, key = _certificate(tmp_path)
    (tmp_path / "other").mkdir()
    other, _, _ = _certificate(tmp_path / "other")
    mosquitto.set_up(replace(ACCOUNTS, certificate=certificate, key=key))
    trusted, password = tmp_path / "trusted.crt", tmp_path / "password"
    # Over paho a socket stays open where TLS fails.
    trusted.write_bytes((other if session_type is LeanSession else right).read_bytes())
    password.write_text("wrong\n")
    environ = {
        "MILLRACE_MQTT_PORT": str(mosquitto.port),
        "MILLRACE_MQTT_CA": str(trusted),
        "MILLRACE_MQTT_PASSWORD_FILE": str(password),
    }
    client = Client(session_type, load_settings(BrokerSettings, environ), "gateway")
    if session_type is LeanSession:
        wait_until(lambda: "do not agree on TLS" in (client.session.problem or ""), "the distrust in words")
        trusted.write_bytes(right.read_bytes())
    wait_until(lambda: "wrong user name or password" in (client.session.problem or ""), "the refusal in words")
    assert f"{password}, which is read again at each try, must hold what the broker knows" in (client.session.problem or "")
    password.write_text("right\n")
    _up(client)
    client.session.stop()


def test_two_of_one_name_give_way_to_each_other_and_say_so(connect: Connect) -> None:
    options = {"filters": ["t/+"], "persistent": True}
    first = _up(connect("gateway-edge-1", **options))
    second = _up(connect("gateway-edge-1", **options))
    wait_until(lambda: first.session.notices or second.session.notices, "one of them to notice", 30)
    [words] = first.session.notices or second.session.notices
    assert "another gateway with the name edge-1-" in words
    # Each stays away twice as long every time, so that each has had a few turns at most, not dozens.
    assert len(first.events) + len(second.events) <= 20
