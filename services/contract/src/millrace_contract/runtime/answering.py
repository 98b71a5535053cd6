"""Answering what is asked over the broker: one thread, one question at a time, a bounded queue. A slow answer delays no message."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import msgspec

from ..errors import Malformed, Unavailable
from ..language.assets import segment_problem
from ..language.messages import MAX_PAYLOAD_BYTES, decode, encode
from ..language.requests import AnyQuestion, ServiceQuestion, ServiceReply, verb_of
from ..language.times import parse_timestamp
from ..language.topics import Topics
from ..language.words import NoReply
from .clock import Clock
from .health import Heartbeats
from .logs import get_logger
from .mqtt.session import Received, Session

WAITING = 16

_log = get_logger(__name__)


class NotAnswered(Exception):
    """Why a question gets no document, for a person."""

    def __init__(self, problem: NoReply, detail: str) -> None:
        super().__init__(detail)
        self.problem = problem


Answers = Callable[[AnyQuestion, Callable[[], None]], ServiceReply]
"""(question, go on) to the reply, its id aside. What takes long calls `go on` between its steps: it raises NotAnswered once nobody
waits any more. Raises NotAnswered and Unavailable."""


class Answering:
    """`heard` is called on the session's thread, everything else happens on its own."""

    def __init__(
        self,
        topics: Topics,
        service: str,
        answer: Answers,
        clock: Clock,
        heartbeats: Heartbeats,
        *,
        is_mine: Callable[[AnyQuestion], bool] = lambda _question: True,
    ) -> None:
        """`is_mine`: of several instances that all hear a question, one answers."""
        self._topics = topics
        self._questions = f"{topics.root}/_platform/ask/"
        self._service = service
        self._answer = answer
        self._is_mine = is_mine
        self._clock = clock
        self._heartbeats = heartbeats
        self._session: Session | None = None
        self._waiting: deque[ServiceQuestion] = deque()
        self._changed = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="answering", daemon=True)

    @property
    def filters(self) -> tuple[str, ...]:
        """What the session must listen to; old news after an absence."""
        return (self._topics.ask(self._service, "+"),)

    def attach(self, session: Session) -> None:
        self._session = session

    def is_question(self, received: Received) -> bool:
        """Whether a message is for here and for nobody else."""
        return received.topic.startswith(self._questions)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._changed.set()
        if self._thread.ident is not None:
            self._thread.join(2.0)

    def heard(self, received: Received) -> None:
        """A question. What breaks the contract has nobody to be answered to."""
        try:
            question = decode(ServiceQuestion, received.payload)
            parse_timestamp(question.deadline)
        except (Malformed, ValueError) as error:
            _log.warning("question_not_understood", topic=received.topic, reason=str(error))
            return
        if received.topic != self._topics.ask(self._service, verb_of(question.about)) or segment_problem(question.sender):
            _log.warning("question_not_understood", topic=received.topic, reason="its topic, or who asks, is not as it says")
            return
        if not self._is_mine(question.about):
            return  # another instance answers
        if len(self._waiting) >= WAITING:
            self._reply(question, ServiceReply(id=question.id, problem=NoReply.BUSY, detail=f"{WAITING} questions wait already"))
            return
        self._waiting.append(question)
        self._changed.set()

    def _run(self) -> None:
        while not self._stopping:
            self._heartbeats.beat("answering")
            self._changed.wait(5.0)
            self._changed.clear()
            while self._waiting and not self._stopping:
                self._heartbeats.beat("answering")
                self._take(self._waiting.popleft())
        self._heartbeats.retire("answering")

    def _take(self, question: ServiceQuestion) -> None:
        if parse_timestamp(question.deadline) <= self._clock.now_ms():
            return  # Nobody waits for it any more.
        try:
            reply = self._answer(question.about, lambda: self._go_on(question))
        except NotAnswered as error:
            reply = ServiceReply(id="", problem=error.problem, detail=str(error))
        except Unavailable as error:
            reply = ServiceReply(id="", problem=NoReply.UNAVAILABLE, detail=error.reason)
        self._reply(question, reply)

    def _go_on(self, question: ServiceQuestion) -> None:
        self._heartbeats.beat("answering")
        if parse_timestamp(question.deadline) <= self._clock.now_ms():
            raise NotAnswered(NoReply.UNAVAILABLE, "it took too long; ask for a shorter time, or for fewer machines")

    def _reply(self, question: ServiceQuestion, reply: ServiceReply) -> None:
        if self._session is not None:
            payload = encode(msgspec.structs.replace(reply, id=question.id))
            if len(payload) > MAX_PAYLOAD_BYTES:
                detail = f"the answer has {len(payload)} bytes, more than the broker takes; ask for a shorter time"
                payload = encode(ServiceReply(id=question.id, problem=NoReply.REFUSED, detail=detail))
            self._session.publish(self._topics.answer(self._service, question.sender), payload)
