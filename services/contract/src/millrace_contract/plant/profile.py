"""Device profiles: a device class as data - its registers, their types and units (contracts.md 3). A new device needs no code."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from ..language.words import NOT_TOLD, AssetClass, Leaf, MachineState
from .document import Strict, nearest, tag_of
from .machine_states import PACKML_NUMBERS, RUN_BIT, CycleRule, PackMlEdition, RunningBand, StateSource
from .message_signal import MessageForm, MessageSignal
from .register_signal import RegisterSignal
from .register_types import Table, WordOrder
from .valid_from import DatedChange

DAY_S = 86_400.0


class Group(Strict):
    """A poll group: its signals are read together, every `interval_s`; with `once` only when the device is met: with the first
    message after a start, an outage or a new session with the broker, and then every minute until all of it was read."""

    interval_s: float = Field(default=DAY_S, gt=0, le=DAY_S)
    once: bool = False

    @model_validator(mode="after")
    def _one_of_both(self) -> Group:
        if self.once == ("interval_s" in self.model_fields_set):
            raise ValueError("needs interval_s, or once: true")
        return self


class DeviceLimits(Strict):
    """What the device accepts in one request, how many unused registers may be read along to save a request (None: as many as
    make it cheaper), and how long the device must be left alone after an answer and after a connection was made."""

    max_registers: int = Field(default=125, ge=1, le=125)
    max_bits: int = Field(default=2000, ge=1, le=2000)
    max_gap: int | None = Field(default=None, ge=0, le=124)
    pause_ms: float = Field(default=0.0, ge=0, le=5_000)
    pause_after_connect_ms: float = Field(default=0.0, ge=0, le=30_000)

    @property
    def widest_gap(self) -> int:
        return self.max_registers - 1 if self.max_gap is None else self.max_gap


class AddressRange(Strict):
    """Addresses of one table, both ends among them."""

    table: Table = "holding"
    first: int = Field(ge=0, le=65_535)
    last: int = Field(ge=0, le=65_535)

    @model_validator(mode="after")
    def _ascending(self) -> AddressRange:
        if self.first > self.last:
            raise ValueError(f"first {self.first} comes after last {self.last}")
        return self


class Barrier(Strict):
    """What no request reads across: the addresses `first` to `last`, or the border just before the address `at`."""

    table: Table = "holding"
    first: int | None = Field(default=None, ge=0, le=65_535)
    last: int | None = Field(default=None, ge=0, le=65_535)
    at: int | None = Field(default=None, ge=1, le=65_535)

    @property
    def start(self) -> int:
        return (self.at if self.first is None else self.first) or 0

    @property
    def end(self) -> int:
        """The first address behind it; equal to `start` for a border."""
        return self.start if self.last is None else self.last + 1

    @model_validator(mode="after")
    def _one_of_both(self) -> Barrier:
        is_range = self.first is not None and self.last is not None
        if is_range == (self.at is not None) or (self.first is None) != (self.last is None):
            raise ValueError("needs first and last, or at")
        if self.end < self.start:
            raise ValueError(f"first {self.first} comes after last {self.last}")
        return self


StateLeaf = Literal[
    Leaf.RUN, Leaf.MINOR_STOP, Leaf.UNPLANNED_STOP, Leaf.PLANNED_STOP, Leaf.SETUP, Leaf.UNSCHEDULED, Leaf.UNKNOWN
]  # fmt: skip
"""What a state of a machine can mean. When the plant does not work, and has its breaks, only the calendar says."""


PartsPerCount = Annotated[int, Field(ge=1, le=100_000)]


class OeeSignalsChange(DatedChange):
    """What the states of a machine mean from an instant on; `leaves` takes the place of all before it."""

    leaves: dict[MachineState, StateLeaf] = {}


class OeeSignals(Strict):
    """Which signals tell state and parts.

    How `state` tells it (machine_states.py): by its `values`, by the numbers of an edition of `packml`, by `texts`, or as a
    quantity that is high while the machine is `running`. Without a state `cycles` tell it from the parts. `leaves` overrides what
    a state means for the time model (oee.md A2, A6). `parts_per_count`: so many parts are one count, of all counters or of each
    by its role.

    `reasons`: why a stop that begins with a state was, as long as nobody says otherwise; a path in reasons.yaml.

    `stale_s`: how long a state holds without a new reading; None: three polls (`holds`). For devices that report seldom.
    """

    state: str | None = None
    packml: PackMlEdition | None = None
    texts: dict[str, MachineState] = {}
    running: RunningBand | None = None
    cycles: CycleRule | None = None
    total: str | None = None
    good: str | None = None
    reject: str | None = None
    leaves: dict[MachineState, StateLeaf] = {}
    reasons: dict[MachineState, str] = {}
    stale_s: float | None = Field(default=None, gt=0, le=86_400)
    changes: tuple[OeeSignalsChange, ...] = ()
    parts_per_count: PartsPerCount | dict[Literal["total", "good", "reject"], PartsPerCount] = 1

    def parts_a_count(self, role: str) -> int:
        """How many parts a count of this counter is."""
        each = self.parts_per_count
        return each if isinstance(each, int) else next((parts for of, parts in each.items() if of == role), 1)

    @property
    def told_by(self) -> str | None:
        """The signal that tells whether the machine runs: its state's, or else the counter whose parts do."""
        return self.state or self.total or self.good

    @field_validator("leaves")
    @classmethod
    def _told(cls, leaves: dict[MachineState, StateLeaf]) -> dict[MachineState, StateLeaf]:
        if found := NOT_TOLD.intersection(leaves):
            raise ValueError(
                f"{min(found)} is no state that a machine tells; what counts where nobody knows says plant.yaml: "
                "oee: {unknown: exclude, down, hold or infer} at the device"
            )
        return leaves


