"""What oee says over MQTT: documents of windows, and intervals of states, stops and counter steps (contracts.md 2.5)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from .messages import Kept, Message
from .order_figures import OrderFigures, ProductFigures
from .words import (
    ALL_TIME,
    BigLoss,
    FigureFlag,
    FigureMethod,
    IntervalKind,
    Leaf,
    MachineState,
    NoFigure,
    NoOrder,
    RevisionCause,
    StepEvent,
    StepVerdict,
    UnknownPolicy,
    WindowKind,
)


class Window(Message, frozen=True, kw_only=True):
    """`id` is unique for a kind and asset, for example `2025-10-15/early`."""

    kind: WindowKind
    id: str
    start: str
    end: str


class Parts(Message, frozen=True, kw_only=True, omit_defaults=False):
    """`unknown`: how many of `total` were made in time of which nothing is known; they meet no ideal time (oee.md A9).

    `quarantined`: parts of counter steps that wait for a decision (oee.md A7); they are in none of the others. `startup`: how many
    of `scrap` an order's start-up rejected; only where the plant has them told apart.
    """

    total: int = 0
    good: int = 0
    scrap: int = 0
    rework: int = 0
    unknown: int = 0
    quarantined: int = 0
    startup: int | msgspec.UnsetType = msgspec.UNSET


class StopCounts(Message, frozen=True, kw_only=True, omit_defaults=False):
    """Stops in time planned for production. Each counts in the window in which it began, its time in every window it has time in.

    `count`: unplanned stops; `minor`: micro-stops. `failures`: those unplanned stops that a fault of the machine's own made,
    `failure_ms` their time. `waiting_ms`: the time of those in which it waited for others, starved or blocked.
    """

    count: int = 0
    minor: int = 0
    failures: int = 0
    failure_ms: int = 0
    waiting_ms: int = 0


class Basis(Message, frozen=True, kw_only=True, omit_defaults=False):
    """What a window's figures rest on beside `versions`: whose sums, and which stops are left out of planned production time.

    `no_order`: what time without an order is, where the plant says so; left out, it is scheduled as any other.
    """

    method: FigureMethod = FigureMethod.MACHINE
    outside: list[Leaf] = []
    no_order: NoOrder | msgspec.UnsetType = msgspec.UNSET


_MS_KEYS = (ALL_TIME, *Leaf)


_LOSSES = frozenset(BigLoss)


class OeeDocument(Kept, frozen=True, kw_only=True, omit_defaults=False):
    """The figures of one window of a device, or of a line when `device_id` is absent (contracts.md 2.5).

    `unexplained_ms`: unplanned stops of which nobody said why; `reason_missing` is their share of all.

    `ms` holds every leaf of the time model and `all`, their sum. Ratios are 0..1 (performance may exceed 1) or null with a reason.
    `losses`: time lost by kind, whose sum and good time are planned production time; what is not known is left out.
    `ideal_cycle_s`: the ideal time of one part, of a line by its bottleneck in machine time. `stops` is null where nobody counted.
    `planned_left_ms`: of a window in progress, how much is left of it in shifts without breaks, in machine time.

    Of a line only: `wip_moved`, good parts that came off the end beyond those that the bottleneck made (below 0: that stayed in
    the line), and of its days `oee_end`, OEE by the good parts at the end. `unknown_policy` says what the figures rest on where
    nobody knew what the machine did (null: the machines of a line differ), `assumed_ms` how much of the time in `ms` rests on it.

    Where orders were in force: `products`, what was made by product; `order` of a window of that kind, whose time is the order's
    own (`window` lasts from its first start to its last end, and may be longer); `running`, of a shift in progress, is the document
    of the order in force so far.
    """

    line: str
    timestamp: str
    window: Window
    ms: Annotated[dict[str, int], msgspec.Meta(extra_json_schema={"propertyNames": {"enum": list(_MS_KEYS)}})]
    parts: Parts
    device_id: str | msgspec.UnsetType = msgspec.UNSET
    availability: float | None = None
    performance: float | None = None
    quality: float | None = None
    oee: float | None = None
    teep: float | None = None
    reason: NoFigure | None = None
    revision: int = 1
    final: bool = False
    cause: RevisionCause | None = None
    ideal_ms: int = 0
    good_ms: int = 0
    coverage: float | None = None
    wip_moved: int | None = None
    oee_end: float | None = None
    unknown_policy: UnknownPolicy | None = None
    assumed_ms: int = 0
    unexplained_ms: int = 0
    reason_missing: float | None = None
    losses: Annotated[dict[str, int], msgspec.Meta(extra_json_schema={"propertyNames": {"enum": list(BigLoss)}})] = {}
    stops: StopCounts | None = None
    ideal_cycle_s: float | None = None
    planned_left_ms: int = 0
    flags: list[FigureFlag] = []
    basis: Basis = Basis()
    versions: dict[str, str] = {}
    products: list[ProductFigures] | msgspec.UnsetType = msgspec.UNSET
    order: OrderFigures | msgspec.UnsetType = msgspec.UNSET
    running: OeeDocument | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        """A decoder makes what this raises its own error."""
        for key in self.ms:
            if key not in _MS_KEYS:
                raise ValueError(f"{key[:40]!r} is no leaf of the time model; allowed in `ms`: {', '.join(_MS_KEYS)}")
        for key in self.losses:
            if key not in _LOSSES:
                raise ValueError(f"{key[:40]!r} is no loss; allowed in `losses`: {', '.join(BigLoss)}")


class StopPiece(Message, frozen=True, kw_only=True):
    """A part of a stop with a reason of its own; the pieces of a stop tile it. `end` is null while it lasts."""

    start: str
    end: str | None = None
    reason: str | None = None
    reason_by: str | None = None
    attributed_to: str | None = None
    comment: str | None = None


class UncountedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step of a counter whose parts nobody can vouch for: from one good reading to the next.

    `counter` is its signal, `parts` what it may stand for at least. `verdict` is what was decided (null: it waits), `counted` how
    many of its parts count since.
    """

    counter: str
    from_value: int
    to_value: int
    event: StepEvent
    parts: int
    verdict: StepVerdict | None = None
    counted: int = 0
    comment: str | None = None


class OeeInterval(Kept, frozen=True, kw_only=True, omit_defaults=False):
    """A stretch of one machine state, or one stop. Upserted by `id`; `end` is null while it lasts.

    `planned_ms`: of a stop that has ended, how long it was in time planned for production, without nights and breaks. `assumed`:
    nobody saw the machine in this state; the plant's policy for unknown time says so. `code`: what the machine says of its state
    where its profile does not say what that means.

    Of a stop: `reason` is the path in reasons.yaml why it stood, `reason_by` who said so (null: the machine), `attributed_to` the
    machine that made it stand; where several reasons share it, these are the first one's, and `pieces` has all. Stops of one
    `incident` were one for those who mended it.

    Of the kind counter_step: `step`, from the reading before it to the one that showed it; `pending` until somebody decides. Its
    state and leaf say nothing.
    """

    id: str
    device_id: str
    line: str
    kind: IntervalKind
    state: MachineState
    leaf: Leaf
    start: str
    timestamp: str
    end: str | None = None
    reason: str | None = None
    reason_by: str | None = None
    attributed_to: str | None = None
    comment: str | None = None
    incident: str | None = None
    pieces: list[StopPiece] = []
    step: UncountedStep | None = None
    pending: bool = False
    assumed: bool = False
    code: str | None = None
    planned_ms: int | None = None
    revision: int = 1
