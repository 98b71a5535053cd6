"""One service asks another over a real broker: answered, refused in words, too late, too many, and nobody there."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from millrace_contract.errors import Unavailable
from millrace_contract.language.explanations import Explained
from millrace_contract.language.messages import encode
from millrace_contract.language.oee_messages import OeeDocument, Parts, Window
from millrace_contract.language.requests import AnyQuestion, PeriodQuestion, ServiceQuestion, ServiceReply
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.topics import Topics
from millrace_contract.language.words import Leaf, NoReply, WindowKind
from millrace_contract.runtime.answering import Answering, NotAnswered
from millrace_contract.runtime.asking import OPEN_QUESTIONS, Inquiries
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.health import Heartbeats
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks, Received
from millrace_contract.testing import Mosquitto, wait_until

pytestmark = pytest.mark.broker

AT = "2025-10-15T13:00:00.000Z"
QUESTION = PeriodQuestion(line="line1", device="CNC-01", start=AT, end=AT)
DOCUMENT = OeeDocument(
    line="line1",
    timestamp=AT,
    window=Window(kind=WindowKind.PERIOD, id="x", start=AT, end=AT),
    ms=dict.fromkeys(["all", *Leaf], 0),
    parts=Parts(total=7),
    device_id="CNC-01",
)


@dataclass
class Ends:
    """Who asks and who answers, each with a session of its own below a root of their own."""

    broker: Mosquitto
    root: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:8]}")
    asked: list[AnyQuestion] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)
    problem: Exception | None = None
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        clock = SystemClock()
        self.topics = Topics(self.root)
        self.asker = Inquiries(self.topics, f"alerts-{self.root}", clock)
        self.answering = Answering(self.topics, "oee", self.answer, clock, Heartbeats(clock))
        self.sessions = [
            self._session(f"alerts-{self.root}", self.asker.filters, self.asker.heard),
            self._session(f"oee-{self.root}", self.answering.filters, self.answering.heard),
        ]
        self.asker.attach(self.sessions[0])
        self.answering.attach(self.sessions[1])
        self.go.set()

    def _session(self, client_id: str, filters: tuple[str, ...], heard: Callable[[Received], None]) -> LeanSession:
        return LeanSession(self.broker.settings(), client_id, Callbacks(message=heard), fleeting=filters, persistent=True)

    def answer(self, question: AnyQuestion, go_on: Callable[[], None]) -> ServiceReply:
        self.asked.append(question)
        assert self.go.wait(60)
        go_on()
        if self.problem is not None:
            raise self.problem
        explained = Explained(words=self.words, adds_up=True, figures=[]) if self.words else None
        return ServiceReply(id="", document=DOCUMENT, explained=explained)

    def start(self, *, with_service: bool = True) -> Ends:
        for session in self.sessions[: 1 + with_service]:
            session.start()
            assert session.wait_connected(30)
        self.answering.start()
        return self

    def stop(self) -> None:
        self.go.set()
        self.answering.stop()
        for session in self.sessions:
            session.stop()


@pytest.fixture
def ends(mosquitto: Mosquitto) -> Iterator[Ends]:
    both = Ends(mosquitto)
    yield both
    both.stop()


def test_a_question_is_answered_with_its_document(ends: Ends) -> None:
    ends.start()
    reply = ends.asker.ask("oee", QUESTION, 30)
    assert (reply.document, reply.problem) == (DOCUMENT, None)
    assert ends.asked == [QUESTION]


@pytest.mark.parametrize(
    ("problem", "word", "detail"),
    [
        (NotAnswered(NoReply.REFUSED, "longer than 48 h"), NoReply.REFUSED, "longer than 48 h"),
        (Unavailable("no database"), NoReply.UNAVAILABLE, "no database"),
    ],
)
def test_what_is_refused_is_refused_in_words(ends: Ends, problem: Exception, word: NoReply, detail: str) -> None:
    ends.problem = problem
    reply = ends.start().asker.ask("oee", QUESTION, 30)
    assert (reply.document, reply.problem, reply.detail) == (None, word, detail)


def test_an_answer_that_no_broker_takes_is_refused_in_words(ends: Ends) -> None:
    """A longer packet would end the connection."""
    ends.words = ["x" * 1000] * 300
    reply = ends.start().asker.ask("oee", QUESTION, 30)
    assert (reply.explained, reply.problem) == (None, NoReply.REFUSED)
    assert "ask for a shorter time" in reply.detail
    ends.words = ["x"]
    assert ends.asker.ask("oee", QUESTION, 30).explained == Explained(words=["x"], adds_up=True, figures=[])


def test_who_is_away_is_said_in_time_and_asked_again_later(ends: Ends) -> None:
    ends.start(with_service=False)
    with pytest.raises(Unavailable, match=r"oee did not answer within 0\.2 s") as refused:
        ends.asker.ask("oee", QUESTION, 0.2)
    assert refused.value.retry_after_s
    ends.sessions[1].start()
    assert ends.sessions[1].wait_connected(30)
    assert ends.asker.ask("oee", QUESTION, 30).document == DOCUMENT
    assert len(ends.asked) == 1, "what was asked while it was away is old news"


def test_without_a_broker_nobody_waits(ends: Ends) -> None:
    with pytest.raises(Unavailable, match="the broker is not reached"):
        ends.asker.ask("oee", QUESTION, 30)


def test_a_late_answer_and_a_strangers_change_nothing(ends: Ends) -> None:
    ends.go.clear()
    ends.start()
    with pytest.raises(Unavailable):
        ends.asker.ask("oee", QUESTION, 0.2)
    stranger = encode(ServiceReply(id="nobody-asked"))
    ends.sessions[1].publish(ends.topics.answer("oee", f"alerts-{ends.root}"), stranger)
    ends.sessions[1].publish(ends.topics.answer("oee", f"alerts-{ends.root}"), b"{")
    ends.go.set()
    assert ends.asker.ask("oee", QUESTION, 30).document == DOCUMENT


def test_a_question_whose_deadline_has_passed_is_not_worked_on(ends: Ends) -> None:
    ends.start()
    old = ServiceQuestion(id="x", sender=f"alerts-{ends.root}", deadline=format_timestamp(1_760_000_000_000), about=QUESTION)
    ends.sessions[0].publish(ends.topics.ask("oee", "period"), encode(old))
    other_verb = ServiceQuestion(id="y", sender=f"alerts-{ends.root}", deadline="2999-01-01T00:00:00Z", about=QUESTION)
    ends.sessions[0].publish(ends.topics.ask("oee", "explain"), encode(other_verb))
    ends.sessions[0].publish(ends.topics.ask("oee", "period"), b'{"id": 1}')
    ends.asker.ask("oee", QUESTION, 30)
    assert len(ends.asked) == 1


@pytest.mark.long
def test_more_questions_than_fit_are_told_to_come_later(ends: Ends) -> None:
    ends.go.clear()
    ends.start()
    told: list[Any] = []

    def ask() -> None:
        try:
            told.append(ends.asker.ask("oee", QUESTION, 30))
        except Unavailable as error:
            told.append(error.reason)

    with ThreadPoolExecutor(OPEN_QUESTIONS + 3) as people:
        asking = [people.submit(ask) for _ in range(OPEN_QUESTIONS + 3)]
        wait_until(lambda: len(told) == OPEN_QUESTIONS + 3 - 17, "those for whom there is no room")
        ends.go.set()
        for each in asking:
            each.result(60)
    refused = {each if isinstance(each, str) else each.problem for each in told[:6]}
    assert refused <= {f"{OPEN_QUESTIONS} questions wait for their answer already", NoReply.BUSY}
    assert [each.document for each in told[6:]] == [DOCUMENT] * 17, "one at work and sixteen that wait"
