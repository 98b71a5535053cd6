"""Both clients of the broker keep the same promise: tests of a session run with each."""

from __future__ import annotations

from typing import cast

import pytest

from millrace_contract.runtime.mqtt import MqttSession
from millrace_contract.runtime.wire_session import WireSession

SessionType = type[MqttSession] | type[WireSession]


@pytest.fixture(params=[MqttSession, WireSession], ids=["paho", "wire"])
def session_type(request: pytest.FixtureRequest) -> SessionType:
    return cast("SessionType", request.param)
