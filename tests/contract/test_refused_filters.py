"""A broker that says which topics it does not let us read: the session names them, with the account."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from pydantic import SecretStr

from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks
from millrace_contract.runtime.settings import BrokerSettings
from millrace_contract.testing import wait_until

pytestmark = pytest.mark.process

CONNACK = b"\x20\x03\x00\x00\x00"
SUBACK = b"\x90\x06\xff\xff\x00\x01\x87\x87"
"""To a SUBSCRIBE of three filters: the first is granted."""


@pytest.fixture
def port() -> Iterator[int]:
    """Of a broker that refuses all filters but the first."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            channel, _ = server.accept()
            with channel:
                channel.recv(4096)
                channel.sendall(CONNACK)
                channel.recv(4096)
                channel.sendall(SUBACK)
                while channel.recv(4096):
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.getsockname()[1]
    server.close()
    thread.join(5)


def test_topics_that_the_broker_refuses_to_send_are_named_with_the_account(port: int) -> None:
    settings = BrokerSettings(mqtt_host="127.0.0.1", mqtt_port=port, mqtt_password=SecretStr("x"))
    session = LeanSession(settings, "gateway-edge-1", Callbacks(), filters=["a", "zigbee2mqtt/hall", "tele/x"])
    session.start()
    wait_until(lambda: session.refused_filters, "the refusal")
    assert session.refused_filters == {"zigbee2mqtt/hall", "tele/x"}
    assert session.notices == ["the broker does not let account gateway-edge-1 read tele/x, zigbee2mqtt/hall"]
    session.stop()
