"""The one module that imports pymodbus: a connection that reads tables, and nothing else.

pymodbus builds the requests, frames them, and cuts what comes into frames (lengths, checksums, serial ports). Its client is not
used: it costs more than the rest of a read together, and leaves open what is decided here: one try a request, each answer checked
(transaction, unit, function, length), a lost connection noticed at once, and a stream that may be out of step closed. There is no
way to write through it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from typing import Final

from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest
from pymodbus.transport.serialtransport import create_serial_connection

from .endpoint import Endpoint
from .faults import UNIT_BEHIND_GATEWAY_SILENT, ConnectionDropped, NoAnswer, NotConnected, Refused, WrongAnswer

# pymodbus logs what we turn into typed faults, once a request; its last words would only repeat ours.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)

SILENCES_BEFORE_CLOSE: Final = 2
"""Requests without an answer, none answered between, after which a TCP connection counts as half-open."""

_MBAP_BYTES: Final = 7
_LARGEST_FRAME: Final = 264
_TRANSACTIONS: Final = 65_000
_EXCEPTION: Final = 0x80

_REQUESTS: Final[dict[int, type[ModbusPDU]]] = {
    1: ReadCoilsRequest,
    2: ReadDiscreteInputsRequest,
    3: ReadHoldingRegistersRequest,
    4: ReadInputRegistersRequest,
}


class _Stream(asyncio.Protocol):
    """An open connection, the request under way on it, and the bytes that came since. Belongs to the event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        decoder = DecodePDU(is_server=False)
        self._framer = FramerRTU(decoder) if endpoint.is_rtu else FramerSocket(decoder)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._is_rtu = endpoint.is_rtu
        self._answer: asyncio.Future[bytes] | None = None
        self._unit = 0
        self._transaction = 0
        self._held = b""
        self._gave_up = False
        self.is_in_step = True
        self.sent: bytes = b""
        self.received = b""
        """What came since the last request was sent, as far as it is one piece with the last bytes."""

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    async def ask(self, unit: int, request: bytes, timeout_s: float) -> bytes:
        """The PDU of the answer to the PDU `request`. Raises TimeoutError, ConnectionDropped, WrongAnswer for what is no read."""
        assert self._transport is not None  # noqa: S101 - the caller has looked
        self._unit = unit
        self._transaction = 0 if self._is_rtu else self._transaction % _TRANSACTIONS + 1
        self.received = b""
        self.sent = self._framer.encode(request, unit, self._transaction)
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self._answer = answer
        timer = self._loop.call_later(timeout_s, self._give_up)
        try:
            self._transport.write(self.sent)
            return await answer
        finally:
            self._answer = None
            timer.cancel()

    def close(self) -> None:
        """At once, without waiting for what is still on its way."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - TCP, TLS and serial are
        self._transport = transport

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._fail(ConnectionDropped("closed", "the device closed the connection before it answered"))

    def data_received(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
        self.received = data
        if self._is_rtu and self._answer is None:
            # RTU has no transaction number: bytes that nobody asked for would be taken for the next answer.
            self.is_in_step = False
            return
        while data:
            used, unit, transaction, pdu = self._framer.decode(data)
            if not used:
                break
            data = data[used:]
            if unit == self._unit and self._is_ours(transaction) and pdu:
                self._take(pdu)
        self._held = data if len(data) <= _LARGEST_FRAME else b""

    def _is_ours(self, transaction: int) -> bool:
        """Whether an answer is for the request under way. A device without numbers says 0: believed until one may be late."""
        return transaction == self._transaction or (transaction == 0 and not self._gave_up)

    def _take(self, pdu: bytes) -> None:
        if pdu[0] & ~_EXCEPTION not in _REQUESTS:
            self._fail(WrongAnswer("garbled", f"answered function {pdu[0]}, which is no read"))
        elif len(pdu) < 2:
            self._fail(WrongAnswer("garbled", "answered a frame without data"))
        elif self._answer is not None and not self._answer.done():
            self._answer.set_result(pdu)

    def _give_up(self) -> None:
        self._gave_up = True
        self._fail(TimeoutError())

    def _fail(self, fault: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(fault)


class ModbusConnection:
    """One connection to one endpoint. Requests on it go one after the other; it belongs to one asyncio task."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._stream: _Stream | None = None
        self._requests: dict[tuple[int, int, int], bytes] = {}
        self._silences = 0

    @property
    def is_connected(self) -> bool:
        """Whether the next read has a connection that is open and in step."""
        stream = self._stream
        return stream is not None and stream.is_open and stream.is_in_step

    async def connect(self, timeout_s: float) -> None:
        """A fresh connection, the old one closed. Raises NotConnected with the reason in words."""
        self.close()
        stream = _Stream(self.endpoint)
        try:
            async with asyncio.timeout(timeout_s):
                await self._open(stream, timeout_s)
        except OSError as error:
            stream.close()
            raise _not_connected(self.endpoint, error, timeout_s) from error
        self._stream = stream
        self._silences = 0

    def close(self) -> None:
        """Lets go of the connection at once, without waiting for what is still on its way. Safe to repeat."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    async def read(self, unit: int, function_code: int, address: int, count: int, timeout_s: float) -> bytes:
        """The data bytes of the answer, of exactly the length that `count` registers or bits need.

        Raises NotConnected (also when connect() was never called), ConnectionDropped, NoAnswer, Refused or WrongAnswer. Nothing
        is tried twice. After a fault that may have left bytes of an old answer behind, the connection is closed.
        """
        stream = self._stream
        if stream is None or not self.is_connected:
            self.close()
            raise NotConnected("closed", f"no connection to {self.endpoint}")
        request = self._requests.get((function_code, address, count)) or self._request(function_code, address, count)
        try:
            answer = await stream.ask(unit, request, timeout_s)
        except (ConnectionDropped, WrongAnswer):
            self.close()
            raise
        except TimeoutError as error:
            raise self._silence(stream, timeout_s) from error
        self._silences = 0
        return self._checked(answer, function_code, count)

    async def _open(self, stream: _Stream, timeout_s: float) -> None:
        loop, end = asyncio.get_running_loop(), self.endpoint
        if end.transport == "serial":
            transport, _ = await create_serial_connection(
                loop,
                lambda: stream,
                end.host,
                baudrate=end.baud_rate,
                bytesize=8,
                parity=end.parity,
                stopbits=end.stop_bits,
                timeout=timeout_s,
            )
            stream.connection_made(transport)  # Only the next turn of the loop would say so.
        else:
            context = _tls_context(end) if end.transport == "tls" else None
            await loop.create_connection(lambda: stream, end.host, end.port, ssl=context)

    def _request(self, function_code: int, address: int, count: int) -> bytes:
        """Its PDU, built once."""
        pdu = bytes([function_code]) + _REQUESTS[function_code](address=address, count=count).encode()
        self._requests[function_code, address, count] = pdu
        return pdu

    def _checked(self, answer: bytes, function_code: int, count: int) -> bytes:
        """The data of an answer that has the right unit and transaction."""
        if answer[0] & ~_EXCEPTION != function_code:
            self.close()
            raise WrongAnswer("mismatched", f"answered function {answer[0]}, function {function_code} was asked")
        if answer[0] & _EXCEPTION:
            fault = Refused(answer[1])
            if fault.code in UNIT_BEHIND_GATEWAY_SILENT:
                raise NoAnswer(fault.kind, fault.reason)
            raise fault
        expected = (count + 7) // 8 if function_code in (1, 2) else 2 * count
        if answer[1] != expected or len(answer) != expected + 2:
            came = min(answer[1], len(answer) - 2)
            raise WrongAnswer("short", f"answered {came} bytes of data where {expected} were asked for")
        return answer[2:]

    def _silence(self, stream: _Stream, timeout_s: float) -> NoAnswer | WrongAnswer:
        """Nothing usable came in time: say what did come, and close a stream that a late answer could put out of step."""
        self._silences += 1
        if self.endpoint.is_rtu or stream.received or self._silences >= SILENCES_BEFORE_CLOSE:
            self.close()
        if not stream.received:
            return NoAnswer("timeout", f"no answer within {timeout_s:g} s")
        if self.endpoint.is_rtu:
            return WrongAnswer("garbled", f"{len(stream.received)} bytes came that are no whole answer with a right checksum")
        return _explain_frame(stream.sent, stream.received)


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=endpoint.ca_file)
        if endpoint.certificate_file:
            context.load_cert_chain(endpoint.certificate_file, endpoint.key_file)
    except OSError as error:
        files = ", ".join(filter(None, (endpoint.ca_file, endpoint.certificate_file, endpoint.key_file)))
        raise NotConnected("tls", f"the TLS files {files} cannot be used: {error}") from error
    return context


def _not_connected(endpoint: Endpoint, error: OSError, timeout_s: float) -> NotConnected:
    if endpoint.transport == "serial":
        return NotConnected("serial", f"{endpoint} cannot be opened: {error}")
    if isinstance(error, socket.gaierror):
        return NotConnected("unknown_host", f"the host name {endpoint.host!r} is not known")
    if isinstance(error, ssl.SSLError):
        return NotConnected("tls", f"{endpoint} and we do not agree on TLS: {error.reason or error}")
    if isinstance(error, TimeoutError):
        return NotConnected("timeout", f"{endpoint} did not accept a connection within {timeout_s:g} s")
    # asyncio joins the errors of several addresses of one name (IPv6, IPv4) into one without a type.
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return NotConnected("refused", f"nothing listens at {endpoint} (connection refused)")
    return NotConnected("unreachable", f"{endpoint} cannot be reached: {error.strerror or error}")


def _explain_frame(sent: bytes, received: bytes) -> WrongAnswer:
    """What was wrong with the Modbus/TCP bytes that came while a request waited in vain."""
    if len(received) >= 4 and received[2:4] != b"\0\0":
        return WrongAnswer("garbled", "what came is no Modbus/TCP: another protocol listens there, or the framing is RTU over TCP")
    if len(received) < _MBAP_BYTES + 1 or len(received) < 6 + int.from_bytes(received[4:6], "big"):
        return WrongAnswer("short", f"only {len(received)} bytes of an answer came")
    if received[0:2] != sent[0:2]:
        numbers = int.from_bytes(received[0:2], "big"), int.from_bytes(sent[0:2], "big")
        return WrongAnswer("mismatched", f"answered transaction {numbers[0]}, transaction {numbers[1]} was asked")
    return WrongAnswer("mismatched", f"unit {received[6]} answered, unit {sent[6]} was asked")
