"""What travels over MQTT, except telemetry (telemetry.py): one struct a kind of message (contracts.md 2.1, 2.3 to 2.5).

Timestamps are text on the wire (times.py). Messages that must be kept carry `stream`, `seq` and `prev` of their sender's outbox.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec

from ..errors import Malformed
from .order_figures import OrderFigures, ProductFigures
from .streams import Stamp
from .words import (
    ALL_TIME,
    AlertClass,
    AlertLevel,
    BigLoss,
    CommsState,
    ConfigurationInUse,
    EventCause,
    FigureFlag,
    FigureMethod,
    IntervalKind,
    IsaState,
    Leaf,
    MachineState,
    NoFigure,
    NoOrder,
    OrderState,
    Priority,
    RevisionCause,
    StepEvent,
    StepVerdict,
    UnknownPolicy,
    WindowKind,
)

MAX_PAYLOAD_BYTES = 256 * 1024


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of every message: unknown keys are ignored, absent optional keys take their default."""


class Kept(Message, frozen=True, kw_only=True):
    """A message that goes through its sender's outbox and is confirmed once the database has it (contracts.md 2.4)."""

    stream: str | None = None
    seq: int | None = None
    prev: int | None = None


class Comms(Message, frozen=True, kw_only=True):
    """Can the device be reached?

    How well it keeps its intervals, since the gateway's start: reads of a poll group, those that began late by more than a tenth
    of their interval, turns passed over, and by how much the last ones began late on average; and `repeats`, the requests that were
    asked again because of a time-out, a spoiled answer or a busy device: a bad line shows itself there. A device that sends
    messages by itself has none of these, but `refused`: its messages that could not be read.
    """

    device_id: str
    state: CommsState
    since: str
    timestamp: str
    gateway: str
    reason: str | None = None
    round_trip_ms: float | None = None
    cycles: int | None = None
    late_cycles: int | None = None
    missed_cycles: int | None = None
    lateness_ms: float | None = None
    repeats: int | None = None
    refused: int | None = None


class PlantInUse(Message, frozen=True, kw_only=True):
    """The version of the plant model that a service runs on, since when (of these files), and how many devices it has.

    `reads`: the version of each part that this service makes use of: `plant` (plant.yaml with the profiles), `share` (what this
    gateway needs of them), `calendar`, `alert_rules`.
    """

    version: str
    devices: int
    accepted_at: str = ""
    reads: dict[str, str] = {}


class Mark(Message, frozen=True, kw_only=True):
    """A place in a sender's messages: everything up to this number of this stream, and of the streams before it, but for `waiting`.

    waiting: what was not confirmed then, as stream, first and last number.
    """

    stream: str
    seq: int
    waiting: list[tuple[str, int, int]] = []


class Sent(Message, frozen=True, kw_only=True):
    """What an outbox believes: everything up to `upto` is confirmed. `held`, `store`: what a store last said of itself (Held)."""

    upto: Mark
    held: Mark | None = None
    store: str = ""


class Held(Message, frozen=True, kw_only=True):
    """What a store holds of a sender: everything up to `mark`, which was noted at that time; None: it knows nothing of it.

    store: which database this is, and since when it runs; with another word some of what was confirmed may be missing in it.
    """

    store: str
    mark: Mark | None = None
    noted: str | None = None


class Status(Message, frozen=True, kw_only=True):
    """How a service is. As last will only `alive` (false) matters. `figures` are depths, lags and counts by name.

    `host`: where it runs. `sent`: of a service with an outbox. `trusts`: fingerprints of the authorities by which it trusts the
    broker, where it uses TLS. `notes` say in words what a person may want to know although nothing is wrong.
    """

    service: str
    instance: str
    alive: bool
    timestamp: str = ""
    version: str = ""
    started: str = ""
    host: str = ""
    taking: bool | None = None
    configuration: ConfigurationInUse = ConfigurationInUse.CURRENT
    plant: PlantInUse | None = None
    problems: list[str] = []
    notes: list[str] = []
    figures: dict[str, float] = {}
    trusts: list[str] = []
    sent: Sent | None = None


class Ledger(Kept, frozen=True, kw_only=True):
    """One loss, exact to the message: what of which stream, between which event times, and why.

    at_least: more may be gone than `count`, and nobody can say how many: the file that would tell is damaged.
    cause: a word, but no closed set (words.py): an entry counts whatever its cause is called.
    """

    timestamp: str
    service: str
    instance: str
    count: int
    cause: str
    device_id: str | None = None
    lost_stream: str | None = None
    lost_seqs: list[tuple[int, int]] = []
    first: str | None = None
    last: str | None = None
    at_least: bool = False


