"""Both clients of the broker keep the same promise, whoever made the broker: tests of a session run with each pair."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast

import pytest

from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.paho_session import PahoSession
from millrace_contract.testing import Broker, BrokerSetup

SessionType = type[PahoSession] | type[LeanSession]


@pytest.fixture(params=[PahoSession, LeanSession], ids=["paho", "wire"])
def session_type(request: pytest.FixtureRequest) -> SessionType:
    return cast("SessionType", request.param)


@pytest.fixture(params=["mosquitto", "hivemq"])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """A broker that may have been other tests' too: use clients' names of your own."""
    if request.param == "mosquitto":
        yield request.getfixturevalue("mosquitto")
        return
    hivemq: Broker = request.getfixturevalue("shared_hivemq")
    yield hivemq
    if hivemq.setup != BrokerSetup():
        hivemq.set_up(BrokerSetup())


@pytest.fixture(params=["mosquitto", "hivemq"])
def fresh_broker(request: pytest.FixtureRequest) -> Broker:
    return cast("Broker", request.getfixturevalue(request.param))


RESTARTS = ("killed", "earlier_connection", "hangs", "wrong_password", "refused_publish", "tls")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """HiveMQ starts slowly: what starts it again runs with the client of gateway and ingest only."""
    both = {"paho", "hivemq"}
    slow = [item for item in items if both <= set(re.split(r"[-\[\]]", item.name)) and any(word in item.name for word in RESTARTS)]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]
