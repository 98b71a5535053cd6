"""An open RTU connection, serial or over TCP: frames have no number, so that the line decides whose each answer is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from .answers import Answer, Question, no_answer
from .faults import AnswerOwed, NoAnswer, WrongAnswer
from .frames import rtu_frame
from .rtu_line import Confusion, Instead, RtuAnswer, RtuLine, RtuQuestion
from .stream import Stream


class RtuStream(Stream):
    """One request at a time; `line`, which outlives the connection, knows what is under way."""

    def __init__(self, line: RtuLine) -> None:
        super().__init__()
        self._line = line
        self._instead: Instead | None = None
        self._has_heard = asyncio.Event()

    async def ask_in_turn(self, questions: Sequence[Question], timeout_s: float) -> tuple[list[Answer], Exception | None]:
        """As `ask`, each request as soon as no answer is owed that would pass for its own; AnswerOwed where that lasts."""
        answers: list[Answer] = []
        for question in questions:
            if not await self._is_free(question, timeout_s):
                unit = question.unit
                return answers, AnswerOwed(f"an answer of unit {unit} to an earlier request is owed, and would look the same")
            came, fault = await self.ask([question], timeout_s)
            answers += came
            if fault is not None:
                return answers, fault
        return answers, None

    def data_received(self, data: bytes) -> None:
        self.received = data
        self.is_fresh = False
        self._has_heard.set()
        match self._line.heard(data, self._loop.time()):
            case RtuAnswer(pdu, is_certain):
                self._judge(pdu, is_certain=is_certain)
            case Confusion(reason):
                self._end(WrongAnswer("ambiguous", reason))

    def explain(self, timeout_s: float) -> NoAnswer | WrongAnswer:
        return no_answer(timeout_s) if self._instead is None else WrongAnswer(*self._instead)

    async def _is_free(self, question: Question, timeout_s: float) -> bool:
        """Wait until the request may be sent, for its time limit at most."""
        asked = RtuQuestion.of(question.unit, question.place)
        deadline_s = self._loop.time() + timeout_s
        while (free_s := self._line.free_at(asked, self._loop.time())) > (now_s := self._loop.time()):
            if now_s >= deadline_s or not self.is_open:
                return False
            self._has_heard.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(free_s, deadline_s) - now_s):
                    await self._has_heard.wait()
        return True

    def _send(self, question: Question) -> None:
        frame = rtu_frame(question.unit, question.pdu)
        self._put(frame)
        self._line.sent(RtuQuestion.of(question.unit, question.place), frame, self._sent_s)

    def _give_up(self) -> None:
        self._instead = self._line.gave_up()

    def _abandon(self) -> None:
        self._line.dropped()