class Stored(Message, frozen=True, kw_only=True):
    """These messages of one stream are safe: the database or the dead letters have them. Ranges are inclusive.

    held: what the database holds of the sender in all, in answer to its status.
    """

    stream: str
    seqs: list[tuple[int, int]]
    held: Held | None = None


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


class AlertState(Message, frozen=True, kw_only=True, omit_defaults=False):
    """The state of one alert (alerts.md B1), retained. `version` grows with each change; `occurrence` names this activation.

    Of an alert that is not NORM: `value` is the newest there is, at `value_at`; `activation_value` what stood when it was raised;
    `peak` the farthest beyond the limit since the condition began, at `peak_at`. `first_out`: it is the first of its `group`;
    `first_cause` (absent else): the alert that is, and so probably why this one is. `zone` (absent else): of `value` in ISO 20816.
    `level`: which limit is reached, of a rule that has several; absent else. `limit` and `priority` are that one's.
    `revision`: of the rule, another one whenever it says something else.
    `place`: the smaller, the further in front it stands in a list (alert_order.py).
    """

    id: str
    rule: str
    line: str | None
    title: str
    alert_class: AlertClass
    priority: Priority
    state: IsaState
    version: int
    timestamp: str
    device_id: str | None = None
    occurrence: str | None = None
    condition_since: str | None = None
    activated_at: str | None = None
    cleared_at: str | None = None
    acked_by: str | None = None
    acked_at: str | None = None
    value: float | str | None = None
    limit: float | None = None
    unit: str | None = None
    shelved_until: str | None = None
    reason: str | None = None
    value_at: str | None = None
    activation_value: float | str | None = None
    peak: float | None = None
    peak_at: str | None = None
    place: int = 0
    group: str | None = None
    first_out: bool = False
    revision: str = ""
    level: AlertLevel | msgspec.UnsetType = msgspec.UNSET
    first_cause: str | msgspec.UnsetType = msgspec.UNSET
    zone: str | msgspec.UnsetType = msgspec.UNSET


class AlertEvent(Kept, frozen=True, kw_only=True, omit_defaults=False):
    """One transition of an alert; never changed afterwards.

    `event_seq` counts all events of the service without gaps; after a restore it goes on far above what was ever given.
    `value` is what stood when its cause happened, `activation_value` and `peak` are as in the state.
    """

    event_seq: int
    alert_id: str
    rule: str
    line: str | None
    from_state: IsaState
    to_state: IsaState
    cause: EventCause
    timestamp: str
    source_timestamp: str
    occurrence: str | None = None
    device_id: str | None = None
    priority: Priority | None = None
    actor: str | None = None
    value: float | str | None = None
    comment: str | None = None
    title: str = ""
    alert_class: AlertClass | None = None
    limit: float | None = None
    unit: str | None = None
    activation_value: float | str | None = None
    peak: float | None = None
    revision: str = ""
    level: AlertLevel | msgspec.UnsetType = msgspec.UNSET
    first_cause: str | msgspec.UnsetType = msgspec.UNSET
    zone: str | msgspec.UnsetType = msgspec.UNSET


class ContextState(Message, frozen=True, kw_only=True):
    """The order in force for a line or device, since when, and how it stands; without `order` there is none."""

    timestamp: str
    order: str | None = None
    state: OrderState | None = None
    since: str | None = None
    product: str | None = None
    target_parts: int | None = None
    ideal_cycle_s: float | None = None


M = TypeVar("M", bound=Message)

_encoder = msgspec.json.Encoder()


def encode(message: Message) -> bytes:
    """JSON, UTF-8."""
    return _encoder.encode(message)


def numbered(message: Kept) -> Callable[[Stamp], bytes]:
    """`Draft.encode` for the outbox: called when the message gets its number."""

    def encode_with_number(stamp: Stamp) -> bytes:
        return _encoder.encode(msgspec.structs.replace(message, stream=stamp.stream, seq=stamp.seq, prev=stamp.prev))

    return encode_with_number


class _Decoders(dict[type[Message], "msgspec.json.Decoder[Any]"]):
    def __missing__(self, kind: type[Message]) -> msgspec.json.Decoder[Any]:
        self[kind] = decoder = msgspec.json.Decoder(kind)
        return decoder


_decoders = _Decoders()


def decode(kind: type[M], payload: bytes) -> M:
    """The message, or Malformed with what is wrong and where in it."""
    check_size(payload)
    try:
        message: M = _decoders[kind].decode(payload)
    except msgspec.ValidationError as error:
        raise Malformed("schema", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # deep nesting is one too
        raise Malformed("not_json", f"not JSON: {error}") from error
    return message


def check_size(payload: bytes) -> None:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise Malformed("too_large", f"{len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} are allowed")
