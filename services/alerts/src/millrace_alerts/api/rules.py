"""Alert rules: read, and changed while the service runs. What is changed here lies over alerts.yaml (decision 0028)."""

import concurrent.futures
from typing import Annotated, Any
from zlib import crc32

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel, Field

from millrace_contract.errors import Unavailable
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import RuleOrigin

from ..rule_changes import revision_of, said_by
from ..rule_desk import RuleCommand, RuleRefused
from ..rule_set import RuleSet, contradiction
from .access import Configures, Reads
from .action_models import ActionBody, Name, Text
from .actions import COMMAND_LIMIT_S
from .context import Context, Ctx
from .examples import NOW
from .paging import decode_cursor, encode_cursor, next_link
from .problems import ApiProblem, answers, unavailable

router = APIRouter(prefix="/v1/rules", tags=["rules"], responses=answers("unauthorized", "forbidden", "invalid"))
COMMANDED = answers("bad-request", "not-found", "illegal-transition", "stale-version", "version-needed", "too-large", "unavailable")

MAX_ITEMS = 500
EXAMPLE = {
    "title": "Hydraulic oil too hot",
    "class": "maintenance",
    "where": {"lines": ["line1"]},
    "condition": {"kind": "threshold", "signal": "oil_temperature", "above": 65, "deadband": 3},
    "on_delay_s": 30,
}
RuleId = Annotated[str, Path(min_length=1, max_length=63, description="the rule's name in alerts.yaml", examples=["oil-hot"])]
REVISION = {"pattern": '^(W/)?"[0-9a-f]{12}(-[0-9a-f]{8})?"$'}
IfMatch = Annotated[
    str | None,
    Header(
        description="the ETag of the rule that was seen; a rule that there is not yet needs none",
        examples=['"5d1fa0c27e94"'],
        json_schema_extra=REVISION,
    ),
]


class RuleBody(ActionBody):
    """What the rule is to say, whole, in the words of alerts.yaml (docs/add-an-alert-rule.md)."""

    rule: dict[str, Any] = Field(description="every key that is not left to its default", examples=[EXAMPLE])


class RuleResource(BaseModel):
    """A rule that is in force."""

    id: str = Field(examples=["oil-hot"])
    revision: str = Field(description="another whenever the rule says something else", examples=["5d1fa0c27e94"])
    origin: RuleOrigin = Field(description="file: alerts.yaml; api: it was changed here, beyond the file", examples=["api"])
    rule: dict[str, Any] = Field(description="every key that is not left to its default", examples=[EXAMPLE])
    alerts: int = Field(description="how many devices it watches", examples=[3])
    file_revision: str | None = Field(description="of the rule of this name in alerts.yaml; null: it has none", examples=[None])
    changed_by: str | None = Field(description="who changed it here", examples=["anna"])
    changed_at: str | None = Field(examples=[NOW])
    via: str | None = Field(description="name of the API token", examples=["engineering"])
    contradiction: str | None = Field(
        description="alerts.yaml has changed since, too: what was said here is in force until somebody decides", examples=[None]
    )


class RuleList(BaseModel):
    """Rules in the order of their names; the header Link names the next page."""

    items: list[RuleResource]
    problems: list[str] = Field(description="what was changed here and contradicts alerts.yaml or the plant now", examples=[[]])


@router.get("", responses=answers("bad-request"))
def list_rules(
    *,
    request: Request,
    response: Response,
    context: Ctx,
    _client: Reads,
    origin: Annotated[RuleOrigin | None, Query(description="api: what differs from alerts.yaml")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_ITEMS)] = 100,
    cursor: Annotated[str | None, Query(max_length=400, description="from the header Link of the page before")] = None,
) -> RuleList:
    """The rules in force, those that are not `enabled` too. Built-in rules (`millrace-...`) are not among them."""
    rules = context.rules.now
    after = "" if cursor is None else decode_cursor(cursor, str)
    found = sorted(name for name in rules.rules if name > after and origin in {None, rules.origin(name)})
    if len(found) > limit:
        response.headers.update(next_link(request, cursor=encode_cursor(found[limit - 1])))
    counts = _counts(rules)
    return RuleList(items=[_resource(rules, name, counts) for name in found[:limit]], problems=list(rules.problems))


