"""What kinds of machine there are and what each is in the habit of: times in seconds of machine life. Data only.

The figures are chosen to look like a shop that is run well: availability near 0.88, performance near 0.93, quality near 0.98.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """Machine states by their PackML names, and `setup`."""

    EXECUTE = "execute"
    HELD = "held"
    SUSPENDED = "suspended"
    SETUP = "setup"
    IDLE = "idle"
    STOPPED = "stopped"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Interruption:
    """Something that ends a stretch of work: once in `every_s` of work, for `least_s` to `most_s`."""

    reason: str
    state: State
    every_s: float
    least_s: float
    most_s: float


@dataclass(frozen=True, slots=True)
class Lag:
    """A quantity that follows the machine's state slowly: towards `targets[state]` (or `rest`) with time constant `tau_s`."""

    tau_s: float
    rest: float
    targets: dict[State, float]
    wear: float = 0.0
    """What a worn-out bearing adds while the machine works."""


@dataclass(frozen=True, slots=True)
class Kind:
    """The habits of one kind of machine."""

    cycle_s: float
    interruptions: tuple[Interruption, ...]
    slowest: float = 1.08
    """A stretch of work runs at 1.0 to this many times the ideal cycle."""
    scrap: float = 0.015
    warm_up_s: float = 180.0
    handover_s: tuple[float, float] = (20.0, 150.0)
    works_through_breaks: bool = False
    never_stops: bool = False
    """Runs outside of shifts too: what feeds the hall rather than makes parts."""
    power_kw: dict[State, float] = field(default_factory=dict)
    lags: dict[str, Lag] = field(default_factory=dict)
    bearing_life_s: float | None = None


_HOUR = 3600.0
_WORKING = State.EXECUTE

CNC = Kind(
    cycle_s=6.0,
    interruptions=(
        Interruption("chip in the chuck", State.HELD, 420, 5, 45),
        Interruption("jam", State.HELD, 5400, 150, 900),
        Interruption("starved", State.SUSPENDED, 3000, 15, 240),
        Interruption("tool change", State.SETUP, 2700, 60, 180),
        Interruption("drive fault", State.ABORTED, 30 * _HOUR, 600, 2400),
    ),
    power_kw={State.EXECUTE: 14.0, State.HELD: 3.0, State.SUSPENDED: 3.0, State.SETUP: 4.5, State.IDLE: 2.0},
    lags={
        "spindle_temperature": Lag(420, 22, {State.EXECUTE: 61, State.SETUP: 38, State.HELD: 30, State.SUSPENDED: 30}, wear=14),
        "coolant_temperature": Lag(1500, 20, {State.EXECUTE: 29, State.SETUP: 24}),
    },
    bearing_life_s=8 * 24 * _HOUR,
)

PRESS = Kind(
    cycle_s=1.2,
    interruptions=(
        Interruption("sheet misfed", State.HELD, 300, 4, 40),
        Interruption("jam", State.HELD, 4500, 180, 1200),
        Interruption("coil change", State.SETUP, 5400, 120, 300),
        Interruption("blocked", State.SUSPENDED, 3600, 20, 200),
        Interruption("hydraulics", State.ABORTED, 40 * _HOUR, 900, 3600),
    ),
    scrap=0.01,
    warm_up_s=120.0,
    power_kw={State.EXECUTE: 38.0, State.HELD: 9.0, State.SUSPENDED: 12.0, State.SETUP: 9.0, State.IDLE: 6.0},
    lags={
        "oil_temperature": Lag(1800, 24, {State.EXECUTE: 52, State.SETUP: 40, State.HELD: 40, State.SUSPENDED: 44}),
        "oil_pressure": Lag(6, 0.4, {State.EXECUTE: 182, State.SETUP: 120, State.HELD: 150, State.SUSPENDED: 150, State.IDLE: 60}),
    },
)

