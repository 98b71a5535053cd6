"""A Modbus server that tells the truth about its addresses, or misbehaves byte by byte on command."""

from __future__ import annotations

import asyncio
import signal
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from millrace_contract.plant import Device, Profile
from millrace_contract.testing.servers import Mosquitto

from .running import GatewayProcess, Listener
from .watching import Watch

TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}


@dataclass(frozen=True)
class Request:
    """A read as it reached the server."""

    transaction: int
    unit: int
    function: int
    address: int
    count: int

    @property
    def table(self) -> str:
        return TABLES[self.function]


def crc16(data: bytes) -> bytes:
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return struct.pack("<H", crc)


class DeviceServer:
    """Modbus over TCP (or TLS, or RTU frames) on a free port, on a thread of its own.

    Every register holds its own address (input registers: plus 1000), every bit the lowest bit of its address, unless `registers`
    says otherwise. `faults` maps a unit (or None for all) to what goes wrong; what is in `next_faults` comes before, a request
    each. `undefined` are addresses that do not exist, `longest` is what one request may span: `refuses_with` is the exception
    for both, None silence. `quiet_s`: it answers nothing so long after a connection was made. `before` goes out before each
    answer, and the request where it `echoes`. `closes_idle`: each answer is followed by the end of the connection.
    `wide`: addresses of 32 bits each.
    """

    def __init__(self, framing: str = "mbap", tls: ssl.SSLContext | None = None) -> None:
        self.framing = framing
        self.tls = tls
        self.port = 0
        self.requests: list[Request] = []
        self.faults: dict[int | None, str] = {}
        self.table_faults: dict[str, str] = {}
        self.registers: dict[tuple[str, int], int] = {}
        self.undefined: set[tuple[str, int]] = set()
        self.longest = 2000
        self.refuses_with: int | None = 2
        self.next_faults: deque[str] = deque()
        self.quiet_s = 0.0
        self.before = b""
        self.echoes = False
        self.closes_idle = False
        self.wide = range(0)
        self.units: set[int] | None = None
        self.connections = 0
        self.most_at_once = 0
        self._at_once = 0
        self.most_connections: int | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._newest: asyncio.StreamWriter | None = None
        self._late: set[asyncio.Task[None]] = set()

    def start(self) -> DeviceServer:
        if not self._thread.is_alive():
            self._thread.start()
        self._call(self._listen)
        return self

    def stop(self) -> None:
        """Stops listening and drops every connection; the port can be opened again with start()."""
        self._call(self._shut)

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def drop_connections(self) -> None:
        self._call(self._drop)

    def of_unit(self, unit: int) -> list[Request]:
        return [request for request in self.requests if request.unit == unit]

    def _call(self, function: Callable[[], object]) -> None:
        asyncio.run_coroutine_threadsafe(function(), self._loop).result(5)  # type: ignore[arg-type]

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._drop()

    async def _drop(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.most_connections is not None and len(self._writers) >= self.most_connections:
            writer.close()
            return
        self._writers.add(writer)
        self._newest = writer
        connected_s = time.monotonic()
        try:
            while True:
                request = await (self._read_rtu(reader) if self.framing == "rtu" else self._read_mbap(reader))
                self.requests.append(request)
                fault = self.table_faults.get(request.table) or self.faults.get(request.unit) or self.faults.get(None) or ""
                if self.next_faults:
                    fault = self.next_faults.popleft()
                if self.units is not None and request.unit not in self.units:
                    fault = "silent"
                if time.monotonic() < connected_s + self.quiet_s or (self._refuses(request) and self.refuses_with is None):
                    fault = "silent"
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
                try:
                    await self._answer(request, fault, writer)
                finally:
                    self._at_once -= 1
                if self.closes_idle:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _read_mbap(self, reader: asyncio.StreamReader) -> Request:
        transaction, _, _, unit, function, address, count = struct.unpack(">HHHBBHH", await reader.readexactly(12))
        return Request(transaction, unit, function, address, count)

    async def _read_rtu(self, reader: asyncio.StreamReader) -> Request:
        frame = await reader.readexactly(8)
        assert crc16(frame[:6]) == frame[6:]
        return Request(0, *struct.unpack(">BBHH", frame[:6]))

    def _refuses(self, request: Request) -> bool:
        span = range(request.address, request.address + request.count)
        return request.count > self.longest or any((request.table, address) in self.undefined for address in span)

    def _pdu(self, request: Request) -> bytes:
        span = range(request.address, request.address + request.count)
        if self._refuses(request):
            return bytes([request.function | 0x80, self.refuses_with or 2])
        if request.function in (1, 2):
            packed = bytearray((request.count + 7) // 8)
            for index, address in enumerate(span):
                packed[index >> 3] |= (self.registers.get((request.table, address), address) & 1) << (index & 7)
            data = bytes(packed)
        elif request.address in self.wide:
            values = [self.registers.get((request.table, address), address << 16 | address) for address in span]
            data = struct.pack(f">{len(values)}I", *values)
        else:
            base = 1000 if request.table == "input" else 0
            words = [self.registers.get((request.table, address), address + base) & 0xFFFF for address in span]
            data = struct.pack(f">{len(words)}H", *words)
        return bytes([request.function, len(data)]) + data

    def _frame(self, request: Request, pdu: bytes) -> bytes:
        if self.framing in ("mbap", "unnumbered"):
            transaction = request.transaction if self.framing == "mbap" else 0
            return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, request.unit) + pdu
        return (frame := bytes([request.unit]) + pdu) + crc16(frame)

    async def _answer(self, request: Request, fault: str, writer: asyncio.StreamWriter) -> None:
        kind, _, argument = fault.partition(":")
        frame = self._frame(request, self._pdu(request))
        if kind == "silent":
            return
        if kind == "close":
            writer.transport.abort()
            raise ConnectionResetError
        if kind in ("late", "late_exception"):
            seconds, _, code = argument.partition(":")
            await asyncio.sleep(float(seconds))
            kind, argument = ("exception", code) if code else ("", "")
        if kind == "elsewhere":  # what stands between keeps the answer, and hands it to whoever is connected then
            self._late.add(asyncio.create_task(self._answer_newest(frame, float(argument))))
            return
        if kind == "dribbled":
            for index in range(len(frame)):
                writer.write(frame[index : index + 1])
                await writer.drain()
                await asyncio.sleep(0.001)
            return
        echo = struct.pack(">BBHH", request.unit, request.function, request.address, request.count) if self.echoes else b""
        writer.write((echo + crc16(echo) if echo else b"") + self.before + self._spoiled(request, frame, kind, argument))
        await writer.drain()
        if kind == "again":
            await asyncio.sleep(float(argument))
            writer.write(frame)

    async def _answer_newest(self, frame: bytes, after_s: float) -> None:
        await asyncio.sleep(after_s)
        if self._newest is not None:
            self._newest.write(frame)

    def _spoiled(self, request: Request, frame: bytes, kind: str, argument: str) -> bytes:
        """The answer as this fault leaves it."""
        pdu = self._pdu(request)
        match kind:
            case "exception":
                return self._frame(request, bytes([request.function | 0x80, int(argument)]))
            case "wrong_function":
                return self._frame(request, bytes([int(argument or 4)]) + pdu[1:])
            case "wrong_unit":
                return self._frame(replace(request, unit=request.unit + 1), pdu)
            case "wrong_transaction":
                return self._frame(replace(request, transaction=request.transaction + 7), pdu)
            case "fewer":  # a well-formed answer with one register less than asked
                return self._frame(request, bytes([pdu[0], pdu[1] - 2]) + pdu[2:-2])
            case "lying":  # announces more than it holds
                return self._frame(request, bytes([pdu[0], pdu[1] + 2]) + pdu[2:])
            case "padded":  # bits in whole registers
                return self._frame(request, bytes([pdu[0], pdu[1] + pdu[1] % 2]) + pdu[2:] + bytes(pdu[1] % 2))
            case _:
                return _spoiled_bytes(frame, kind)


def _spoiled_bytes(frame: bytes, kind: str) -> bytes:
    match kind:
        case "truncated":
            return frame[:-3]
        case "garbage":
            return b"HTTP/1.1 400 Bad Request\r\n\r\n"
        case "duplicated":
            return frame * 2
        case "long_header":  # says one byte more than comes
            return frame[:5] + bytes([frame[5] + 1]) + frame[6:]
        case "short_header":
            return frame[:5] + bytes([frame[5] - 1]) + frame[6:]
        case "flipped":
            return frame[:-3] + bytes([frame[-3] ^ 0x10]) + frame[-2:]
        case _:
            return frame


@pytest.fixture
def device_server() -> Iterator[Callable[..., DeviceServer]]:
    """Starts servers; all are closed at the end of the test."""
    servers: list[DeviceServer] = []

    def start(framing: str = "mbap", tls: ssl.SSLContext | None = None) -> DeviceServer:
        server = DeviceServer(framing, tls).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def make_profile() -> Callable[..., Profile]:
    """A profile of these signals, as a plant would write them."""

    def make(
        signals: dict[str, dict[str, object]],
        groups: dict[str, float] | None = None,
        atomic: list[list[str]] | None = None,
        limits: dict[str, int] | None = None,
        order: str = "ABCD",
        *,
        tolerate: list[str] | None = None,
    ) -> Profile:
        return Profile.model_validate(
            {
                "name": "test-device",
                "title": "Test device",
                "source": "test",
                "verified": "no",
                "order": order,
                "groups": {name: {"interval_s": s} if s else {"once": True} for name, s in (groups or {"fast": 1.0}).items()},
                "signals": signals,
                "atomic": atomic or [],
                "limits": limits or {},
                "tolerate": tolerate or [],
            }
        )

    return make


@pytest.fixture
def make_device() -> Callable[..., Device]:
    """A device of line1 that is reached at this port."""

    def make(port: int, device_id: str = "M-1", unit: int = 1, timeout_s: float = 0.2, **more: object) -> Device:
        connection = {"host": "127.0.0.1", "port": port, "unit": unit, "timeout_s": timeout_s, **more}
        return Device.model_validate({"id": device_id, "line": "line1", "profile": "test-device", "connection": connection})

    return make


PLANT = """
root: factory
time_zone: UTC
lines:
  line1:
    devices:
{devices}
"""
DEVICE = """
      {id}:
        profile: test-device
        connection: {{host: 127.0.0.1, port: {port}, unit: {unit}, timeout_s: 0.5}}
        tags: {{station: ST1}}
"""
PROFILE = """
title: Test device
source: test
verified: no
groups: {fast: {interval_s: 0.05}, slow: {interval_s: 0.5}}
signals:
  counter: {address: 10, type: uint16}
  temperature: {table: input, address: 100, type: float32, unit: Cel, group: slow}
  door_open: {table: discrete, address: 3, type: bit}
"""


@pytest.fixture
def plant_folder(tmp_path: Path) -> Callable[..., Path]:
    """A configuration folder with these devices, each (id, port, unit), all of one small profile."""

    def write(*devices: tuple[str, int, int], profile: str = PROFILE) -> Path:
        folder = tmp_path / "config"
        (folder / "profiles").mkdir(parents=True, exist_ok=True)
        entries = "".join(DEVICE.format(id=name, port=port, unit=unit) for name, port, unit in devices)
        (folder / "plant.yaml").write_text(PLANT.format(devices=entries))
        (folder / "profiles" / "test-device.yaml").write_text(profile)
        return folder

    return write


@pytest.fixture
def run_gateway(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Callable[..., GatewayProcess]]:
    started: list[GatewayProcess] = []

    def start(config: Path, **environment: str) -> GatewayProcess:
        process = GatewayProcess(tmp_path, config, mosquitto, **environment).start()
        started.append(process)
        return process

    yield start
    for each in started:
        if each.process is not None and each.process.poll() is None:
            each.end(signal.SIGKILL)


@pytest.fixture
def listen(mosquitto: Mosquitto) -> Iterator[Callable[..., Listener]]:
    started: list[Listener] = []

    def start(*, confirms: bool = False) -> Listener:
        listener = Listener(mosquitto, confirms=confirms)
        started.append(listener)
        return listener

    yield start
    for each in started:
        each.session.stop()
