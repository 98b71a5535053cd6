"""Each message is acknowledged to the broker once, whether the gateway hears sensors or not."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millrace_contract.runtime.clock import SystemClock
from millrace_contract.testing.servers import wait_until
from millrace_gateway.fleet import load_fleet
from millrace_gateway.settings import GatewaySettings
from millrace_gateway.uplink import Uplink

from .sensor_plant import sensor_config

pytestmark = pytest.mark.process
STORED = b"factory/_platform/stored/edge-1"


class CountingBroker:
    """Lets one client in, sends it confirmations with the packet identifiers 7 and 8, and notes what is acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: list[int] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._thread.join(10)
        self._server.close()

    def _serve(self) -> None:
        channel, _ = self._server.accept()
        with channel:
            self._talk(channel)

    def _talk(self, channel: socket.socket) -> None:
        channel.recv(4096)
        channel.sendall(b"\x20\x03\x00\x00\x00")
        channel.recv(4096)
        body = b'{"stream":"edge-1.a","seqs":[[1,1]]}'
        for mid in (7, 8):
            rest = len(STORED).to_bytes(2, "big") + STORED + mid.to_bytes(2, "big") + b"\0" + body
            channel.sendall(bytes([0x32, len(rest)]) + rest)
        while data := channel.recv(4096):
            self.acknowledged += [packet[-1] for packet in re.findall(rb"\x40\x02\x00[\x07\x08]", data)]


@pytest.mark.parametrize("has_sensors", [False, True])
def test_a_confirmation_is_acknowledged_once(plant_folder: Callable[..., Any], tmp_path: Path, has_sensors: bool) -> None:
    config = sensor_config(tmp_path) if has_sensors else plant_folder(("M-1", 502, 1))
    broker = CountingBroker()
    settings = GatewaySettings(config=config, data=tmp_path / "data", mqtt_port=broker.port)
    settings.data.mkdir()
    uplink = Uplink(
        settings,
        load_fleet(config, "edge-1"),
        SystemClock(),
        lambda: None,
        on_session=lambda: None,
        on_sensor=lambda _received: None,
    )

    async def run() -> None:
        uplink.start_outbox()
        uplink.start_session()
        await asyncio.to_thread(wait_until, lambda: 8 in broker.acknowledged, "the second acknowledgement")
        uplink.stop(5)

    asyncio.run(run())
    broker.close()
    assert broker.acknowledged == [7, 8]
