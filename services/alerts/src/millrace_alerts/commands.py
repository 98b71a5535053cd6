"""What a person or an MES asks of an alert, handed from the API to the worker's thread, and how it is answered."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from millrace_contract.language.words import EventCause

from .alert import Alert
from .lifecycle import Action, LearnAnew


@dataclass(frozen=True, slots=True)
class Comment:
    """A remark: it becomes an event and changes nothing."""

    cause = EventCause.COMMENT


@dataclass(frozen=True, slots=True)
class Remember:
    """Keep the answer for a repeat of the request (Idempotency-Key), in the transaction of its effect."""

    client: str
    key: str
    fingerprint: str
    render: Callable[[Alert], tuple[str, bytes]]
    """(ETag, body)"""


@dataclass(frozen=True, slots=True)
class Command:
    """An action on the alert that the person saw: `version` is what the screen showed, so nobody acts on a newer one.

    `via` names the API token. `answer` gets the alert as it is afterwards, or UnknownAlert, StaleVersion or
    IllegalTransition; a command that was cancelled before the worker took it is never carried out.
    """

    alert_id: str
    action: Action | Comment | LearnAnew
    version: int
    actor: str
    comment: str | None
    via: str
    remember: Remember | None = None
    answer: "Future[Alert]" = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class Bulk:
    """Commands that are carried out together, each for itself; `answer` comes when all of theirs have."""

    commands: tuple[Command, ...]
    answer: "Future[None]" = field(default_factory=Future)


class UnknownAlert(Exception):
    """No rule watches this."""

    def __init__(self, alert_id: str) -> None:
        super().__init__(f"there is no alert {alert_id}")


class StaleVersion(Exception):
    """The alert changed after the client had read it."""

    def __init__(self, seen: int, present: int) -> None:
        super().__init__(f"the alert has changed: it is version {present} now, the request is about version {seen}")
        self.present = present
