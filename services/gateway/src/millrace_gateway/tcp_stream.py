"""An open Modbus/TCP connection: each request has a number, which its answer repeats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .answers import Question, explain_frame, impatient, no_answer
from .converter import Converter
from .faults import NoAnswer, WrongAnswer
from .frames import LARGEST_FRAME, NUMBER_BYTES, first_tcp_frame
from .rtu_line import LATE_LIMITS
from .stream import Stream

Tolerated = Mapping[int, frozenset[str]]
"""What is accepted in the answers of a unit though it is wrong: its "transaction" number, its "unit"."""

_TRANSACTIONS: Final = 65_000
_NO_TRANSACTION: Final = -1
_NOTHING: Final[frozenset[str]] = frozenset()


class TcpStream(Stream):
    """`converter` outlives the connection; `tolerates` is by unit."""

    def __init__(self, converter: Converter, tolerates: Tolerated) -> None:
        super().__init__()
        self._converter = converter
        self._tolerates = tolerates
        self._unit = 0
        self._transaction = 0
        self._late: tuple[Question, int] | None = None
        self._late_transaction = _NO_TRANSACTION
        self._held = b""
        self._gave_up = False
        self._sent = b""
        self._awaited_head = b""
        self._awaited_bytes = 0
        """Of the answer, while nothing but it can come: no frame is half there, and none before it is owed an answer."""

    def data_received(self, data: bytes) -> None:
        if len(data) == self._awaited_bytes and data.startswith(self._awaited_head):
            # Nearly always: number, length, unit, function and size are those of the one answer that there can be.
            self._awaited_bytes = 0
            self.received = data
            self.is_fresh = False
            self._take(data[len(self._awaited_head) :])
            return
        self._awaited_bytes = 0
        if self._held:
            data = self._held + data
        self.received = data
        self.is_fresh = False
        answer = b""
        while data:
            used, unit, transaction, pdu = first_tcp_frame(data)
            if not used:
                break
            data = data[used:]
            if pdu and not answer and self._is_ours(unit, transaction):
                answer = pdu
            if pdu and self._converter.is_owing and self._converter.answered(transaction, self._loop.time()):
                self._due_s = max(self._due_s, self._loop.time() + self._timeout_s)  # The converter is at ours only from here.
        self._held = data if len(data) <= LARGEST_FRAME else b""
        if answer:  # Only now may the next request go out: what came with this answer is none to that.
            self._judge(answer)

    def explain(self, timeout_s: float) -> NoAnswer | WrongAnswer:
        if self.received:
            return explain_frame(self._sent, self.received)
        needed_s = self._converter.needed_s(self._unit)
        return no_answer(timeout_s) if needed_s is None or needed_s <= timeout_s else impatient(timeout_s, needed_s)

    def _send(self, question: Question) -> None:
        # Where the same request was given up just now, its late answer is right for this one, too.
        late, self._late = self._late, None
        self._late_transaction = late[1] if late and late[0] == question else _NO_TRANSACTION
        self._transaction = self._transaction % _TRANSACTIONS + 1
        self._unit = question.unit
        number = self._transaction.to_bytes(NUMBER_BYTES, "big")
        self._awaited_head = number + question.tcp_answer
        is_alone = not self._held and not self._converter.is_owing
        self._awaited_bytes = len(self._awaited_head) + question.data_bytes if is_alone else 0
        self._sent = number + question.tcp_frame
        self._put(self._sent)

    def _give_up(self) -> None:
        question = self._questions[len(self._answers)]
        self._awaited_bytes = 0
        self._gave_up = True
        self._converter.gave_up(self._transaction, question.unit, self._sent_s, LATE_LIMITS * self._timeout_s)
        self._late = question, self._transaction

    def _abandon(self) -> None:
        """Its number tells its answer from others."""
        self._awaited_bytes = 0

    def _patience_s(self, now_s: float) -> float:
        return self._converter.busy_until(self._unit, now_s)

    def _is_ours(self, unit: int, transaction: int) -> bool:
        """Whether an answer is for the request under way. A device without numbers says 0: believed until one may be late."""
        if unit == self._unit and transaction == self._transaction:
            return True
        tolerated = self._tolerates.get(self._unit, _NOTHING)
        if unit != self._unit and "unit" not in tolerated:
            return False
        is_numbered = transaction in (self._transaction, self._late_transaction)
        return is_numbered or ((transaction == 0 or "transaction" in tolerated) and not self._gave_up)
