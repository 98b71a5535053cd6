from __future__ import annotations

from pathlib import Path

import pytest

from millrace_admin.broker_config import LocalBroker, localised

BROKER = LocalBroker(Path("/s"), Path("/d"), "me", port=4001, tls_port=4002)


def test_places_ports_and_user_are_replaced() -> None:
    text = "listener 1883\nlistener 8883\ncertfile /run/secrets/millrace/server.crt\npersistence_location /mosquitto/data/\n"
    assert localised(text, BROKER).splitlines() == [
        "listener 4001 127.0.0.1",
        "listener 4002 127.0.0.1",
        "certfile /s/server.crt",
        "persistence_location /d/",
        "",
        "user me",
    ]


def test_a_file_without_what_must_be_replaced_is_refused() -> None:
    with pytest.raises(ValueError, match="listener 8883"):
        localised("listener 1883\n/run/secrets/millrace\n/mosquitto/data\n", BROKER)
