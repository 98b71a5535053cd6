"""What kinds of machine there are and what each is in the habit of: times in seconds of machine life. Data only.

The figures are chosen to look like a shop that is run well: availability near 0.88, performance near 0.93, quality near 0.98.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from millrace_contract.language.words import AssetClass, MachineState

from .bearing import BearingHabits


@dataclass(frozen=True, slots=True)
class Interruption:
    """Something that ends a stretch of work: once in `every_s` of work, for `least_s` to `most_s`."""

    reason: str
    state: MachineState
    every_s: float
    least_s: float
    most_s: float


@dataclass(frozen=True, slots=True)
class SlowQuantity:
    """A quantity that follows the machine's state slowly: towards `targets[state]` (or `rest`) with time constant `tau_s`."""

    tau_s: float
    rest: float
    targets: dict[MachineState, float]
    wear: float = 0.0
    """What a worn-out bearing adds while the machine works."""


@dataclass(frozen=True, slots=True)
class Habits:
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
    power_kw: dict[MachineState, float] = field(default_factory=dict)
    lags: dict[str, SlowQuantity] = field(default_factory=dict)
    bearing: BearingHabits | None = None
    cleaning_s: float = 0.0
    """How long it takes to clean, where it gets dirty. Every second crew does so in its breaks, the others in production."""


_HOUR = 3600.0
_WORKING = MachineState.EXECUTE

CNC = Habits(
    cycle_s=6.0,
    interruptions=(
        Interruption("chip in the chuck", MachineState.HELD, 420, 5, 45),
        Interruption("jam", MachineState.HELD, 5400, 150, 900),
        Interruption("starved", MachineState.SUSPENDED, 3000, 15, 240),
        Interruption("tool change", MachineState.SETUP, 2700, 60, 180),
        Interruption("spindle fault", MachineState.ABORTED, 30 * _HOUR, 600, 2400),
    ),
    power_kw={
        MachineState.EXECUTE: 14.0,
        MachineState.HELD: 3.0,
        MachineState.SUSPENDED: 3.0,
        MachineState.SETUP: 4.5,
        MachineState.IDLE: 2.0,
    },
    lags={
        "spindle_temperature": SlowQuantity(
            420, 22, {MachineState.EXECUTE: 61, MachineState.SETUP: 38, MachineState.HELD: 30, MachineState.SUSPENDED: 30}, wear=14
        ),
        "coolant_temperature": SlowQuantity(1500, 20, {MachineState.EXECUTE: 29, MachineState.SETUP: 24}),
    },
    bearing=BearingHabits(every_s=8 * 7 * 24 * _HOUR),
)

PRESS = Habits(
    cycle_s=1.2,
    interruptions=(
        Interruption("sheet misfed", MachineState.HELD, 300, 4, 40),
        Interruption("jam", MachineState.HELD, 4500, 180, 1200),
        Interruption("coil change", MachineState.SETUP, 5400, 120, 300),
        Interruption("blocked", MachineState.SUSPENDED, 3600, 20, 200),
        Interruption("hydraulics", MachineState.ABORTED, 40 * _HOUR, 900, 3600),
    ),
    scrap=0.01,
    warm_up_s=120.0,
    power_kw={
        MachineState.EXECUTE: 38.0,
        MachineState.HELD: 9.0,
        MachineState.SUSPENDED: 12.0,
        MachineState.SETUP: 9.0,
        MachineState.IDLE: 6.0,
    },
    lags={
        "oil_temperature": SlowQuantity(
            1800, 24, {MachineState.EXECUTE: 52, MachineState.SETUP: 40, MachineState.HELD: 40, MachineState.SUSPENDED: 44}
        ),
        "oil_pressure": SlowQuantity(
            6,
            0.4,
            {
                MachineState.EXECUTE: 182,
                MachineState.SETUP: 120,
                MachineState.HELD: 150,
                MachineState.SUSPENDED: 150,
                MachineState.IDLE: 60,
            },
        ),
    },
)

