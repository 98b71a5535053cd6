"""Healthy means that it works: each service, as its shell runs it, with a step of its own that fails for a minute of the clock."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from millrace_alerts.service import AlertsService
from millrace_alerts.service import load_configuration as load_alerts
from millrace_alerts.settings import AlertsSettings
from millrace_contract.plant import load_plant
from millrace_contract.plant.accepted import load_accepted
from millrace_contract.runtime.serving import LoopService, Service
from millrace_contract.store_forward import sqlite
from millrace_contract.testing import ManualClock, free_port, wait_until
from millrace_gateway.fleet import load_fleet
from millrace_gateway.service import GatewayService
from millrace_gateway.settings import GatewaySettings
from millrace_ingest.rollup.service import RollupService
from millrace_ingest.service import IngestService
from millrace_ingest.settings import IngestSettings, RollupSettings
from millrace_oee.plan import load_plan
from millrace_oee.service import OeeService
from millrace_oee.settings import OeeSettings
from millrace_simulator.control import send
from millrace_simulator.faults import Fault, FaultKind
from millrace_simulator.run import Simulator
from millrace_simulator.settings import SimulatorSettings

from .conftest import Commands

pytestmark = pytest.mark.process


class Bench:
    """One service in this process, on a clock that moves when told; nobody answers as broker, `database` as database."""

    def __init__(self, commands: Commands, database: str) -> None:
        commands.data.mkdir()
        self.data = commands.data
        self.clock = ManualClock()
        self.port = free_port()
        self.common: dict[str, Any] = {"config": commands.config, "data": commands.data, "http_port": self.port}
        self.broker = {"mqtt_port": free_port()}
        self.database = {"influx_url": database, "influx_token": SecretStr("some-token")}

    def construct(self, name: str) -> Service:
        everything = {**self.common, **self.broker, **self.database}
        if name == "ingest":
            return IngestService(IngestSettings(**everything), self.clock)
        if name == "rollup":
            return RollupService(RollupSettings(**everything), clock=self.clock)
        if name == "oee":
            return OeeService(OeeSettings(**everything), load_accepted(*self._folders, load_plan), self.clock)
        tokens = self.data / "tokens.json"
        tokens.write_text('{"tokens": []}')
        settings = AlertsSettings(**everything, api_tokens_file=tokens)
        return AlertsService(settings, load_accepted(*self._folders, load_alerts), self.clock)

    def construct_on_loop(self, name: str) -> LoopService:
        if name == "simulator":
            return Simulator(SimulatorSettings(**self.common), self.clock)
        settings = GatewaySettings(**self.common, **self.broker)
        accepted = load_accepted(*self._folders, lambda folder: load_fleet(folder, settings.instance))
        return GatewayService(settings, accepted, self.clock)

    @property
    def _folders(self) -> tuple[Path, Path]:
        return self.common["config"], self.common["data"]

    @contextmanager
    def serving(self, name: str) -> Iterator[None]:
        run = self._run_on_loop if name in ("gateway", "simulator") else self._run
        stop = threading.Event()
        thread = threading.Thread(target=run, args=(name, stop))
        thread.start()
        try:
            wait_until(lambda: self.live()[0], f"{name} to answer", 30)
            yield
        finally:
            stop.set()
            thread.join(30)
        assert not thread.is_alive()

    def live(self) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/live", timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except OSError:
            return 0, {}

    def pass_half_a_minute(self) -> None:
        """Every loop has turned when this returns: none is silent because the clock leapt."""
        self.clock.advance(30)
        wait_until(lambda: all(age_s < 30 for age_s in self.live()[1]["last_turn_s"].values()), "every loop to turn", 60)

    def wait_unhealthy(self) -> dict[str, str]:
        """Which steps fail, and why. Nothing is unhealthy within the first minute."""
        assert self.live()[0] == 200
        deadline_s = time.monotonic() + 180
        while not (failing := self.live()[1]["failing"]):
            assert time.monotonic() < deadline_s, "it looks healthy"
            self.pass_half_a_minute()
        assert self.live()[0] == 503
        steps: dict[str, str] = failing
        return steps

    def _run(self, name: str, stop: threading.Event) -> None:
        service = self.construct(name)
        try:
            service.start()
            service.run(stop)
        finally:
            service.stop()

    def _run_on_loop(self, name: str, stop: threading.Event) -> None:
        async def serve() -> None:
            stopping = asyncio.Event()
            service = self.construct_on_loop(name)
            try:
                await service.start()
                served = asyncio.create_task(service.run(stopping))
                await asyncio.to_thread(stop.wait)
                stopping.set()
                await served
            finally:
                await service.stop()

        asyncio.run(serve())


@pytest.fixture
def refusing() -> Iterator[str]:
    """The address of a database that takes no token."""

    class Refuses(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b'{"code":"unauthorized","message":"unauthorized access"}'
            self.send_response(401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
            """No news."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.fixture
def bench(commands: Commands) -> Callable[[str], Bench]:
    return lambda database: Bench(commands, database)


@pytest.mark.parametrize(("name", "step"), [("ingest", "store"), ("rollup", "roll up"), ("oee", "read back")])
def test_a_database_that_answers_and_refuses_is_unhealthy(
    bench: Callable[[str], Bench], refusing: str, name: str, step: str
) -> None:
    tried = bench(refusing)
    with tried.serving(name):
        failing = tried.wait_unhealthy()
        assert "401" in failing[step]
        assert "MILLRACE_INFLUX_TOKEN" in failing[step]


@pytest.mark.parametrize("name", ["ingest", "rollup", "oee", "alerts", "gateway", "simulator"])
def test_a_day_without_broker_database_and_device_is_healthy(bench: Callable[[str], Bench], name: str) -> None:
    tried = bench(f"http://127.0.0.1:{free_port()}")
    with tried.serving(name):
        for _ in range(4):
            tried.pass_half_a_minute()
            code, body = tried.live()
            assert (code, body["failing"]) == (200, {})


@pytest.mark.parametrize(("name", "file"), [("oee", "oee.db"), ("gateway", "outbox.sqlite")])
def test_a_store_that_takes_nothing_is_unhealthy(
    bench: Callable[[str], Bench], name: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_TIMEOUT_S", 0.1)  # Else each of many attempts takes 5 s.
    tried = bench(f"http://127.0.0.1:{free_port()}")
    with tried.serving(name), closing(sqlite3.connect(tried.data / file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "locked" in tried.wait_unhealthy()["commit"]


def test_a_simulator_that_cannot_open_a_port_again_is_unhealthy(bench: Callable[[str], Bench]) -> None:
    tried = bench("http://127.0.0.1:1")
    place = ("127.0.0.1", load_plant(tried.common["config"]).devices["M-1"].connection.port)
    with tried.serving("simulator"), socket.socket() as taken:
        send(f"http://127.0.0.1:{tried.port}", "POST", Fault(device="M-1", kind=FaultKind.REFUSE, seconds=20))
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wait_until(lambda: _binds(taken, place), "the port to be closed")
        taken.listen()
        assert f"port {place[1]} cannot be opened again" in tried.wait_unhealthy()["listen"]


def _binds(taken: socket.socket, place: tuple[str, int]) -> bool:
    try:
        taken.bind(place)
    except OSError:
        return False
    return True
