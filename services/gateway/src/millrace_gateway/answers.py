"""Answers judged: the data that a request asked for, or a fault in a person's words. Pure."""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass
from typing import Final, NamedTuple

from .blocks import FUNCTION_CODES, Place
from .endpoint import Endpoint
from .faults import (
    UNIT_BEHIND_GATEWAY_SILENT,
    MisnumberedAnswer,
    NoAnswer,
    NotConnected,
    ReadFault,
    RequestRefused,
    WrongAnswer,
)

EXCEPTION: Final = 0x80
_MBAP_BYTES: Final = 7
_BIT_READS: Final = frozenset({1, 2})
_COUNTS_WRONGLY: Final = "this device counts wrongly"
_READS: Final = frozenset(FUNCTION_CODES.values())


class Answer(NamedTuple):
    """The data bytes that one request asked for, of exactly that length, and how long they took to come.

    `is_certain`: nothing says that they may answer somebody else's request.
    """

    data: bytes
    took_ms: float
    is_certain: bool = True


@dataclass(frozen=True, slots=True)
class Question:
    """A request as it is sent, and what its answer must hold.

    `tcp_frame`, `tcp_answer`: over Modbus/TCP, without the two bytes of their number, the request, and how its answer begins.
    """

    unit: int
    place: Place
    pdu: bytes
    data_bytes: int
    tcp_frame: bytes
    tcp_answer: bytes

    @property
    def function_code(self) -> int:
        return self.pdu[0]

    def data_of(self, pdu: bytes) -> bytes | None:
        """The data of an answer of the right function and length, else None. Bits that fill whole registers are bits."""
        if len(pdu) == self.data_bytes + 2 and pdu[0] == self.function_code and pdu[1] == self.data_bytes:
            return pdu[2:]
        size = pdu[1] if len(pdu) > 1 else 0
        fits = size == self.data_bytes or (self.function_code in _BIT_READS and size == self.data_bytes + self.data_bytes % 2)
        return pdu[2 : 2 + self.data_bytes] if pdu[0] == self.function_code and fits and len(pdu) == size + 2 else None


def no_answer(timeout_s: float) -> NoAnswer:
    return NoAnswer("timeout", f"no answer within {timeout_s:g} s")


def impatient(timeout_s: float, needed_s: float) -> NoAnswer:
    reason = f"the converter on the way needs {needed_s:.1f} s to give up; set timeout_s above it"
    return NoAnswer("timeout", f"no answer within {timeout_s:g} s; {reason}")


def fault_of(pdu: bytes, question: Question) -> ReadFault:
    """What is wrong with an answer of the right unit and transaction that is not the data."""
    function_code = pdu[0] & ~EXCEPTION
    if function_code not in _READS:
        return WrongAnswer("garbled", f"answered function {pdu[0]}, which is no read")
    if len(pdu) < 2:
        return WrongAnswer("garbled", "answered a frame without data")
    if function_code != question.function_code:
        return WrongAnswer("mismatched", f"answered function {pdu[0]}, function {question.function_code} was asked")
    if pdu[0] & EXCEPTION:
        refused = RequestRefused(pdu[1])
        return NoAnswer(refused.kind, refused.reason) if refused.code in UNIT_BEHIND_GATEWAY_SILENT else refused
    if pdu[1] == question.data_bytes and len(pdu) < pdu[1] + 2:
        return WrongAnswer("short", f"its header says {len(pdu) + 1}, {pdu[1] + 3} are in such an answer; {_COUNTS_WRONGLY}")
    came = min(pdu[1], len(pdu) - 2)
    return WrongAnswer("short", f"answered {came} bytes of data where {question.data_bytes} were asked for")


def not_connected(endpoint: Endpoint, error: Exception, timeout_s: float) -> NotConnected:
    """Why a socket does not come to be."""
    if isinstance(error, (socket.gaierror, UnicodeError)):  # the latter for what cannot be a host name, as plc..local
        return NotConnected("unknown_host", f"the host name {endpoint.host!r} is not known")
    if isinstance(error, ssl.SSLError):
        return NotConnected("tls", f"{endpoint} and we do not agree on TLS: {error.reason or error}")
    if isinstance(error, TimeoutError):
        return NotConnected("timeout", f"{endpoint} did not accept a connection within {timeout_s:g} s")
    # asyncio joins the errors of several addresses of one name (IPv6, IPv4) into one without a type.
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return NotConnected("refused", f"nothing listens at {endpoint} (connection refused)")
    if getattr(error, "errno", None) in (errno.ENETUNREACH, errno.ENETDOWN):
        return NotConnected("no_network", f"no network leads to {endpoint}: {getattr(error, 'strerror', None) or error}")
    return NotConnected("unreachable", f"{endpoint} cannot be reached: {getattr(error, 'strerror', None) or error}")


def explain_frame(sent: bytes, received: bytes) -> WrongAnswer:
    """What was wrong with the Modbus/TCP bytes that came while a request waited in vain."""
    if len(received) >= 4 and received[2:4] != b"\0\0":
        return WrongAnswer("garbled", "what came is no Modbus/TCP: another protocol listens there, or the framing is RTU over TCP")
    said, there = int.from_bytes(received[4:6], "big"), len(received) - 6
    if 3 <= there < said and there == 3 + received[8]:  # Unit, function, count, and as many bytes as that says.
        return WrongAnswer("short", f"its header says {said}, {there} came; {_COUNTS_WRONGLY}")
    if len(received) < _MBAP_BYTES + 1 or there < said:
        return WrongAnswer("short", f"only {len(received)} bytes of an answer came")
    if received[0:2] != sent[0:2]:
        came, asked = int.from_bytes(received[0:2], "big"), int.from_bytes(sent[0:2], "big")
        return MisnumberedAnswer("transaction", f"answered transaction {came}, transaction {asked} was asked")
    return MisnumberedAnswer("unit", f"unit {received[6]} answered, unit {sent[6]} was asked")