REGISTER_KEYS = ("order", "addresses", "tolerate", "limits", "atomic", "read_as_one", "must_not_cross")
"""What a profile says of registers and requests; one of messages has none of it."""


_OF_REGISTERS, _OF_MESSAGES = tag_of("RegisterSignal"), tag_of("MessageSignal")


class _OfMessages(dict[str, Any]):
    """A signal as it stands in a profile of messages."""


def _source_of(signal: Any) -> str:
    """Where a signal comes from decides what may be said of it."""
    has_path = isinstance(signal, dict) and "path" in signal
    return _OF_MESSAGES if has_path or isinstance(signal, _OfMessages | MessageSignal) else _OF_REGISTERS


AnySignal = Annotated[
    Annotated[RegisterSignal, Tag(_OF_REGISTERS)] | Annotated[MessageSignal, Tag(_OF_MESSAGES)], Discriminator(_source_of)
]


class Profile(Strict):
    """A device class. `name` is the file's stem and the measurement in the database.

    Its signals stand in registers, or come in messages (`message`), all of them in the same way.
    """

    name: str
    title: str
    asset_class: AssetClass = AssetClass.OTHER
    vendor: str = ""
    model: str = ""
    source: str
    verified: str
    order: WordOrder = "ABCD"
    addresses: Literal["checked", "as_written"] = "checked"
    tolerate: tuple[Literal["transaction", "unit"], ...] = ()
    limits: DeviceLimits = DeviceLimits()
    groups: dict[str, Group] = Field(min_length=1)
    message: MessageForm | None = None
    signals: dict[str, AnySignal] = Field(min_length=1)
    atomic: tuple[tuple[str, ...], ...] = ()
    read_as_one: tuple[AddressRange, ...] = ()
    must_not_cross: tuple[Barrier, ...] = ()
    oee: OeeSignals | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: Any) -> Any:
        """Each signal gets its name, and the profile's order and first group where it has none of its own."""
        signals = data.get("signals") if isinstance(data, dict) else None
        groups = data.get("groups") if isinstance(data, dict) else None
        if not isinstance(signals, dict) or not isinstance(groups, dict) or not groups:
            return data
        first = next(iter(groups))
        shared = {"order": data.get("order", "ABCD"), "group": first}
        if "message" in data:
            data = {**data, "message": data["message"] or {}}  # `message:` with nothing behind it says that there are messages
            signals = {name: _OfMessages(signal) if isinstance(signal, dict) else signal for name, signal in signals.items()}
        filled = {name: _filled(name, signal, shared) if isinstance(signal, dict) else signal for name, signal in signals.items()}
        return {**data, "signals": _with_named_bits(filled)}

    @model_validator(mode="after")
    def _one_source(self) -> Profile:
        kinds = {type(signal) for signal in self.signals.values()}
        if (self.message is None) == (MessageSignal in kinds) or len(kinds) > 1:
            raise ValueError(
                "a profile of messages has the key message, and a path in each signal; one of registers has no message, and an "
                "address in each signal"
            )
        given = [key for key in REGISTER_KEYS if key in self.model_fields_set]
        if self.message is not None and given:
            raise ValueError(f"{given[0]} is about registers; a profile of messages has none")
        return self

    @property
    def sends_messages(self) -> bool:
        """Whether its devices speak for themselves; else they are asked."""
        return self.message is not None

    @property
    def state_source(self) -> StateSource | None:
        """How its machines tell their state; None without `oee`."""
        if self.oee is None:
            return None
        if self.oee.state is None:
            return StateSource(None)
        signal = self.signals[self.oee.state]
        numbers = {number: MachineState(word) for number, word in signal.values.items()}
        if self.oee.packml is not None:
            numbers = dict(PACKML_NUMBERS[self.oee.packml])
        elif not numbers and signal.kind == "bit":
            numbers = dict(RUN_BIT)
        band = None if self.oee.running is None else self.oee.running.band
        return StateSource(signal.name, numbers, self.oee.texts, band)

    @property
    def register_signals(self) -> dict[str, RegisterSignal]:
        return {name: signal for name, signal in self.signals.items() if isinstance(signal, RegisterSignal)}

    @property
    def message_signals(self) -> dict[str, MessageSignal]:
        return {name: signal for name, signal in self.signals.items() if isinstance(signal, MessageSignal)}

    def missing_signal(self, name: str) -> str | None:
        """What is wrong with a reference to this signal; None where there is one of that name."""
        if name in self.signals:
            return None
        return f"profile {self.name} has no signal {name!r}{nearest(name, self.signals)}; narrow `where`"


def _filled(name: Any, signal: dict[Any, Any], shared: dict[str, Any]) -> dict[Any, Any]:
    if _source_of(signal) == _OF_MESSAGES:
        return _OfMessages({"group": shared["group"], **signal, "name": str(name)})
    return {**shared, **signal, "name": str(name)}


def _with_named_bits(signals: dict[Any, Any]) -> dict[Any, Any]:
    """The signals, each field of named bits followed by one signal a bit. Raises ValueError for a name that is taken."""
    result = dict(signals)
    for name, signal in signals.items():
        bits = signal.get("bits") if isinstance(signal, dict) else None
        if not isinstance(bits, dict):
            continue
        shared = {key: signal[key] for key in ("table", "address", "type", "order", "group") if key in signal}
        for bit, bit_name in bits.items():
            if bit_name in result:
                raise ValueError(f"signals.{name}.bits: bit {bit} is called {bit_name!r}, which is another signal's name")
            result[bit_name] = {**shared, "bit": bit, "name": str(bit_name)}
    return result
