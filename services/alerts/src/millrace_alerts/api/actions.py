"""What a person or an MES does to an alert. The request names the version that was seen, so nobody acts on a newer one."""

import concurrent.futures
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response

from millrace_contract.errors import Unavailable

from ..alert import Alert
from ..commands import Command, Comment, Remember, StaleVersion, UnknownAlert
from ..lifecycle import (
    Acknowledge,
    Action,
    IllegalTransition,
    LearnAnew,
    NothingLearnt,
    Reset,
    ReturnToService,
    Shelf,
    Shelve,
    TakeOutOfService,
    Unacknowledge,
    Unshelve,
)
from .access import Acknowledges, Shelves
from .action_models import ActionBody, CommentBody, OutOfServiceBody, ShelveBody
from .alert_models import AlertResource, alert_resource, etag_of
from .alerts import no_such_alert
from .context import Ctx
from .idempotency import MAX_KEY_CHARACTERS, fingerprint_of, stored_answer
from .paging import time_parameter
from .problems import ApiProblem, answers, invalid, unavailable
from .tokens import Client

COMMAND_LIMIT_S = 5.0
"""The worker answers in milliseconds; longer means that the disk hangs."""

router = APIRouter(
    prefix="/v1/alerts/{alert_id}",
    tags=["alerts"],
    responses=answers(
        "bad-request",
        "unauthorized",
        "forbidden",
        "not-found",
        "illegal-transition",
        "in-progress",
        "stale-version",
        "too-large",
        "version-needed",
        "invalid",
        "key-reused",
        "unavailable",
    ),
)

VERSION = {"pattern": '^(W/)?"[0-9]{1,18}(-[0-9a-z_]+)?"$'}
IfMatch = Annotated[
    str | None,
    Header(description='the ETag, or "<version>", of the alert that was seen', examples=['"7"'], json_schema_extra=VERSION),
]
Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=MAX_KEY_CHARACTERS, description="repeats are carried out once"),
]


class Incoming:
    """One command on its way to the engine and back: what every action's request has."""

    def __init__(self, alert_id: str, request: Request, context: Ctx, if_match: IfMatch = None, key: Key = None) -> None:
        self._context = context
        self._path = request.url.path
        self._alert_id = alert_id
        self._if_match = if_match
        self._key = key

    def perform(
        self, client: Client, action: Action | Comment | LearnAnew, body: ActionBody, remark: str | None = None
    ) -> Response:
        """Carries out, once, and answers with the alert as it is afterwards; raises ApiProblem."""
        said = [text for text in (remark, body.comment) if text]
        command = Command(
            alert_id=self._alert_id,
            action=action,
            version=_version(self._if_match),
            actor=body.actor,
            comment=" - ".join(said) or None,
            via=client.name,
        )
        if self._key is None:
            return _answer(*self._execute(command))
        fingerprint = fingerprint_of(self._path, str(command.version), body.model_dump_json())
        with self._context.idempotency.claim(client.name, self._key):
            earlier = stored_answer(self._context.reader, client.name, self._key, fingerprint)
            if earlier is not None:
                return _answer(earlier.etag, earlier.body)
            remember = Remember(client.name, self._key, fingerprint, self._render)
            return _answer(*self._execute(replace(command, remember=remember)))

    def _execute(self, command: Command) -> tuple[str, bytes]:
        if not self._context.submit(command):
            raise unavailable(Unavailable("too many commands are waiting", 1.0))
        try:
            return self._render(command.answer.result(COMMAND_LIMIT_S))
        except UnknownAlert as error:
            raise no_such_alert(self._context, self._alert_id) from error
        except StaleVersion as error:
            raise ApiProblem("stale-version", str(error), version=error.present) from error
        except IllegalTransition as error:
            raise ApiProblem("illegal-transition", str(error), state=error.state) from error
        except NothingLearnt as error:
            raise ApiProblem("illegal-transition", str(error)) from error
        except concurrent.futures.TimeoutError as error:
            undone = command.answer.cancel()
            what = "nothing was done" if undone else "it may still be done, so read the alert before trying again"
            raise unavailable(Unavailable(f"the engine did not answer in time; {what}")) from error

    def _render(self, alert: Alert) -> tuple[str, bytes]:
        watched = self._context.watched.get(alert.id)
        if watched is None:  # Its rule was taken away in this very moment.
            raise no_such_alert(self._context, alert.id)
        resource = alert_resource(alert, watched, self._context.blind_since_ms())
        return etag_of(resource), resource.model_dump_json().encode()


