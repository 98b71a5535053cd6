"""The one module that imports pymodbus: requests as bytes, what comes cut into frames, serial ports. It knows no request but reads.

pymodbus' client is not used: it costs more than the rest of a read together, and leaves open what is decided here: one try a
request, each answer checked (transaction, unit, function, length), a lost connection noticed at once, and which answer belongs to
which request where frames have no number (rtu_line.py). There is no way to write through it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, NamedTuple

from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest
from pymodbus.transport.serialtransport import create_serial_connection

from .endpoint import Endpoint

# pymodbus logs what we turn into typed faults, once a request; its last words would only repeat ours.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)

LARGEST_FRAME: Final = 264
NUMBER_BYTES: Final = 2

_REQUESTS: Final[dict[int, type[ModbusPDU]]] = {
    1: ReadCoilsRequest,
    2: ReadDiscreteInputsRequest,
    3: ReadHoldingRegistersRequest,
    4: ReadInputRegistersRequest,
}
_TCP: Final = FramerSocket(DecodePDU(is_server=False))
_RTU: Final = FramerRTU(DecodePDU(is_server=False))


class TcpFrame(NamedTuple):
    """The first frame of what came over Modbus/TCP; `used` bytes of it are the frame's, 0 where it is not whole yet."""

    used: int
    unit: int
    transaction: int
    pdu: bytes


def request_pdu(function_code: int, address: int, count: int) -> bytes:
    """A read as it goes into a frame."""
    return bytes([function_code]) + _REQUESTS[function_code](address=address, count=count).encode()


def tcp_frame(unit: int, pdu: bytes) -> bytes:
    """Without its first NUMBER_BYTES, the transaction number."""
    return _TCP.encode(pdu, unit, 0)[NUMBER_BYTES:]


def first_tcp_frame(data: bytes) -> TcpFrame:
    return TcpFrame(*_TCP.decode(data))


def rtu_frame(unit: int, pdu: bytes) -> bytes:
    return _RTU.encode(pdu, unit, 0)


def rtu_checksum(frame: bytes) -> int:
    """CRC-16 of Modbus over a frame without its last two bytes, as the number that these are, high byte first."""
    return FramerRTU.compute_CRC(frame)


async def open_serial_port(end: Endpoint, protocol: asyncio.Protocol, timeout_s: float) -> asyncio.BaseTransport:
    """Raises what OPEN_ERRORS of ports.py names."""
    transport, _ = await create_serial_connection(
        asyncio.get_running_loop(),
        lambda: protocol,
        end.host,
        baudrate=end.baud_rate,
        bytesize=8,
        parity=end.parity,
        stopbits=end.stop_bits,
        timeout=timeout_s,
    )
    return transport