MOULDER = Habits(
    cycle_s=8.0,
    interruptions=(
        Interruption("part stuck in the mould", MachineState.HELD, 900, 10, 90),
        Interruption("jam", MachineState.HELD, 9000, 240, 1500),
        Interruption("no granulate", MachineState.SUSPENDED, 7200, 60, 500),
        Interruption("mould change", MachineState.SETUP, 7 * _HOUR, 1200, 2400),
        Interruption("heater band", MachineState.ABORTED, 50 * _HOUR, 1200, 3600),
    ),
    slowest=1.05,
    scrap=0.02,
    warm_up_s=600.0,
    works_through_breaks=True,
    power_kw={
        MachineState.EXECUTE: 26.0,
        MachineState.HELD: 11.0,
        MachineState.SUSPENDED: 12.0,
        MachineState.SETUP: 10.0,
        MachineState.IDLE: 8.0,
        MachineState.STOPPED: 1.0,
    },
    lags={
        "barrel_temperature": SlowQuantity(
            700,
            24,
            {
                MachineState.EXECUTE: 231,
                MachineState.SETUP: 226,
                MachineState.HELD: 228,
                MachineState.SUSPENDED: 229,
                MachineState.IDLE: 220,
            },
        ),
        "mould_temperature": SlowQuantity(
            500, 24, {MachineState.EXECUTE: 62, MachineState.SETUP: 55, MachineState.HELD: 57, MachineState.SUSPENDED: 57}
        ),
        "oil_temperature": SlowQuantity(
            2400, 24, {MachineState.EXECUTE: 46, MachineState.SETUP: 40, MachineState.HELD: 42, MachineState.SUSPENDED: 42}
        ),
    },
)

CONVEYOR = Habits(
    cycle_s=1.5,
    interruptions=(
        Interruption("box across", MachineState.HELD, 1800, 5, 60),
        Interruption("jam", MachineState.HELD, 4 * _HOUR, 120, 500),
        Interruption("outfeed full", MachineState.SUSPENDED, 1500, 10, 120),
    ),
    scrap=0.0,
    warm_up_s=5.0,
    power_kw={MachineState.EXECUTE: 1.4, MachineState.SUSPENDED: 0.2},
    lags={"motor_temperature": SlowQuantity(900, 22, {MachineState.EXECUTE: 48})},
)

PACKER = Habits(
    cycle_s=2.0,
    interruptions=(
        Interruption("film crooked", MachineState.HELD, 360, 5, 50),
        Interruption("jam", MachineState.HELD, 3600, 130, 700),
        Interruption("starved", MachineState.SUSPENDED, 1200, 8, 150),
        Interruption("magazine empty", MachineState.SUSPENDED, 5400, 40, 120),
        Interruption("light curtain", MachineState.ABORTED, 10 * _HOUR, 60, 300),
    ),
    scrap=0.008,
    warm_up_s=240.0,
    cleaning_s=780.0,
    power_kw={
        MachineState.EXECUTE: 6.0,
        MachineState.HELD: 2.2,
        MachineState.SUSPENDED: 2.2,
        MachineState.IDLE: 1.5,
        MachineState.STOPPED: 0.6,
    },
    lags={
        "glue_temperature": SlowQuantity(
            400, 24, {MachineState.EXECUTE: 164, MachineState.SUSPENDED: 163, MachineState.HELD: 163, MachineState.IDLE: 150}
        )
    },
)

COMPRESSOR = Habits(
    cycle_s=60.0,
    interruptions=(
        Interruption("unloaded", MachineState.IDLE, 45, 20, 60),
        Interruption("tripped", MachineState.ABORTED, 35 * _HOUR, 240, 900),
    ),
    scrap=0.0,
    warm_up_s=0.0,
    never_stops=True,
    power_kw={MachineState.EXECUTE: 45.0, MachineState.IDLE: 14.0},
    lags={
        "pressure": SlowQuantity(60, 0.0, {MachineState.EXECUTE: 8.1, MachineState.IDLE: 6.5, MachineState.SETUP: 6.8}),
        "oil_temperature": SlowQuantity(600, 24, {MachineState.EXECUTE: 86, MachineState.IDLE: 76}),
    },
)

ENERGY_METER = Habits(
    cycle_s=60.0,
    interruptions=(Interruption("load steps down", MachineState.IDLE, 600, 60, 400),),
    scrap=0.0,
    warm_up_s=0.0,
    never_stops=True,
    power_kw={MachineState.EXECUTE: 96.0, MachineState.IDLE: 61.0},
)

OTHER = Habits(
    cycle_s=5.0,
    interruptions=(
        Interruption("short stop", MachineState.HELD, 600, 5, 60),
        Interruption("jam", MachineState.HELD, 5400, 150, 900),
        Interruption("starved", MachineState.SUSPENDED, 3600, 20, 200),
    ),
    power_kw={MachineState.EXECUTE: 5.0, MachineState.HELD: 1.0},
)

KINDS: dict[AssetClass, Habits] = {
    AssetClass.CNC: CNC,
    AssetClass.PRESS: PRESS,
    AssetClass.MOULDER: MOULDER,
    AssetClass.CONVEYOR: CONVEYOR,
    AssetClass.PACKER: PACKER,
    AssetClass.COMPRESSOR: COMPRESSOR,
    AssetClass.ENERGY_METER: ENERGY_METER,
    AssetClass.OTHER: OTHER,
}
"""By the asset class of the profile."""
