"""The shapes of OEE figures. Times are RFC 3339 in UTC with milliseconds."""

import msgspec
from pydantic import BaseModel, Field

from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.words import (
    BigLoss,
    FigureFlag,
    FigureMethod,
    Leaf,
    NoFigure,
    NoOrder,
    OrderState,
    RevisionCause,
    UnknownPolicy,
    WindowKind,
)

from .examples import NOW


class WindowResource(BaseModel):
    """A window of figures; `id` is unique for a kind and asset."""

    kind: WindowKind
    id: str
    start: str
    end: str


class BasisResource(BaseModel):
    """Whose sums the figures are, and which stops are left out of planned production time."""

    method: FigureMethod = Field(examples=["constraint"])
    outside: list[Leaf] = Field(examples=[["planned_stop"]])
    no_order: NoOrder | None = Field(
        default=None, description="what time without an order is; null: the plant makes no choice, it is scheduled", examples=[None]
    )


class ProductResource(BaseModel):
    """What was made of one product; null is time without an order, and an order without a product."""

    product: str | None = Field(examples=["bracket-7"])
    total: int = Field(examples=[812])
    good: int = Field(examples=[794])
    scrap: int = Field(examples=[18])
    rework: int = Field(examples=[0])
    planned_ms: int = Field(description="planned production time in which it was to be made", examples=[7_200_000])
    ideal_ms: int = Field(examples=[6_496_000])
    good_ms: int = Field(examples=[6_352_000])
    target: int | None = Field(description="parts that the target cycle allows in it", examples=[900])
    behind: int | None = Field(description="good parts that are missing to the target; below 0: more", examples=[106])


class OrderForecastResource(BaseModel):
    """When the last part of an order is due, and between which times in all likelihood; null where it is over a month away."""

    end: str | None = Field(examples=[NOW])
    earliest: str | None = Field(examples=[NOW])
    latest: str | None = Field(examples=[NOW])
    hours: int = Field(description="from so many hours of the order, of the past day", examples=[5])


class OrderResource(BaseModel):
    """Whose own time a document of kind `order` tells."""

    order: str = Field(examples=["4711"])
    product: str | None = Field(examples=["bracket-7"])
    state: OrderState = Field(examples=["running"])
    target_parts: int | None = Field(examples=[5000])
    left: int | None = Field(description="good parts that are missing to target_parts", examples=[1200])
    first_time_through: float | None = Field(description="good parts of all: what was reworked is none", examples=[0.978])
    rework_ratio: float | None = Field(examples=[0.004])
    forecast: OrderForecastResource | None = Field(description="null without target_parts, and from fewer than three hours")


class OeeResource(BaseModel):
    """The figures of one window of a device, or of a line where `device_id` is null. Ratios are 0..1."""

    device_id: str | None = Field(default=None, examples=["CNC-01"])
    line: str = Field(examples=["line1"])
    timestamp: str = Field(examples=[NOW])
    availability: float | None = Field(examples=[0.888])
    performance: float | None = Field(examples=[0.861])
    quality: float | None = Field(examples=[0.978])
    oee: float | None = Field(examples=[0.748])
    teep: float | None = Field(examples=[0.249])
    reason: NoFigure | None = Field(description="why a ratio is null", examples=[None])
    window: WindowResource = Field(
        examples=[
            {"kind": "shift", "id": "2025-10-15/early", "start": "2025-10-15T04:00:00.000Z", "end": "2025-10-15T12:00:00.000Z"}
        ]
    )
    revision: int = Field(examples=[3])
    final: bool = Field(examples=[False])
    cause: RevisionCause | None = Field(examples=["late_data"])
    ms: dict[str, int] = Field(description="the leaves of the time model and `all`, their sum", examples=[{"all": 28_800_000}])
    parts: dict[str, int] = Field(examples=[{"total": 812, "good": 794, "scrap": 18, "rework": 0, "unknown": 0}])
    ideal_ms: int = Field(examples=[21100000])
    good_ms: int = Field(examples=[20600000])
    coverage: float | None = Field(examples=[0.97])
    wip_moved: int | None = Field(default=None, examples=[-12])
    oee_end: float | None = Field(default=None, examples=[0.741])
    losses: dict[str, int] = Field(
        description="planned production time lost, in milliseconds, by kind; what is not known is left out",
        examples=[dict.fromkeys(BigLoss, 400_000)],
    )
    stops: dict[str, int] | None = Field(
        description="stops that began in the window, failures among them, and times in milliseconds; null where nobody counted",
        examples=[{"count": 4, "minor": 11, "failures": 1, "failure_ms": 840_000, "waiting_ms": 0}],
    )
    unexplained_ms: int = Field(description="unplanned stops of which nobody said why", examples=[300_000])
    reason_missing: float | None = Field(description="their share of all unplanned stops; null without one", examples=[0.25])
    ideal_cycle_s: float | None = Field(examples=[6.0])
    planned_left_ms: int = Field(description="of a window in progress: how much of it is left for production", examples=[0])
    unknown_policy: UnknownPolicy | None = Field(
        description="what counts where nobody knew; null: it differs", examples=["exclude"]
    )
    assumed_ms: int = Field(description="how much of the time rests on that policy", examples=[0])
    basis: BasisResource = Field(examples=[{"method": "machine", "outside": []}])
    versions: dict[str, str] = Field(
        description="of configuration, calendar, model and time zones behind the figures",
        examples=[{"calendar": "5e58a66fe868", "config": "f8821b34caed", "model": "4", "tzdata": "2026.6"}],
    )
    flags: list[FigureFlag] = Field(examples=[[]])
    products: list[ProductResource] | None = Field(default=None, description="by product, where orders were in force")
    order: OrderResource | None = Field(default=None, description="of a window of kind order")
    running: "OeeResource | None" = Field(default=None, description="of a shift in progress: the order in force, all of it so far")


class OeeList(BaseModel):
    items: list[OeeResource]


class OeeWindows(OeeList):
    complete: bool = Field(description="false: the database is away, these are the windows of the last weeks that we hold")


def oee_resource(document: OeeDocument) -> OeeResource:
    return OeeResource(**msgspec.to_builtins(document))
