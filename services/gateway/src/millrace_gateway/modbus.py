"""The one module that imports pymodbus: a connection that reads tables, and nothing else.

pymodbus frames, sends and matches; what it leaves open is decided here: one try a request, each answer checked (unit, function,
length), a lost connection noticed at once, and a stream that may be out of step closed. There is no way to write through it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from typing import Final

from pymodbus import FramerType, ModbusException
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import (
    ReadCoilsRequest,
    ReadCoilsResponse,
    ReadDiscreteInputsRequest,
    ReadDiscreteInputsResponse,
)
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersRequest,
    ReadHoldingRegistersResponse,
    ReadInputRegistersRequest,
    ReadInputRegistersResponse,
)
from pymodbus.transport import CommParams, CommType

from .endpoint import Endpoint
from .faults import UNIT_BEHIND_GATEWAY_SILENT, ConnectionDropped, NoAnswer, NotConnected, Refused, WrongAnswer

# pymodbus logs what we turn into typed faults, once a request; its last words would only repeat ours.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)

SILENCES_BEFORE_CLOSE: Final = 2
"""Requests without an answer, none answered between, after which a TCP connection counts as half-open."""

_MBAP_BYTES: Final = 7


class _RawAnswer:
    """Keeps an answer's bytes as they came: decoding a register at a time is more than half of pymodbus' own cost."""

    payload: bytes = b""
    announced: int = -1

    def decode(self, data: bytes) -> None:
        self.announced = data[0]
        self.payload = data[1:]

    def __str__(self) -> str:
        return "answer"  # pymodbus formats each answer for a debug line, even when logging is off.


class _Coils(_RawAnswer, ReadCoilsResponse):
    pass


class _Discretes(_RawAnswer, ReadDiscreteInputsResponse):
    pass


class _Holdings(_RawAnswer, ReadHoldingRegistersResponse):
    pass


class _Inputs(_RawAnswer, ReadInputRegistersResponse):
    pass


_REQUESTS: Final[dict[int, type[ModbusPDU]]] = {
    1: ReadCoilsRequest,
    2: ReadDiscreteInputsRequest,
    3: ReadHoldingRegistersRequest,
    4: ReadInputRegistersRequest,
}


class _TlsClient(AsyncModbusTcpClient):
    """Modbus/TCP over TLS with the socket framer: pymodbus' own TLS client takes each chunk received for a whole answer."""

    def __init__(self, params: CommParams) -> None:
        self.comm_params = params
        super().__init__(params.host, framer=FramerType.SOCKET, retries=0)


