"""The one module that imports pymodbus: a connection that reads tables, and nothing else.

pymodbus builds the requests, frames them, and cuts what comes into frames (lengths, checksums, serial ports). Its client is not
used: it costs more than the rest of a read together, and leaves open what is decided here: one try a request, each answer checked
(transaction, unit, function, length), a lost connection noticed at once, and which answer belongs to which request where frames
have no number (rtu_line.py). There is no way to write through it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Mapping, Sequence
from typing import Final

from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest
from pymodbus.transport.serialtransport import create_serial_connection

from .answers import Answer, Question, explain_frame, fault_of, impatient, no_answer, not_connected
from .blocks import NARROW, Place
from .converter import Converter
from .endpoint import Endpoint
from .faults import (
    AnswerOwed,
    ConnectionDropped,
    NoAnswer,
    NotConnected,
    ReadFault,
    WrongAnswer,
)
from .ports import OPEN_ERRORS, port_not_opened
from .rtu_line import LATE_LIMITS, Confusion, Instead, RtuAnswer, RtuLine, RtuQuestion

# pymodbus logs what we turn into typed faults, once a request; its last words would only repeat ours.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)

SILENCES_BEFORE_CLOSE: Final = 2
"""Requests without an answer, none answered between, after which a TCP connection counts as half-open; one over which nothing
ever came, after twice as many."""

_LARGEST_FRAME: Final = 264
_TRANSACTIONS: Final = 65_000
_NO_TRANSACTION: Final = -1
_NOTHING: Final[frozenset[str]] = frozenset()
_BIT_READS: Final = frozenset({1, 2})
_OUT_OF_STEP: Final = frozenset({"garbled", "mismatched"})
"""Kinds of wrong answers after which nobody knows what the next bytes of a Modbus/TCP stream belong to."""
_LISTEN_S: Final = 1.0
"""Before the first request on an RTU line, at most: what a former process asked for may still be answered."""
_TIMER_EARLY_S: Final = 0.001
"""A timer may go off so much early, by the resolution of the clock."""

_REQUESTS: Final[dict[int, type[ModbusPDU]]] = {
    1: ReadCoilsRequest,
    2: ReadDiscreteInputsRequest,
    3: ReadHoldingRegistersRequest,
    4: ReadInputRegistersRequest,
}


Tolerated = Mapping[int, frozenset[str]]
"""What is accepted in the answers of a unit though it is wrong: its "transaction" number, its "unit"."""


class _Stream(asyncio.Protocol):
    """An open Modbus/TCP connection, the requests under way on it, and the bytes that came since. Belongs to the event loop.

    Several requests are asked one after the other without their task: it is woken once, when the last is answered.
    """

    def __init__(self, endpoint: Endpoint, converter: Converter, tolerates: Tolerated) -> None:
        self._converter = converter
        self._tolerates = tolerates
        self._framer = (FramerRTU if endpoint.is_rtu else FramerSocket)(DecodePDU(is_server=False))
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._done: asyncio.Future[Exception | None] | None = None
        self._questions: Sequence[Question] = ()
        self._answers: list[Answer] = []
        self._unit = 0
        self._transaction = 0
        self._late: tuple[int, Question, int] | None = None
        self._late_transaction = _NO_TRANSACTION
        self._timeout_s = 0.0
        self._sent_s = 0.0
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._held = b""
        self._gave_up = False
        self.is_fresh = True
        """Nothing has come yet: some devices are not ready at once."""

        self.sent: bytes = b""
        self.received = b""
        """What came since the last request was sent, as far as it is one piece with the last bytes."""

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    async def ask(self, unit: int, questions: Sequence[Question], timeout_s: float) -> tuple[list[Answer], Exception | None]:
        """Ask in turn until one brings no data; the answers, and why it ended early: a ReadFault, or TimeoutError.

        Each request has the time limit for itself.
        """
        self._unit = unit
        self._questions = questions
        self._timeout_s = timeout_s
        answers: list[Answer] = []
        self._answers = answers
        self._done = done = self._loop.create_future()
        try:
            self._send(questions[0])
            return answers, await done
        finally:
            self._done = None
            if not done.done() or done.cancelled():
                self._abandon()

    def close(self) -> None:
        """At once, without waiting for what is still on its way."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        if self._timer is not None:
            self._timer.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - TCP, TLS and serial are
        self._transport = transport

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._abandon()
        self._end(ConnectionDropped("closed", "the device closed the connection before it answered"))

    def data_received(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
        self.received = data
        self.is_fresh = False
        answer = b""
        while data:
            used, unit, transaction, pdu = self._framer.decode(data)
            if not used:
                break
            data = data[used:]
            if pdu and not answer and self._is_ours(unit, transaction):
                answer = pdu
            if pdu and self._converter.is_owing and self._converter.answered(transaction, self._loop.time()):
                self._due_s = max(self._due_s, self._loop.time() + self._timeout_s)  # The converter is at ours only from here.
        self._held = data if len(data) <= _LARGEST_FRAME else b""
        if answer:  # Only now may the next request go out: what came with this answer is none to that.
            self._take(answer)

    def explain(self, timeout_s: float) -> NoAnswer | WrongAnswer:
        """Nothing usable came within the time limit: what did."""
        if self.received:
            return explain_frame(self.sent, self.received)
        needed_s = self._converter.needed_s(self._unit)
        return no_answer(timeout_s) if needed_s is None or needed_s <= timeout_s else impatient(timeout_s, needed_s)

    def _number(self, question: Question) -> None:
        """Give the request its number. Where the same one was given up just now, its late answer is right for it, too."""
        late, self._late = self._late, None
        self._late_transaction = late[2] if late and late[:2] == (self._unit, question) else _NO_TRANSACTION
        self._transaction = self._transaction % _TRANSACTIONS + 1

    def _abandon(self) -> None:
        """The request under way is not waited for any more, though it may be answered."""

    def _send(self, question: Question) -> None:
        assert self._transport is not None  # noqa: S101 - the caller has looked
        self._number(question)
        self.received = b""
        self.sent = self._framer.encode(question.pdu, self._unit, self._transaction)
        self._sent_s = self._loop.time()
        self._due_s = self._sent_s + self._timeout_s
        if self._timer is None or self._timer.when() > self._due_s:
            self._set_timer()
        self._transport.write(self.sent)

    def _is_ours(self, unit: int, transaction: int) -> bool:
        """Whether an answer is for the request under way. A device without numbers says 0: believed until one may be late."""
        if unit == self._unit and transaction == self._transaction:
            return True
        tolerated = self._tolerates.get(self._unit, _NOTHING)
        if unit != self._unit and "unit" not in tolerated:
            return False
        is_numbered = transaction in (self._transaction, self._late_transaction)
        return is_numbered or ((transaction == 0 or "transaction" in tolerated) and not self._gave_up)

    def _take(self, pdu: bytes, *, is_certain: bool = True) -> None:
        if self._done is None or self._done.done():
            return
        question = self._questions[len(self._answers)]
        data = question.data_of(pdu)
        if data is not None:
            self._answers.append(Answer(data, (self._loop.time() - self._sent_s) * 1000, is_certain))
            if len(self._answers) == len(self._questions):
                self._end(None)
            elif self._transport is not None:
                self._send(self._questions[len(self._answers)])
        else:
            self._end(fault_of(pdu, question))

    def _set_timer(self) -> None:
        """One timer for many requests: it is looked at when it goes off, not set anew for each."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._due_s, self._look_at_time)

    def _look_at_time(self) -> None:
        self._timer = None
        if self._done is None:
            return
        now_s = self._loop.time()
        if now_s >= self._due_s - _TIMER_EARLY_S:
            busy_until_s = self._converter.busy_until(self._unit, now_s)
            if busy_until_s <= now_s:
                self._give_up()
                self._end(TimeoutError())
                return
            self._due_s = min(busy_until_s, now_s + self._timeout_s)
        self._set_timer()

    def _give_up(self) -> None:
        self._gave_up = True
        self._converter.gave_up(self._transaction, self._unit, self._sent_s, LATE_LIMITS * self._timeout_s)
        self._late = self._unit, self._questions[len(self._answers)], self._transaction

    def _end(self, fault: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(fault)


class _RtuStream(_Stream):
    """An open RTU connection: one request at a time; `line`, which outlives it, knows whose each answer is."""

    def __init__(self, endpoint: Endpoint, line: RtuLine) -> None:
        super().__init__(endpoint, Converter(), {})
        self._line = line
        self._instead: Instead | None = None
        self.has_heard = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.received = data
        self.is_fresh = False
        self.has_heard.set()
        match self._line.heard(data, self._loop.time()):
            case RtuAnswer(pdu, is_certain):
                self._take(pdu, is_certain=is_certain)
            case Confusion(reason):
                self._end(WrongAnswer("ambiguous", reason))

    def explain(self, timeout_s: float) -> NoAnswer | WrongAnswer:
        return no_answer(timeout_s) if self._instead is None else WrongAnswer(*self._instead)

    def _number(self, question: Question) -> None:
        """No frame of RTU has a number."""

    def _send(self, question: Question) -> None:
        super()._send(question)
        self._line.sent(RtuQuestion.of(self._unit, question.place), self.sent, self._sent_s)

    def _give_up(self) -> None:
        self._instead = self._line.gave_up()

    def _abandon(self) -> None:
        self._line.dropped()


class ModbusConnection:
    """One connection to one endpoint. Requests on it go one after the other; it belongs to one asyncio task."""

    def __init__(
        self, endpoint: Endpoint, tolerates: Tolerated | None = None, silences_before_close: int = SILENCES_BEFORE_CLOSE
    ) -> None:
        """`tolerates`: by unit; of Modbus/TCP only."""
        self._silences_before_close = silences_before_close
        self.endpoint = endpoint
        self._tolerates = tolerates or {}
        self._stream: _Stream | None = None
        self._line = RtuLine(FramerRTU.compute_CRC, endpoint.late_s or 0.0) if endpoint.is_rtu else None
        self._has_listened = False
        self._converter = Converter()
        self._questions: dict[Place, Question] = {}
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
        stream = _Stream(self.endpoint, self._converter, self._tolerates) if line is None else _RtuStream(self.endpoint, line)
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
        if stream is None or not self.is_connected:
            self.close()
            return [], NotConnected("closed", f"no connection to {self.endpoint}")
        questions = [self._questions.get(place) or self._question(place) for place in places]
        if isinstance(stream, _RtuStream):
            answers, fault = await self._ask_line(stream, unit, questions, timeout_s)
        else:
            answers, fault = await stream.ask(unit, questions, timeout_s)
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

    async def _ask_line(
        self, stream: _RtuStream, unit: int, questions: Sequence[Question], timeout_s: float
    ) -> tuple[list[Answer], Exception | None]:
        """One after the other, each as soon as no answer is owed that would pass for its own."""
        line = self._line
        assert line is not None  # noqa: S101 - the stream has it from here
        line.late_s = self.endpoint.late_s or max(line.late_s, LATE_LIMITS * timeout_s)
        loop = asyncio.get_running_loop()
        answers: list[Answer] = []
        for question in questions:
            asked = RtuQuestion.of(unit, question.place)
            deadline_s = loop.time() + timeout_s
            while (free_s := line.free_at(asked, loop.time())) > (now_s := loop.time()):
                if now_s >= deadline_s or not stream.is_open:
                    return answers, AnswerOwed(f"an answer of unit {unit} to an earlier request is owed, and would look the same")
                stream.has_heard.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(free_s, deadline_s) - now_s):
                        await stream.has_heard.wait()
            came, fault = await stream.ask(unit, [question], timeout_s)
            answers += came
            if fault is not None:
                return answers, fault
        return answers, None

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

    def _question(self, place: Place) -> Question:
        """Built once for each place."""
        function_code, address, count = place[:3]
        register_bytes = place[3] if len(place) > 3 else NARROW
        pdu = bytes([function_code]) + _REQUESTS[function_code](address=address, count=count).encode()
        question = Question(pdu, function_code, (count + 7) // 8 if function_code in _BIT_READS else register_bytes * count, place)
        self._questions[place] = question
        return question

    def _silence(self, stream: _Stream, unit: int, timeout_s: float) -> NoAnswer | WrongAnswer:
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
