"""What the API works with: the store's reading side, the rules, and a way to hand a command to the engine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from millrace_contract.plant import Calendar, PlantModel, ReasonPath
from millrace_contract.runtime.asking import Inquiries
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.health import Heartbeats
from millrace_contract.runtime.influx import Influx

from ..commands import Bulk, Command
from ..entry_desk import EntryCommand
from ..rule_desk import RuleCommand, RulesInForce
from ..rules import Watched
from ..settings import AlertsSettings
from ..store import Reader
from .bell import Bell
from .idempotency import Idempotency
from .stream_places import StreamPlaces
from .tokens import ApiTokens


@dataclass(frozen=True)
class Context:
    """For the life of the process; everything in it may be used from any thread."""

    settings: AlertsSettings
    plant: PlantModel
    rules: RulesInForce
    reasons: Mapping[str, ReasonPath]
    reader: Reader
    submit: Callable[[Command | Bulk | EntryCommand | RuleCommand], bool]
    asker: Inquiries
    bell: Bell
    tokens: ApiTokens
    influx: Influx
    clock: Clock
    heartbeats: Heartbeats
    readiness: Callable[[], dict[str, bool]]
    calendar: Calendar | None = None
    """None where there is no good one: nothing but figures by shift needs it."""
    blind_since_ms: Callable[[], int | None] = lambda: None
    """Since when we are cut off from the broker; None while the plant is watched."""
    idempotency: Idempotency = field(default_factory=Idempotency)
    places: StreamPlaces = field(default_factory=StreamPlaces)

    @property
    def watched(self) -> dict[str, Watched]:
        """By alert id, under the rules that are in force now."""
        return self.rules.now.watched


def get_context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Ctx = Annotated[Context, Depends(get_context)]