class ModbusConnection:
    """One connection to one endpoint. Requests on it go one after the other; it belongs to one asyncio task."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._client: AsyncModbusTcpClient | AsyncModbusSerialClient | None = None
        self._requests: dict[tuple[int, int, int, int], ModbusPDU] = {}
        self._waiting = False
        self._out_of_step = False
        self._silences = 0
        self._sent = b""
        self._received = b""

    @property
    def is_connected(self) -> bool:
        """Whether the next read has a connection that is open and in step."""
        return self._client is not None and self._client.connected and not self._out_of_step

    async def connect(self, timeout_s: float) -> None:
        """A fresh connection, the old one closed. Raises NotConnected with the reason in words."""
        self.close()
        client = self._new_client(timeout_s)
        for answer in (_Coils, _Discretes, _Holdings, _Inputs):
            client.register(answer)
        client.ctx.trace_packet = self._on_packet
        client.ctx.trace_connect = self._on_connect
        try:
            # Not client.connect(): it turns every cause into False, and the cause is what a person needs.
            client.ctx.transport, _ = await asyncio.wait_for(client.ctx.call_create(), timeout_s)
        except OSError as error:
            raise _not_connected(self.endpoint, error, timeout_s) from error
        self._client = client
        self._silences = 0
        self._out_of_step = False

    def close(self) -> None:
        """Lets go of the connection at once, without waiting for what is still on its way. Safe to repeat."""
        client, self._client = self._client, None
        if client is None:
            return
        transport = client.ctx.transport
        client.close()
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()

    async def read(self, unit: int, function_code: int, address: int, count: int, timeout_s: float) -> bytes:
        """The data bytes of the answer, of exactly the length that `count` registers or bits need.

        Raises NotConnected (also when connect() was never called), ConnectionDropped, NoAnswer, Refused or WrongAnswer. Nothing
        is tried twice. After a fault that may have left bytes of an old answer behind, the connection is closed.
        """
        client = self._client
        if client is None or not self.is_connected:
            self.close()
            raise NotConnected("closed", f"no connection to {self.endpoint}")
        request = self._request(unit, function_code, address, count)
        client.ctx.comm_params.timeout_connect = timeout_s
        self._waiting = True
        try:
            answer = await client.ctx.execute(False, request)
        except (ConnectionDropped, WrongAnswer):
            self.close()
            raise
        except ModbusException as error:
            raise self._silence(timeout_s) from error
        finally:
            self._waiting = False
        self._silences = 0
        return self._checked(answer, request)

    def _request(self, unit: int, function_code: int, address: int, count: int) -> ModbusPDU:
        key = (unit, function_code, address, count)
        request = self._requests.get(key)
        if request is None:
            request = _REQUESTS[function_code](dev_id=unit, address=address, count=count)
            self._requests[key] = request
        return request

    def _checked(self, answer: ModbusPDU, request: ModbusPDU) -> bytes:
        if answer.dev_id != request.dev_id:
            raise self._mismatch(f"unit {answer.dev_id} answered, unit {request.dev_id} was asked")
        if answer.function_code & 0x7F != request.function_code:
            raise self._mismatch(f"answered function {answer.function_code}, function {request.function_code} was asked")
        if answer.isError():
            if answer.exception_code in UNIT_BEHIND_GATEWAY_SILENT:
                raise NoAnswer(f"exception_{answer.exception_code}", Refused(answer.exception_code).reason)
            raise Refused(answer.exception_code)
        assert isinstance(answer, _RawAnswer)  # noqa: S101 - connect() registered these for every function that is sent.
        is_bits = request.function_code in (1, 2)
        expected = (request.count + 7) // 8 if is_bits else 2 * request.count
        if answer.announced != expected or len(answer.payload) != expected:
            came = min(answer.announced, len(answer.payload))
            raise WrongAnswer("short", f"answered {came} bytes of data where {expected} were asked for")
        return answer.payload

    def _mismatch(self, reason: str) -> WrongAnswer:
        self.close()
        return WrongAnswer("mismatched", reason)

    def _silence(self, timeout_s: float) -> NoAnswer | WrongAnswer:
        """Nothing usable came in time: say what did come, and close a stream that a late answer could put out of step."""
        self._silences += 1
        if self.endpoint.is_rtu or self._received or self._silences >= SILENCES_BEFORE_CLOSE:
            self.close()
        if not self._received:
            return NoAnswer("timeout", f"no answer within {timeout_s:g} s")
        if self.endpoint.is_rtu:
            return WrongAnswer("garbled", f"{len(self._received)} bytes came that are no whole answer with a right checksum")
        return _explain_frame(self._sent, self._received)

    def _on_packet(self, sending: bool, packet: bytes) -> bytes:
        if sending:
            self._sent, self._received = packet, b""
            return packet
        self._received = packet
        if self.endpoint.is_rtu:
            # RTU has no transaction number: bytes that nobody asked for would be taken for the next answer.
            self._out_of_step = self._out_of_step or not self._waiting
        elif self._waiting and (reason := _undecodable(packet)):
            # pymodbus answers such a frame with an unhandled error in its protocol; this ends the request instead.
            self._fail_request(WrongAnswer("garbled", reason))
            return b""
        return packet

    def _on_connect(self, is_up: bool) -> None:
        if not is_up and self._waiting:
            self._fail_request(ConnectionDropped("closed", "the device closed the connection before it answered"))

    def _fail_request(self, fault: ConnectionDropped | WrongAnswer) -> None:
        client = self._client
        if client is not None and not client.ctx.response_future.done():
            client.ctx.response_future.set_exception(fault)

    def _new_client(self, timeout_s: float) -> AsyncModbusTcpClient | AsyncModbusSerialClient:
        end = self.endpoint
        match end.transport:
            case "serial":
                return AsyncModbusSerialClient(
                    end.host,
                    baudrate=end.baud_rate,
                    parity=end.parity,
                    stopbits=end.stop_bits,
                    timeout=timeout_s,
                    retries=0,
                    reconnect_delay=0,
                )
            case "tls":
                params = CommParams(
                    comm_type=CommType.TLS,
                    comm_name="tls",
                    host=end.host,
                    port=end.port,
                    sslctx=_tls_context(end),
                    reconnect_delay=0,
                    timeout_connect=timeout_s,
                )
                return _TlsClient(params)
            case _:
                framer = FramerType.RTU if end.is_rtu else FramerType.SOCKET
                return AsyncModbusTcpClient(end.host, port=end.port, framer=framer, timeout=timeout_s, retries=0, reconnect_delay=0)


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


def _undecodable(packet: bytes) -> str | None:
    """Why a whole Modbus/TCP frame at the start of `packet` cannot be an answer to a read, or None."""
    if len(packet) <= _MBAP_BYTES or packet[2:4] != b"\0\0":
        return None
    end = 6 + int.from_bytes(packet[4:6], "big")
    if len(packet) < end:
        return None
    if packet[7] & 0x7F not in _REQUESTS:
        return f"answered function {packet[7]}, which is no read"
    if end < _MBAP_BYTES + 2:
        return "answered a frame without data"
    return None


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
