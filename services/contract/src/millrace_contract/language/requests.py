"""What one service asks another on behalf of people and MES, over MQTT: one question, one reply, a deadline (contracts.md 2.1).

A question goes to `_platform/ask/{service}/{verb}`, its reply to `_platform/answer/{service}/{who asked}`, with the question's id.
Neither is kept: who is away is asked again by whoever wants to know. What is refused is refused in words; a question whose deadline
has passed is not answered.
"""

from __future__ import annotations

import msgspec

from .explanations import Explained
from .messages import Message
from .oee_messages import OeeDocument
from .words import AskVerb, NoReply

REPLY_LIMIT_S = 15.0
"""How long who asks waits; longer than any question that a service takes on."""


class PeriodQuestion(Message, frozen=True, kw_only=True, tag_field="verb", tag=AskVerb.PERIOD.value):
    """The figures of a device, or of a line, from `start` to `end`, whatever windows there are."""

    line: str
    start: str
    end: str
    device: str | None = None


class ExplainQuestion(Message, frozen=True, kw_only=True, tag_field="verb", tag=AskVerb.EXPLAIN.value):
    """Where the figures of a window of a device, or of a line, come from; or those from `start` to `end` in place of `window`.
    `since_revision`: and what changed since that one."""

    line: str
    device: str | None = None
    window: str | None = None
    start: str | None = None
    end: str | None = None
    since_revision: int | None = None


AnyQuestion = PeriodQuestion | ExplainQuestion


class ServiceQuestion(Message, frozen=True, kw_only=True):
    """`id` is unique for the sender, a client id; `deadline` is when nobody waits any more."""

    id: str
    sender: str
    deadline: str
    about: AnyQuestion


class ServiceReply(Message, frozen=True, kw_only=True):
    """The document that was asked for, and where it comes from if that was the question; or `problem` and why in words."""

    id: str
    document: OeeDocument | None = None
    explained: Explained | None = None
    problem: NoReply | None = None
    detail: str = ""


def verb_of(question: AnyQuestion) -> AskVerb:
    return AskVerb(str(question.__struct_config__.tag))


def encode_question(question: ServiceQuestion) -> bytes:
    return msgspec.json.encode(question)
