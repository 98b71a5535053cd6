"""What people and MES post: orders, reasons of stops, scrap and rework, verdicts on counter steps; and what is answered."""

from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from millrace_contract.language.entries import ID_PATTERN, MOST_PARTS
from millrace_contract.language.oee_messages import OeeInterval
from millrace_contract.language.words import ContextKind, Leaf, MachineState, OrderAction, ReasonAction, StepVerdict

from ..entry_tables import EnteredVersion
from .action_models import Name, Text
from .examples import NOW
from .paging import TIME

START = "2025-10-15T13:20:00.000Z"
Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
Asset = Annotated[str, StringConstraints(min_length=1, max_length=63)]


class EntryBody(BaseModel):
    """What every entry has. A repeat with the same id, version and content changes nothing; a correction is the same id with
    the next version, whole."""

    model_config = ConfigDict(extra="forbid")

    id: Id = Field(description="given by who enters it; a repeat is done once", examples=["MES-4711-1"])
    version: int = Field(
        default=1, ge=1, le=1_000_000, description="one more than the last, to replace what was entered under the id"
    )
    actor: Name | None = Field(default=None, description="who says so; the token's name where it is left out", examples=["anna"])


class Cycle(BaseModel):
    model_config = ConfigDict(extra="forbid")

    parts: int = Field(default=1, ge=1, le=MOST_PARTS, examples=[4])
    seconds: float = Field(gt=0, le=86_400, description="for so many parts, at best", examples=[6.5])


class OrderBody(EntryBody):
    """An order starts, pauses, goes on or ends on a device, or on a whole line where `device` is left out."""

    line: Asset | None = Field(default=None, description="needed without device", examples=["line1"])
    device: Asset | None = Field(default=None, examples=["CNC-01"])
    action: OrderAction = Field(examples=["start"])
    order: Name = Field(examples=["4711"])
    at: str | None = Field(default=None, description="when; default: now", examples=[START], json_schema_extra=TIME)
    product: Name | None = Field(default=None, description="with start", examples=["housing-12"])
    target_parts: int | None = Field(default=None, ge=1, le=MOST_PARTS, description="with start", examples=[500])
    ideal_cycle: Cycle | None = Field(default=None, description="with start: in place of the machine's own")

    @model_validator(mode="after")
    def _details_with_start(self) -> "OrderBody":
        details = (self.product, self.target_parts, self.ideal_cycle)
        if self.action is not OrderAction.START and any(each is not None for each in details):
            raise ValueError("product, target_parts and ideal_cycle go with the start of an order")
        return self


class StopReasonBody(EntryBody):
    """Why a machine stood. `choose`: the whole stop; `split`: the part from start to end; `merge`: all stops in that time were one
    incident; `comment`: the reason stays. With `stop` the times of choose and comment may be left out."""

    line: Asset | None = Field(default=None, description="of all machines of the line that stood then", examples=[None])
    device: Asset | None = Field(default=None, examples=["CNC-01"])
    action: ReasonAction = Field(default=ReasonAction.CHOOSE, examples=["choose"])
    stop: str | None = Field(default=None, max_length=128, examples=["CNC-01/stop/2025-10-15T13:20:00.000Z"])
    start: str | None = Field(default=None, examples=[START], json_schema_extra=TIME)
    end: str | None = Field(default=None, examples=[NOW], json_schema_extra=TIME)
    reason: Name | None = Field(default=None, description="a path in reasons.yaml", examples=["mechanical/jam"])
    attributed_to: Asset | None = Field(default=None, description="the machine that made this one stand", examples=[None])
    comment: Text | None = Field(default=None, examples=["gripper again"])


class QualityBody(EntryBody):
    """Scrap or rework that the counters did not tell; below 0 for parts that are good after all."""

    device: Asset = Field(examples=["CNC-01"])
    kind: Literal[ContextKind.SCRAP, ContextKind.REWORK] = Field(examples=["scrap"])
    count: int = Field(ge=-MOST_PARTS, le=MOST_PARTS, examples=[12])
    start: str | None = Field(
        default=None, description="when the parts were made, or began to be; default: now", examples=[START], json_schema_extra=TIME
    )
    end: str | None = Field(default=None, description="and until when", examples=[NOW], json_schema_extra=TIME)
    order: Name | None = Field(default=None, examples=["4711"])
    reason: Name | None = Field(default=None, examples=["porous"])
    comment: Text | None = Field(default=None, examples=["lab report 88"])


