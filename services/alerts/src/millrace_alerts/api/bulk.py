"""Acknowledging many alerts at once: each names the version that was seen, and each is answered for itself."""

import concurrent.futures
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from millrace_contract.errors import Unavailable
from millrace_contract.language.words import IsaState

from ..commands import Bulk, Command, StaleVersion, UnknownAlert
from ..lifecycle import Acknowledge, IllegalTransition
from .access import Acknowledges
from .action_models import ActionBody
from .actions import COMMAND_LIMIT_S
from .context import Ctx
from .problems import answers, unavailable

MAX_ITEMS = 300

router = APIRouter(prefix="/v1/alerts", tags=["alerts"])


class SeenAlert(BaseModel):
    """An alert as it was seen."""

    id: str = Field(max_length=200, examples=["spindle-hot.CNC-01"])
    version: int = Field(strict=True, ge=0, lt=10**18, examples=[7])


class BulkAckBody(ActionBody):
    items: Annotated[list[SeenAlert], Field(min_length=1, max_length=MAX_ITEMS)]


class BulkAckItem(BaseModel):
    """What became of one."""

    id: str = Field(examples=["spindle-hot.CNC-01"])
    result: Literal["done", "not-found", "stale-version", "illegal-transition"] = Field(examples=["done"])
    detail: str | None = Field(description="why it was not done", examples=[None])
    state: IsaState | None = Field(description="how the alert is now, where that is known", examples=["ACKED"])
    version: int | None = Field(examples=[8])


class BulkAckResult(BaseModel):
    items: list[BulkAckItem] = Field(description="in the order of the request")


@router.post("/ack", responses=answers("bad-request", "unauthorized", "forbidden", "too-large", "invalid", "unavailable"))
def acknowledge_many(client: Acknowledges, context: Ctx, body: BulkAckBody) -> BulkAckResult:
    """Acknowledge what was seen. What has changed since, or cannot be acknowledged, is left as it is and says so."""
    commands = tuple(
        Command(item.id, Acknowledge(), item.version, actor=body.actor, comment=body.comment, via=client.name)
        for item in body.items
    )
    bulk = Bulk(commands)
    if not context.submit(bulk):
        raise unavailable(Unavailable("too many commands are waiting", 1.0))
    try:
        bulk.answer.result(COMMAND_LIMIT_S)
    except concurrent.futures.TimeoutError as error:
        undone = bulk.answer.cancel()
        what = "nothing was done" if undone else "it may still be done, so read the alerts before trying again"
        raise unavailable(Unavailable(f"the engine did not answer in time; {what}")) from error
    return BulkAckResult(items=[_item(command) for command in commands])


def _item(command: Command) -> BulkAckItem:
    try:
        alert = command.answer.result(0)
    except UnknownAlert as error:
        return BulkAckItem(id=command.alert_id, result="not-found", detail=str(error), state=None, version=None)
    except StaleVersion as error:
        return BulkAckItem(id=command.alert_id, result="stale-version", detail=str(error), state=None, version=error.present)
    except IllegalTransition as error:
        said = str(error)
        return BulkAckItem(id=command.alert_id, result="illegal-transition", detail=said, state=error.state, version=None)
    return BulkAckItem(id=alert.id, result="done", detail=None, state=alert.state, version=alert.version)
