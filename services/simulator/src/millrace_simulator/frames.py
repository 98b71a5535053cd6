"""Modbus frames as bytes, of TCP and of serial lines: requests taken apart, answers put together. Pure; the server half of the
protocol, reading only.

Numbers from "MODBUS Application Protocol 1.1b3", "MODBUS Messaging on TCP/IP Implementation Guide 1.0b" and "MODBUS over Serial
Line 1.02".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, StrEnum

HEADER = struct.Struct(">HHHB")
"""MBAP: transaction id, protocol id (0), bytes that follow (unit id included), unit id."""
MAX_FRAME_BYTES = 260

RTU_REQUEST_BYTES = 8
"""A read request on a serial line: unit id, function, address, count, checksum."""

_REQUEST = struct.Struct(">BHH")

MAX_REGISTERS = 125
MAX_BITS = 2000


class Function(IntEnum):
    """The function codes that are served."""

    READ_COILS = 1
    READ_DISCRETE_INPUTS = 2
    READ_HOLDING_REGISTERS = 3
    READ_INPUT_REGISTERS = 4


TABLE_OF = {
    Function.READ_COILS: "coil",
    Function.READ_DISCRETE_INPUTS: "discrete",
    Function.READ_HOLDING_REGISTERS: "holding",
    Function.READ_INPUT_REGISTERS: "input",
}
BIT_TABLES = frozenset({"coil", "discrete"})

ILLEGAL_FUNCTION = 1
ILLEGAL_ADDRESS = 2
ILLEGAL_VALUE = 3
DEVICE_FAILURE = 4
NO_RESPONSE = 11
"""Gateway target device failed to respond: nobody has this unit id."""


class Framing(StrEnum):
    """What stands around a PDU."""

    MBAP = "mbap"
    """Modbus/TCP: a header with a transaction id."""
    RTU = "rtu"
    """A serial line, also inside of TCP: unit id and checksum."""


class ModbusError(Exception):
    """The device answers with this exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class ModbusRequest:
    """A read of `count` registers or bits from `address` on."""

    transaction: int
    unit: int
    function: int
    address: int
    count: int
    framing: Framing = Framing.MBAP

    @property
    def table(self) -> str:
        return TABLE_OF[Function(self.function)]

    def answer(self, pdu: bytes, *, transaction: int | None = None, unit: int | None = None) -> bytes:
        """The frame of an answer; with another transaction or unit it is one to somebody else's request.

        Where there are no transactions, an answer of another one is an answer with a wrong checksum.
        """
        other = self.transaction if transaction is None else transaction
        answerer = self.unit if unit is None else unit
        if self.framing is Framing.RTU:
            return rtu_frame(answerer, pdu, spoiled_by=self.transaction ^ other)
        return frame(other, answerer, pdu)


def parse_request(transaction: int, unit: int, pdu: bytes, framing: Framing = Framing.MBAP) -> ModbusRequest:
    """The request of one frame. Raises ModbusError with the code that the specification wants."""
    function = pdu[0]
    if function not in TABLE_OF:
        raise ModbusError(ILLEGAL_FUNCTION)
    if len(pdu) != _REQUEST.size:
        raise ModbusError(ILLEGAL_VALUE)
    _, address, count = _REQUEST.unpack(pdu)
    request = ModbusRequest(transaction, unit, function, address, count, framing)
    limit = MAX_BITS if request.table in BIT_TABLES else MAX_REGISTERS
    if not 1 <= count <= limit:
        raise ModbusError(ILLEGAL_VALUE)
    if address + count > 65_536:
        raise ModbusError(ILLEGAL_ADDRESS)
    return request


def frame(transaction: int, unit: int, pdu: bytes, *, miscounted_by: int = 0) -> bytes:
    return HEADER.pack(transaction, 0, len(pdu) + 1 + miscounted_by, unit) + pdu


def rtu_frame(unit: int, pdu: bytes, *, spoiled_by: int = 0) -> bytes:
    body = bytes((unit,)) + pdu
    return body + struct.pack("<H", checksum(body) ^ spoiled_by)


def checksum(body: bytes) -> int:
    """CRC-16 as serial lines use it; its low byte is sent first."""
    crc = 0xFFFF
    for byte in body:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def registers_pdu(function: int, registers: list[int]) -> bytes:
    return struct.pack(f">BB{len(registers)}H", function, 2 * len(registers), *registers)


def bits_pdu(function: int, bits: list[int]) -> bytes:
    """Bits are packed from the lowest bit of the first byte on; the last byte is filled with zeros."""
    packed = bytearray((len(bits) + 7) // 8)
    for index, bit in enumerate(bits):
        packed[index // 8] |= bit << (index % 8)
    return bytes((function, len(packed))) + bytes(packed)


def exception_pdu(function: int, code: int) -> bytes:
    return bytes(((function | 0x80) & 0xFF, code))