class StepBody(EntryBody):
    """Whether the parts of a counter's step that was not counted by itself are real."""

    device: Asset = Field(examples=["CNC-01"])
    step: Name = Field(examples=["CNC-01/total/2025-10-15T13:20:00.000Z"])
    at: str = Field(description="the reading that showed it", examples=[START], json_schema_extra=TIME)
    verdict: StepVerdict = Field(examples=["accepted"])
    parts: int | None = Field(default=None, ge=0, le=2**53, description="how many of them; all without it", examples=[None])
    comment: Text | None = Field(default=None, examples=["counted by hand"])


class EntryResource(BaseModel):
    """One version of an entry, never changed. `kind` is `withdrawal` where it takes the entry back."""

    id: str = Field(examples=["MES-4711-1"])
    version: int = Field(examples=[1])
    is_last: bool = Field(description="no later version replaces it", examples=[True])
    kind: ContextKind = Field(examples=["order"])
    of_kind: ContextKind = Field(description="what it is a version of", examples=["order"])
    line: str = Field(examples=["line1"])
    device_id: str | None = Field(description="null: of the whole line", examples=["CNC-01"])
    actor: str | None = Field(examples=["anna"])
    via: str = Field(description="name of the API token", examples=["mes"])
    timestamp: str = Field(description="when it was entered", examples=[NOW])
    values: dict[str, Any] = Field(examples=[{"action": "start", "order": "4711", "at": START}])


class EntryList(BaseModel):
    """The last version of each entry, the newest first."""

    items: list[EntryResource]


class StopResource(BaseModel):
    """A stop as it is known now. Of several reasons `pieces` has all, and the others are the first one's."""

    id: str = Field(examples=["CNC-01/stop/2025-10-15T13:20:00.000Z"])
    line: str = Field(examples=["line1"])
    device_id: str = Field(examples=["CNC-01"])
    start: str = Field(examples=[START])
    end: str | None = Field(description="null while it lasts", examples=[NOW])
    state: MachineState = Field(examples=["held"])
    leaf: Leaf = Field(description="where its time counts", examples=["unplanned_stop"])
    reason: str | None = Field(examples=["mechanical/jam"])
    reason_by: str | None = Field(examples=["anna"])
    attributed_to: str | None = Field(examples=[None])
    comment: str | None = Field(examples=[None])
    incident: str | None = Field(description="stops of one incident were one", examples=[None])
    pieces: list[dict[str, str | None]] = Field(examples=[[]])
    planned_ms: int | None = Field(examples=[1_502_123])
    revision: int = Field(examples=[2])


class StopList(BaseModel):
    """Stops with time in the range that was asked for, the latest first."""

    items: list[StopResource]


class ReasonResource(BaseModel):
    """A reason, or a group of them. `titles`: its own and those of the groups above, the topmost first."""

    path: str = Field(examples=["mechanical/jam"])
    titles: list[str] = Field(examples=[["Mechanical", "Jam"]])
    leaf: Leaf | None = Field(description="where the time counts; null: as the machine's state says", examples=["unplanned_stop"])
    failure: bool = Field(examples=[False])


class ReasonList(BaseModel):
    """Every reason of reasons.yaml, in its order."""

    items: list[ReasonResource]


def entry_resource(version: EnteredVersion) -> EntryResource:
    said = msgspec.to_builtins(version.entry)
    return EntryResource(
        id=said["id"],
        version=version.entry.version,
        is_last=version.is_last,
        kind=said["kind"],
        of_kind=version.of_kind,
        line=version.placed.line,
        device_id=version.placed.device,
        actor=version.entry.actor,
        via=version.via,
        timestamp=said["timestamp"],
        values=said.get("values", {}),
    )


def stop_resource(stop: OeeInterval) -> StopResource:
    return StopResource(**{name: value for name, value in msgspec.to_builtins(stop).items() if name in StopResource.model_fields})
