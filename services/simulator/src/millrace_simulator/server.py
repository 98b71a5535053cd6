"""The Modbus servers: one listener a port, one task a connection. Written from the specification rather than taken from a
library, because faults are injected byte by byte and the truth is kept for exactly what went out."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.logs import get_logger
from millrace_contract.runtime.metrics import Counter, Gauge

from .devices import SimulatedDevice, SimulatedPlant
from .faults import UNSERVED_KINDS, Delivery, Fault, FaultKind, deliver, ignores, refusal, too_large
from .frames import (
    DEVICE_FAILURE,
    HEADER,
    MAX_FRAME_BYTES,
    NO_RESPONSE,
    RTU_REQUEST_BYTES,
    Framing,
    ModbusError,
    ModbusRequest,
    checksum,
    exception_pdu,
    frame,
    parse_request,
)

IDLE_LIMIT_S = 600.0
"""A connection without a request for so long is closed, as PLCs do."""
MAX_CONNECTIONS = 64
"""A listener with more connections than this closes each further one at once."""
ACCEPTING_TURNS = 4
"""Turns of asyncio's loop from accepting a connection to the first line of its task."""
WAITED_S = 0.001
"""A request that is read within this time had come before: it waited behind an answer that was late."""

_log = get_logger(__name__)
_requests = Counter("millrace_sim_requests_total", "Requests that came in", ["device"])
_faulted = Counter("millrace_sim_faulted_total", "Requests that a fault has hit", ["device", "kind"])
_connections = Gauge("millrace_sim_connections", "Open Modbus connections")


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    opened_ms: int
    late: Fault | None = None
    """The fault that made the last answer late: whoever asked next may have given up meanwhile."""