@router.get("/{rule_id}", responses=answers("not-found"))
def read_rule(rule_id: RuleId, response: Response, context: Ctx, _client: Reads) -> RuleResource:
    """One rule, as it is in force. The header ETag names its revision for If-Match."""
    rules = context.rules.now
    if rule_id not in rules.rules:
        raise ApiProblem("not-found", f"there is no rule {rule_id}; see /v1/rules ({len(rules.rules)} are in force)")
    resource = _resource(rules, rule_id, _counts(rules))
    response.headers.update({"ETag": _etag(resource), "Cache-Control": "no-cache"})
    return resource


@router.put(
    "/{rule_id}",
    response_model=RuleResource,
    responses={**COMMANDED, 201: {"model": RuleResource, "description": "There was no rule of this name"}},
)
def put_rule(rule_id: RuleId, context: Ctx, client: Configures, body: RuleBody, if_match: IfMatch = None) -> Response:
    """What the rule says from now on, in place of all that it said. It is an event with who, when and the difference.

    alerts.yaml stays as it is, and this lies over it, until it is taken back or the file says the same.
    """
    is_new = rule_id not in context.rules.now.rules
    command = RuleCommand(rule_id, body.rule, _revision(if_match), body.actor, body.comment, client.name)
    resource = _resource(rules := _ruled(context, command), rule_id, _counts(rules))
    return Response(
        resource.model_dump_json(),
        201 if is_new else 200,
        media_type="application/json",
        headers={"ETag": _etag(resource), "Cache-Control": "no-store"},
    )


@router.delete(
    "/{rule_id}",
    response_model=RuleResource,
    responses={**COMMANDED, 204: {"description": "No rule has this name any more; its open alerts ended, each with an event"}},
)
def delete_rule(  # noqa: PLR0917
    rule_id: RuleId,
    context: Ctx,
    client: Configures,
    if_match: IfMatch = None,
    actor: Annotated[Name | None, Query(description="who takes it back")] = None,
    comment: Annotated[Text | None, Query(description="why", examples=["tried out"])] = None,
) -> Response:
    """Take back what was said here: the rule of alerts.yaml is in force again, or none (204). The file's own cannot be deleted."""
    command = RuleCommand(rule_id, None, _revision(if_match), actor or client.name, comment, client.name)
    rules = _ruled(context, command)
    if rule_id not in rules.rules:
        return Response(status_code=204)
    resource = _resource(rules, rule_id, _counts(rules))
    headers = {"ETag": _etag(resource), "Cache-Control": "no-store"}
    return Response(resource.model_dump_json(), media_type="application/json", headers=headers)


def _ruled(context: Context, command: RuleCommand) -> RuleSet:
    """Carries out; raises ApiProblem."""
    if not context.submit(command):
        raise unavailable(Unavailable("too many commands are waiting", 1.0))
    try:
        return command.answer.result(COMMAND_LIMIT_S)
    except RuleRefused as error:
        errors = [{"place": key, "message": message} for key, message in error.errors]
        members: dict[str, Any] = {"errors": errors} if errors else {}
        raise ApiProblem(error.slug, str(error), **members) from error
    except concurrent.futures.TimeoutError as error:
        undone = command.answer.cancel()
        what = "nothing was changed" if undone else "it may still be, so read the rule before trying again"
        raise unavailable(Unavailable(f"the engine did not answer in time; {what}")) from error


def _revision(if_match: str | None) -> str | None:
    if if_match is None:
        return None
    text = if_match.strip().removeprefix("W/").strip('"').partition("-")[0]
    if len(text) != 12 or not set(text) <= set("0123456789abcdef"):
        raise ApiProblem("bad-request", 'If-Match: send the ETag of the rule, like "5d1fa0c27e94-1c291ca3"')
    return text


def _counts(rules: RuleSet) -> dict[str, int]:
    counts: dict[str, int] = {}
    for each in rules.watched.values():
        counts[each.rule] = counts.get(each.rule, 0) + 1
    return counts


def _resource(rules: RuleSet, name: str, counts: dict[str, int]) -> RuleResource:
    rule, edit = rules.rules[name], rules.edits.get(name)
    return RuleResource(
        id=name,
        revision=revision_of(rule),
        origin=rules.origin(name),
        rule=said_by(rule),
        alerts=counts.get(name, 0),
        file_revision=revision_of(rules.file[name]) if name in rules.file else None,
        changed_by=None if edit is None else edit.actor,
        changed_at=None if edit is None else format_timestamp(edit.at_ms),
        via=None if edit is None else edit.via,
        contradiction=None if edit is None else contradiction(edit, rules.file),
    )


def _etag(resource: RuleResource) -> str:
    return f'"{resource.revision}-{crc32(resource.model_dump_json().encode()):08x}"'
