"""Device profiles: a device class as data - its registers, their types and units (contracts.md 3). A new device needs no code."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from ..language.words import AssetClass, Leaf, MachineState
from .document import Strict, nearest
from .register_types import Table, WordOrder
from .signal import Signal

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


class OeeSignals(Strict):
    """Which signals tell state and parts. `leaves` overrides what a state means for the time model (oee.md A2, A6).

    `stale_s`: how long a state holds without a new reading; None: three polls (`holds`). For devices that report seldom.
    """

    state: str
    total: str | None = None
    good: str | None = None
    reject: str | None = None
    leaves: dict[MachineState, Leaf] = {}
    stale_s: float | None = Field(default=None, gt=0, le=86_400)


class Profile(Strict):
    """A device class. `name` is the file's stem and the measurement in the database."""

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
    signals: dict[str, Signal] = Field(min_length=1)
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
        filled = {
            name: {"order": data.get("order", "ABCD"), "group": first, **signal, "name": str(name)}
            if isinstance(signal, dict)
            else signal
            for name, signal in signals.items()
        }
        return {**data, "signals": _with_named_bits(filled)}

    def missing_signal(self, name: str) -> str | None:
        """What is wrong with a reference to this signal; None where there is one of that name."""
        if name in self.signals:
            return None
        return f"profile {self.name} has no signal {name!r}{nearest(name, self.signals)}; narrow `where`"


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