class ModbusListener:
    """One port, with the devices behind it by unit id; those that share a port share their transport, too."""

    def __init__(
        self,
        host: str,
        port: int,
        devices: dict[int, SimulatedDevice],
        plant: SimulatedPlant,
        clock: Clock,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.port = port
        self.devices = devices
        transport = next(iter(devices.values())).transport
        self._framing = Framing.RTU if transport == "rtu_over_tcp" else Framing.MBAP
        self._tls = tls if transport == "tls" else None
        self._host = host
        self._plant = plant
        self._clock = clock
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._truth_fails = False

    @property
    def is_listening(self) -> bool:
        return self._server is not None

    async def start(self) -> None:
        """Raises OSError when the port is in use. Port 0 takes a free one."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, self._host, self.port, ssl=self._tls)
            self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse new connections and cut the open ones."""
        server, self._server = self._server, None
        if server is not None:
            # asyncio loses a connection that it has accepted when its server is closed in the same turn: stop accepting first.
            for listening in server.sockets:
                asyncio.get_running_loop().remove_reader(listening)
            for _ in range(ACCEPTING_TURNS):
                await asyncio.sleep(0)
            server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def follow_faults(self) -> None:
        """Close the port while a device behind it refuses connections, and open it afterwards. Called each tick."""
        now_ms = self._clock.now_ms()
        faults = [self._plant.faults.on(device.id, now_ms) for device in self.devices.values()]
        refuses = any(fault is not None and fault.kind in (FaultKind.REFUSE, FaultKind.POWER_OFF) for fault in faults)
        if refuses and self.is_listening:
            await self.stop()
        elif not refuses and not self.is_listening:
            await self.start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.is_listening or len(self._open) >= self._most_connections():
            writer.transport.abort()
            return
        self._open.add(writer)
        _connections.inc()
        connection = _Connection(reader, writer, self._clock.now_ms())
        try:
            while await self._serve_one(connection):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            pass  # The client has gone, or has nothing more to say.
        finally:
            self._open.discard(writer)
            _connections.dec()
            writer.close()

    def _most_connections(self) -> int:
        now_ms = self._clock.now_ms()
        faults = [self._plant.faults.on(device.id, now_ms) for device in self.devices.values()]
        return min([MAX_CONNECTIONS, *(fault.count for fault in faults if fault is not None and fault.kind is FaultKind.CROWDED)])

    def _is_half_open(self, opened_ms: int) -> bool:
        """Has a connection of this age lost us without noticing?"""
        now_ms = self._clock.now_ms()
        begun = (self._plant.faults.since_ms(device.id, FaultKind.HALF_OPEN, now_ms) for device in self.devices.values())
        return any(since_ms is not None and opened_ms < since_ms for since_ms in begun)

    async def _serve_one(self, connection: _Connection) -> bool:
        """One request; False when the connection is to be closed."""
        read = _read_rtu if self._framing is Framing.RTU else _read_mbap
        waiting_s = self._clock.monotonic_s()
        request = await read(connection.reader)
        if request is None:
            return False  # Not Modbus: there is no telling where the next frame begins.
        if self._is_half_open(connection.opened_ms):
            await self._take_and_forget(connection.reader)
            return False
        late = connection.late if self._clock.monotonic_s() - waiting_s < WAITED_S else None
        connection.late, delivery = self._answer(*request, late, connection.opened_ms)
        for pause_s, chunk in delivery.chunks:
            if pause_s:
                await asyncio.sleep(pause_s)
            connection.writer.write(chunk)
            await connection.writer.drain()
        return not delivery.closes

    async def _take_and_forget(self, reader: asyncio.StreamReader) -> None:
        """As a server behind a firewall that has dropped the connection: until the client gives up."""
        while await asyncio.wait_for(reader.read(65_536), IDLE_LIMIT_S):
            pass

    def _answer(self, transaction: int, unit: int, pdu: bytes, late: Fault | None, opened_ms: int) -> tuple[Fault | None, Delivery]:
        """The answer, and the fault that makes it late; `late` is that of the answer before, where this request waited for it."""
        device = self.devices.get(unit)
        if device is None:  # On a serial line nobody speaks for those who are not there.
            nobody = frame(transaction, unit, exception_pdu(pdu[0], NO_RESPONSE)) if self._framing is Framing.MBAP else None
            return None, _whole(nobody)
        _requests.labels(device.id).inc()
        try:
            request = parse_request(transaction, unit, pdu, self._framing)
        except ModbusError as error:
            refused = ModbusRequest(transaction, unit, pdu[0], 0, 0, self._framing).answer(exception_pdu(pdu[0], error.code))
            return None, _whole(refused)
        now_ms = self._clock.now_ms()
        fault = self._plant.faults.hit(device.id, now_ms)
        if fault is not None:
            _faulted.labels(device.id, fault.kind.value).inc()
            if ignores(fault, request, now_ms - opened_ms):
                return None, _whole(None)
            if fault.kind in UNSERVED_KINDS:
                delivery = refusal(fault, request)
                return fault if delivery.is_late else None, delivery
            if (too_much := too_large(fault, request)) is not None:
                return None, _whole(too_much)
        delivery = deliver(fault, request, self._served(device, request, now_ms, fault or late))
        return fault if delivery.is_late else late, delivery

    def _served(self, device: SimulatedDevice, request: ModbusRequest, now_ms: int, fault: Fault | None) -> bytes:
        try:
            pdu = self._plant.serve(device, request, now_ms, fault)
        except ModbusError as error:
            pdu = exception_pdu(request.function, error.code)
        except OSError as error:
            # What the truth does not hold must not be answered: the score could not tell it from an invention.
            pdu = exception_pdu(request.function, DEVICE_FAILURE)
            if not self._truth_fails:
                _log.error("truth_not_written", error=str(error), answered_with=f"exception {DEVICE_FAILURE}")
            self._truth_fails = True
        else:
            self._truth_fails = False
        return pdu


def _whole(answer: bytes | None) -> Delivery:
    return Delivery(() if answer is None else ((0.0, answer),))


async def _read_mbap(reader: asyncio.StreamReader) -> tuple[int, int, bytes] | None:
    """Transaction id, unit id and PDU of the next request; None for what is no Modbus."""
    transaction, protocol, length, unit = HEADER.unpack(await asyncio.wait_for(reader.readexactly(HEADER.size), IDLE_LIMIT_S))
    if protocol != 0 or not 2 <= length <= MAX_FRAME_BYTES - 6:
        return None
    return transaction, unit, await asyncio.wait_for(reader.readexactly(length - 1), IDLE_LIMIT_S)


async def _read_rtu(reader: asyncio.StreamReader) -> tuple[int, int, bytes] | None:
    """The same of a serial frame, which has no transaction id. Only requests as long as those of reads are known."""
    request = await asyncio.wait_for(reader.readexactly(RTU_REQUEST_BYTES), IDLE_LIMIT_S)
    if checksum(request[:-2]) != int.from_bytes(request[-2:], "little"):
        return None
    return 0, request[0], request[1:-2]


def listeners(plant: SimulatedPlant, host: str, clock: Clock, tls: ssl.SSLContext | None = None) -> list[ModbusListener]:
    """One for each port of the plant's devices."""
    by_port: dict[int, dict[int, SimulatedDevice]] = {}
    for device in plant.devices.values():
        by_port.setdefault(device.port, {})[device.unit] = device
    return [ModbusListener(host, port, devices, plant, clock, tls=tls) for port, devices in sorted(by_port.items())]


async def start_all(servers: list[ModbusListener], say: Callable[[ModbusListener, OSError], None]) -> bool:
    """Start every listener, or none: `say` is told of each that can't, and False is returned."""
    failed = False
    for server in servers:
        try:
            await server.start()
        except OSError as error:
            failed = True
            say(server, error)
    if failed:
        for server in servers:
            with contextlib.suppress(OSError):
                await server.stop()
    return not failed
