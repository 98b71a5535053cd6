"""Asking another service over one's own session with the broker: a question, a reply, a time limit; bounded, from any thread."""

from __future__ import annotations

import secrets
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime

from ..errors import Malformed, Unavailable
from ..language.messages import decode, encode
from ..language.requests import REPLY_LIMIT_S, AnyQuestion, ServiceQuestion, ServiceReply, verb_of
from ..language.times import format_timestamp
from ..language.topics import Topics
from .clock import Clock
from .mqtt.session import Received, Session

OPEN_QUESTIONS = 20
"""So many wait for replies at a time; beyond it who asks is told to come later."""
RETRY_AFTER_S = 5.0


class Inquiries:
    """`ask` from any thread but the session's; `heard` is called there with each message of the topic of our answers."""

    def __init__(self, topics: Topics, client_id: str, clock: Clock) -> None:
        self._topics = topics
        self._client_id = client_id
        self._clock = clock
        self._session: Session | None = None
        self._open: dict[str, Future[ServiceReply]] = {}
        self._lock = threading.Lock()

    @property
    def filters(self) -> tuple[str, ...]:
        """What the session must listen to; old news after an absence."""
        return (self._topics.answer("+", self._client_id),)

    def attach(self, session: Session) -> None:
        self._session = session

    def is_answer(self, received: Received) -> bool:
        """Whether a message is for here and for nobody else."""
        return received.topic.startswith(f"{self._topics.root}/_platform/answer/")

    def heard(self, received: Received) -> None:
        """A reply. One that nobody waits for, or that breaks the contract, changes nothing."""
        try:
            reply = decode(ServiceReply, received.payload)
        except Malformed:
            return
        with self._lock:
            waiting = self._open.pop(reply.id, None)
        if waiting is not None:
            waiting.set_result(reply)

    def ask(self, service: str, about: AnyQuestion, limit_s: float = REPLY_LIMIT_S) -> ServiceReply:
        """The reply. Raises Unavailable where it cannot be had in time; whether the service did anything is not known then."""
        session = self._session
        if session is None or not session.is_connected:
            raise Unavailable(f"the broker is not reached, so {service} cannot be asked", RETRY_AFTER_S)
        question = ServiceQuestion(
            id=secrets.token_hex(8),
            sender=self._client_id,
            deadline=format_timestamp(self._clock.now_ms() + round(limit_s * 1000)),
            about=about,
        )
        waiting: Future[ServiceReply] = Future()
        with self._lock:
            if len(self._open) >= OPEN_QUESTIONS:
                raise Unavailable(f"{len(self._open)} questions wait for their answer already", RETRY_AFTER_S)
            self._open[question.id] = waiting
        try:
            if session.publish(self._topics.ask(service, verb_of(about)), encode(question)) is None:
                raise Unavailable(f"the broker takes nothing now, so {service} cannot be asked", RETRY_AFTER_S)
            return waiting.result(limit_s)
        except NotInTime as error:
            raise Unavailable(f"{service} did not answer within {limit_s:g} s; is it running?", RETRY_AFTER_S) from error
        finally:
            with self._lock:
                self._open.pop(question.id, None)
