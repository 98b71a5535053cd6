"""A connection that reads tables, and nothing else: opened, asked, closed where it is of no more use."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Final

from .answers import Answer, Question, not_connected
from .blocks import NARROW, Place
from .converter import Converter
from .endpoint import Endpoint
from .faults import AnswerOwed, ConnectionDropped, NoAnswer, NotConnected, ReadFault, WrongAnswer
from .frames import open_serial_port, request_pdu, rtu_checksum, tcp_frame
from .ports import OPEN_ERRORS, port_not_opened
from .rtu_line import LATE_LIMITS, RtuLine
from .rtu_stream import RtuStream
from .tcp_stream import TcpStream, Tolerated

SILENCES_BEFORE_CLOSE: Final = 2
"""Requests without an answer, none answered between, after which a TCP connection counts as half-open; one over which nothing
ever came, after twice as many."""

_NOTHING: Final[frozenset[str]] = frozenset()
_BIT_READS: Final = frozenset({1, 2})
_OUT_OF_STEP: Final = frozenset({"garbled", "mismatched"})
"""Kinds of wrong answers after which nobody knows what the next bytes of a Modbus/TCP stream belong to."""
_LISTEN_S: Final = 1.0
"""Before the first request on an RTU line, at most: what a former process asked for may still be answered."""


class ModbusConnection:
    """One connection to one endpoint. Requests on it go one after the other; it belongs to one asyncio task."""

    def __init__(
        self, endpoint: Endpoint, tolerates: Tolerated | None = None, silences_before_close: int = SILENCES_BEFORE_CLOSE
    ) -> None:
        """`tolerates`: by unit; of Modbus/TCP only."""
        self._silences_before_close = silences_before_close
        self.endpoint = endpoint
        self._tolerates = tolerates or {}
        self._stream: TcpStream | RtuStream | None = None
        self._line = RtuLine(rtu_checksum, endpoint.late_s or 0.0) if endpoint.is_rtu else None
        self._has_listened = False
        self._converter = Converter()
        self._questions: dict[tuple[int, Place], Question] = {}
        self._last_unit = 0
        self._last_places: Sequence[Place] = ()
        self._last_questions: list[Question] = []
        self._silences = 0

    @property
    def is_connected(self) -> bool:
        """Whether the next read has a connection that is open and in step."""
        return self._stream is not None and self._stream.is_open

    @property
    def is_fresh(self) -> bool:
        """Whether nothing has come yet over this connection; a serial port is never fresh."""
        return self._stream is not None and self._stream.is_fresh and self.endpoint.transport != "serial"

    async def connect(self, timeout_s: float) -> None:
        """A fresh connection, the old one closed. Raises NotConnected with the reason in words."""
        self.close()
        self._converter.reconnected()
        line = self._line
        stream = TcpStream(self._converter, self._tolerates) if line is None else RtuStream(line)
        try:
            async with asyncio.timeout(timeout_s):
                await self._open(stream, timeout_s)
        except OPEN_ERRORS as error:
            stream.close()
            is_port = self.endpoint.transport == "serial"
            raise (port_not_opened if is_port else not_connected)(self.endpoint, error, timeout_s) from error
        self._stream = stream
        self._silences = 0
        if self._line is not None and not self._has_listened:
            self._has_listened = True
            await asyncio.sleep(min(timeout_s, _LISTEN_S))

    def close(self) -> None:
        """Lets go of the connection at once, without waiting for what is still on its way. Safe to repeat."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    async def read(self, unit: int, function_code: int, address: int, count: int, timeout_s: float) -> bytes:
        """The data bytes of the answer, of exactly the length that `count` registers or bits need. Raises ReadFault."""
        answers, fault = await self.read_all(unit, [(function_code, address, count)], timeout_s)
        if fault is not None:
            raise fault
        return answers[0].data

    async def read_all(self, unit: int, places: Sequence[Place], timeout_s: float) -> tuple[list[Answer], ReadFault | None]:
        """Read places (function code, address, count) in turn, up to the first that brings no data: the answers, and its fault.

        The fault is NotConnected (also when connect() was never called), ConnectionDropped, NoAnswer, RequestRefused, WrongAnswer,
        or AnswerOwed: not asked. Nothing is tried twice. A Modbus/TCP connection that may be out of step afterwards is closed.
        """
        stream = self._stream
        if stream is None or not stream.is_open:
            self.close()
            return [], NotConnected("closed", f"no connection to {self.endpoint}")
        if unit != self._last_unit or places is not self._last_places:  # Else as the time before, which is nearly always so.
            self._last_unit, self._last_places = unit, places
            self._last_questions = [self._questions.get((unit, place)) or self._question(unit, place) for place in places]
        questions = self._last_questions
        if isinstance(stream, RtuStream):
            assert self._line is not None  # noqa: S101 - the stream has it from here
            self._line.late_s = self.endpoint.late_s or max(self._line.late_s, LATE_LIMITS * timeout_s)
            answers, fault = await stream.ask_in_turn(questions, timeout_s)
        else:
            answers, fault = await stream.ask(questions, timeout_s)
        if answers:
            self._silences = 0
        match fault:
            case None:
                return answers, None
            case TimeoutError():
                return answers, self._silence(stream, unit, timeout_s)
            case ConnectionDropped():
                self.close()
                return answers, fault
            case ReadFault():
                if not isinstance(fault, AnswerOwed):
                    self._silences = 0
                if fault.kind in _OUT_OF_STEP and self._line is None:
                    self.close()
                return answers, fault
        raise fault

    async def _open(self, stream: TcpStream | RtuStream, timeout_s: float) -> None:
        end = self.endpoint
        if end.transport == "serial":
            stream.connection_made(await open_serial_port(end, stream, timeout_s))  # Only the next turn of the loop would say so.
        else:
            context = _tls_context(end) if end.transport == "tls" else None
            await asyncio.get_running_loop().create_connection(lambda: stream, end.host, end.port, ssl=context)

    def _question(self, unit: int, place: Place) -> Question:
        """Built once for each unit and place."""
        function_code, address, count = place[:3]
        register_bytes = place[3] if len(place) > 3 else NARROW
        data_bytes = (count + 7) // 8 if function_code in _BIT_READS else register_bytes * count
        pdu = request_pdu(function_code, address, count)
        answer = tcp_frame(unit, bytes((function_code, min(data_bytes, 0xFF))) + bytes(data_bytes))[:-data_bytes]
        self._questions[unit, place] = question = Question(unit, place, pdu, data_bytes, tcp_frame(unit, pdu), answer)
        return question

    def _silence(self, stream: TcpStream | RtuStream, unit: int, timeout_s: float) -> NoAnswer | WrongAnswer:
        """Nothing usable came in time: say what did come, and close a TCP connection that is of no use any more."""
        self._silences += 1
        # Where numbers mean nothing, only a new connection keeps a late answer from passing for the next.
        is_out_of_step = self._line is None and (bool(stream.received) or "transaction" in self._tolerates.get(unit, _NOTHING))
        limit = self._silences_before_close * (1 + self.is_fresh)
        if is_out_of_step or (self._silences >= limit and self.endpoint.transport != "serial"):
            self.close()
        return stream.explain(timeout_s)


def _tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=endpoint.ca_file)
        if endpoint.certificate_file:
            context.load_cert_chain(endpoint.certificate_file, endpoint.key_file)
    except OSError as error:
        files = ", ".join(filter(None, (endpoint.ca_file, endpoint.certificate_file, endpoint.key_file)))
        raise NotConnected("tls", f"the TLS files {files} cannot be used: {error}") from error
    return context
