"""An open connection to devices, and the requests under way on it, whatever the framing. Belongs to the event loop."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from .answers import Answer, Question, fault_of
from .faults import ConnectionDropped, NoAnswer, WrongAnswer

_TIMER_EARLY_S: Final = 0.001
"""A timer may go off so much early, by the resolution of the clock."""


class Stream(asyncio.Protocol, ABC):
    """Asks several requests one after the other without their task: it is woken once, when the last is answered."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._done: asyncio.Future[Exception | None] | None = None
        self._questions: Sequence[Question] = ()
        self._answers: list[Answer] = []
        self._timeout_s = 0.0
        self._sent_s = 0.0
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.is_fresh = True
        """Nothing has come yet: some devices are not ready at once."""

        self.received = b""
        """What came since the last request was sent, as far as it is one piece with the last bytes."""

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    async def ask(self, questions: Sequence[Question], timeout_s: float) -> tuple[list[Answer], Exception | None]:
        """Ask in turn until one brings no data; the answers, and why it ended early: a ReadFault, or TimeoutError.

        Each request has the time limit for itself.
        """
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

    @abstractmethod
    def explain(self, timeout_s: float) -> NoAnswer | WrongAnswer:
        """Nothing usable came within the time limit: what did."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - TCP, TLS and serial are
        self._transport = transport

    def connection_lost(self, _exc: Exception | None) -> None:
        self._transport = None
        self._abandon()
        self._end(ConnectionDropped("closed", "the device closed the connection before it answered"))

    @abstractmethod
    def _send(self, question: Question) -> None:
        """Put the request into its frame, and `_put` that on the wire."""

    @abstractmethod
    def _give_up(self) -> None:
        """The request under way was not answered in time."""

    @abstractmethod
    def _abandon(self) -> None:
        """The request under way is not waited for any more, though it may be answered."""

    def _patience_s(self, now_s: float) -> float:
        """Until when an answer may come although its time limit is over; `now_s` or earlier where that shows silence."""
        return now_s

    def _put(self, frame: bytes) -> None:
        assert self._transport is not None  # noqa: S101 - the caller has looked
        self.received = b""
        self._sent_s = sent_s = self._loop.time()
        self._due_s = due_s = sent_s + self._timeout_s
        timer = self._timer
        if timer is None or timer.when() > due_s:
            self._set_timer()
        self._transport.write(frame)

    def _judge(self, pdu: bytes, *, is_certain: bool = True) -> None:
        """An answer to the request under way: its data, or what is wrong with it."""
        if self._done is None or self._done.done():
            return
        question = self._questions[len(self._answers)]
        data = question.data_of(pdu)
        if data is None:
            self._end(fault_of(pdu, question))
        else:
            self._take(data, is_certain=is_certain)

    def _take(self, data: bytes, *, is_certain: bool = True) -> None:
        """The data that the request under way asked for; the next one goes out."""
        answers = self._answers
        answers.append(Answer(data, (self._loop.time() - self._sent_s) * 1000, is_certain))
        if len(answers) == len(self._questions):
            self._end(None)
        elif self._transport is not None:
            self._send(self._questions[len(answers)])

    def _set_timer(self) -> None:
        """One timer for many requests: it is looked at when it goes off, not set anew for each."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._due_s, self._look_at_time)

    def _look_at_time(self) -> None:
        self._timer = None
        if self._done is None or self._done.done():  # Answered in this very turn of the loop.
            return
        now_s = self._loop.time()
        if now_s >= self._due_s - _TIMER_EARLY_S:
            until_s = self._patience_s(now_s)
            if until_s <= now_s:
                self._give_up()
                self._end(TimeoutError())
                return
            self._due_s = min(until_s, now_s + self._timeout_s)
        self._set_timer()

    def _end(self, fault: Exception | None) -> None:
        done = self._done
        if done is not None and not done.done():
            done.set_result(fault)