MOULDER = Kind(
    cycle_s=8.0,
    interruptions=(
        Interruption("part stuck in the mould", State.HELD, 900, 10, 90),
        Interruption("jam", State.HELD, 9000, 240, 1500),
        Interruption("no granulate", State.SUSPENDED, 7200, 60, 500),
        Interruption("mould change", State.SETUP, 7 * _HOUR, 1200, 2400),
        Interruption("heater band", State.ABORTED, 50 * _HOUR, 1200, 3600),
    ),
    slowest=1.05,
    scrap=0.02,
    warm_up_s=600.0,
    works_through_breaks=True,
    power_kw={State.EXECUTE: 26.0, State.HELD: 11.0, State.SUSPENDED: 12.0, State.SETUP: 10.0, State.IDLE: 8.0, State.STOPPED: 1.0},
    lags={
        "barrel_temperature": Lag(
            700, 24, {State.EXECUTE: 231, State.SETUP: 226, State.HELD: 228, State.SUSPENDED: 229, State.IDLE: 220}
        ),
        "mould_temperature": Lag(500, 24, {State.EXECUTE: 62, State.SETUP: 55, State.HELD: 57, State.SUSPENDED: 57}),
        "oil_temperature": Lag(2400, 24, {State.EXECUTE: 46, State.SETUP: 40, State.HELD: 42, State.SUSPENDED: 42}),
    },
)

CONVEYOR = Kind(
    cycle_s=1.5,
    interruptions=(
        Interruption("box across", State.HELD, 1800, 5, 60),
        Interruption("jam", State.HELD, 4 * _HOUR, 120, 500),
        Interruption("outfeed full", State.SUSPENDED, 1500, 10, 120),
    ),
    scrap=0.0,
    warm_up_s=5.0,
    power_kw={State.EXECUTE: 1.4, State.SUSPENDED: 0.2},
    lags={"motor_temperature": Lag(900, 22, {State.EXECUTE: 48})},
)

PACKER = Kind(
    cycle_s=2.0,
    interruptions=(
        Interruption("film crooked", State.HELD, 360, 5, 50),
        Interruption("jam", State.HELD, 3600, 130, 700),
        Interruption("starved", State.SUSPENDED, 1200, 8, 150),
        Interruption("magazine empty", State.STOPPED, 5400, 40, 120),
        Interruption("light curtain", State.ABORTED, 10 * _HOUR, 60, 300),
    ),
    scrap=0.008,
    warm_up_s=240.0,
    power_kw={State.EXECUTE: 6.0, State.HELD: 2.2, State.SUSPENDED: 2.2, State.IDLE: 1.5, State.STOPPED: 0.6},
    lags={"glue_temperature": Lag(400, 24, {State.EXECUTE: 164, State.SUSPENDED: 163, State.HELD: 163, State.IDLE: 150})},
)

COMPRESSOR = Kind(
    cycle_s=60.0,
    interruptions=(
        Interruption("unloaded", State.IDLE, 45, 20, 60),
        Interruption("tripped", State.ABORTED, 35 * _HOUR, 240, 900),
    ),
    scrap=0.0,
    warm_up_s=0.0,
    never_stops=True,
    power_kw={State.EXECUTE: 45.0, State.IDLE: 14.0},
    lags={
        "pressure": Lag(60, 0.0, {State.EXECUTE: 8.1, State.IDLE: 6.5, State.SETUP: 6.8}),
        "oil_temperature": Lag(600, 24, {State.EXECUTE: 86, State.IDLE: 76}),
    },
)

ENERGY_METER = Kind(
    cycle_s=60.0,
    interruptions=(Interruption("load steps down", State.IDLE, 600, 60, 400),),
    scrap=0.0,
    warm_up_s=0.0,
    never_stops=True,
    power_kw={State.EXECUTE: 96.0, State.IDLE: 61.0},
)

OTHER = Kind(
    cycle_s=5.0,
    interruptions=(
        Interruption("short stop", State.HELD, 600, 5, 60),
        Interruption("jam", State.HELD, 5400, 150, 900),
        Interruption("starved", State.SUSPENDED, 3600, 20, 200),
    ),
    power_kw={State.EXECUTE: 5.0, State.HELD: 1.0},
)

KINDS: dict[str, Kind] = {
    "cnc": CNC,
    "press": PRESS,
    "moulder": MOULDER,
    "conveyor": CONVEYOR,
    "packer": PACKER,
    "compressor": COMPRESSOR,
    "energy_meter": ENERGY_METER,
    "other": OTHER,
}
"""By the asset class of the profile."""