Asked = Annotated[Incoming, Depends(Incoming)]


@router.post("/ack", response_model=AlertResource)
def acknowledge(client: Acknowledges, asked: Asked, body: ActionBody) -> Response:
    """Somebody has seen it: UNACK becomes ACKED, RTNUN becomes NORM, LATCH_UNACK becomes LATCH_ACK."""
    return asked.perform(client, Acknowledge(), body)


@router.post("/unack", response_model=AlertResource)
def unacknowledge(client: Acknowledges, asked: Asked, body: ActionBody) -> Response:
    """Take an acknowledgement back: ACKED becomes UNACK."""
    return asked.perform(client, Unacknowledge(), body)


@router.post("/reset", response_model=AlertResource)
def reset(client: Acknowledges, asked: Asked, body: ActionBody) -> Response:
    """Release a latch after the condition is gone: LATCH_ACK becomes NORM, LATCH_UNACK becomes RTNUN."""
    return asked.perform(client, Reset(), body)


@router.post("/comment", response_model=AlertResource)
def comment(client: Acknowledges, asked: Asked, body: CommentBody) -> Response:
    """Add a remark to the alert's events."""
    return asked.perform(client, Comment(), body)


@router.post("/learn", response_model=AlertResource)
def learn_anew(client: Acknowledges, asked: Asked, body: CommentBody) -> Response:
    """Learn anew what is normal of this machine, after a repair; the comment says which. What the former normal raised ends."""
    return asked.perform(client, LearnAnew(), body)


@router.post("/shelve", response_model=AlertResource)
def shelve(client: Shelves, asked: Asked, context: Ctx, body: ShelveBody) -> Response:
    """Hide the alert until a time, with a reason. It is still evaluated and recorded."""
    now_ms = context.clock.now_ms()
    until_ms = time_parameter("body.until", body.until) if body.until else now_ms + round((body.for_s or 0) * 1000)
    longest_ms = round(context.settings.shelve_max_h * 3_600_000)
    if not now_ms < until_ms <= now_ms + longest_ms:
        raise invalid("body.until", f"must lie in the future, and at most {context.settings.shelve_max_h:g} h from now")
    shelf = Shelf(by=body.actor, reason=body.reason, since_ms=now_ms, until_ms=until_ms, one_shot=body.one_shot)
    return asked.perform(client, Shelve(shelf), body, remark=body.reason)


@router.post("/unshelve", response_model=AlertResource)
def unshelve(client: Shelves, asked: Asked, body: ActionBody) -> Response:
    """Show the alert again: NORM when all is well, else UNACK."""
    return asked.perform(client, Unshelve(), body)


@router.post("/out-of-service", response_model=AlertResource)
def take_out_of_service(client: Shelves, asked: Asked, body: OutOfServiceBody) -> Response:
    """Hide the alert while its device is worked on, until somebody returns it to service. It is still evaluated and recorded."""
    return asked.perform(client, TakeOutOfService(body.work_order), body, remark=f"work order {body.work_order}")


@router.post("/return-to-service", response_model=AlertResource)
def return_to_service(client: Shelves, asked: Asked, body: ActionBody) -> Response:
    """The work is done: NORM when all is well, else UNACK."""
    return asked.perform(client, ReturnToService(), body)


def _answer(etag: str, body: bytes) -> Response:
    return Response(body, media_type="application/json", headers={"ETag": etag, "Cache-Control": "no-store"})


def _version(if_match: str | None) -> int:
    """The version that the client saw; `"7"` and the ETag `"7-1c291ca3"` both name it."""
    if if_match is None:
        raise ApiProblem("version-needed", "send the header If-Match with the ETag of the alert that you saw")
    text = if_match.strip().removeprefix("W/").strip('"').partition("-")[0]
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise ApiProblem("bad-request", 'If-Match: send the ETag of the alert, like "7-1c291ca3"')
    return int(text)
