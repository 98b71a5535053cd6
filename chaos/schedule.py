"""What goes wrong when: a storm as a function of its seed. Pure.

Two kinds of fault: those of simulated devices (millrace-sim knows them), and those of processes. A process has one trouble at a
time, different processes may have theirs together. Everything has ended `calm_s` before the storm's end.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from millrace_simulator.faults import MACHINE_KINDS, Fault, FaultKind

PROCESSES = ("mosquitto", "influxd", "simulator", "gateway", "ingest", "rollup", "oee", "alerts")
DISKS = ("gateway", "oee", "alerts", "ingest", "influxd", "mosquitto")
"""Processes with a disk of their own, which can be full."""

KILLED_FOR_S = 2.0
"""How long a killed process stays away before it is started again."""
STARTS_FOR_S = 3.0
"""How long it is left alone afterwards."""
TROUBLE_EVERY_S = 20.0
FAULT_EVERY_S = 60.0
"""How often a device misbehaves, in a long storm."""


class TroubleKind(StrEnum):
    KILL = "kill -9"
    OUTAGE = "away"
    HANG = "hang"
    FULL_DISK = "disk full"
    CLOCK = "clock off"


@dataclass(frozen=True, slots=True)
class Trouble:
    """A trouble of one process, or of two at the same instant. `seconds` until it is ended; a killed process starts again then."""

    at_s: float
    seconds: float
    kind: TroubleKind
    processes: tuple[str, ...]
    by_s: float = 0.0
    """How far off a clock is."""

    @property
    def end_s(self) -> float:
        return self.at_s + self.seconds

    def __str__(self) -> str:
        off = f" by {self.by_s:+.0f} s" if self.by_s else ""
        return f"{' and '.join(self.processes)}: {self.kind}{off} for {self.seconds:.0f} s"


@dataclass(frozen=True, slots=True)
class DeviceFault:
    """A fault of a simulated device."""

    at_s: float
    fault: Fault

    @property
    def end_s(self) -> float:
        return self.at_s + self.fault.seconds

    def __str__(self) -> str:
        return f"{self.fault.device}: {self.fault.kind.value} for {self.fault.seconds:.0f} s"


@dataclass(frozen=True, slots=True)
class Storm:
    """A whole storm, both lists in order of time. Nothing of it lasts beyond `calm_from_s`."""

    seed: int
    seconds: float
    calm_from_s: float
    troubles: tuple[Trouble, ...]
    faults: tuple[DeviceFault, ...]

    @property
    def steps(self) -> list[Trouble | DeviceFault]:
        """Both in order of time."""
        steps: list[Trouble | DeviceFault] = [*self.troubles, *self.faults]
        return sorted(steps, key=lambda step: step.at_s)


def plan_storm(seed: int, seconds: float, devices: Sequence[str]) -> Storm:
    """The storm of this seed over `seconds` (60 or more): each process is killed, two at once are, broker and database go away for
    a while, something hangs, a disk is full, a clock is set wrong and right again, and every kind of device fault happens."""
    chance = random.Random(seed)
    calm_from_s = seconds - max(8.0, min(60.0, seconds / 10))
    troubles = _place_troubles(chance, calm_from_s)
    faults = _place_faults(chance, calm_from_s, sorted(devices), troubles)
    return Storm(seed, seconds, calm_from_s, troubles, faults)


Span = tuple[float, float]


def _place(seconds: float, wanted_s: float, busy: Iterable[Span], until_s: float) -> float | None:
    """Where something that lasts so long can begin: at `wanted_s`, or when something that is in its way ends, or nowhere."""
    spans = list(busy)
    after = sorted((end_s for _, end_s in spans), key=lambda end_s: (end_s < wanted_s, end_s))
    for at_s in (wanted_s, *after, 0.0):
        if at_s + seconds <= until_s and all(at_s + seconds <= start_s or end_s <= at_s for start_s, end_s in spans):
            return at_s
    return None


# Troubles of processes.


def _place_troubles(chance: random.Random, until_s: float) -> tuple[Trouble, ...]:
    """Spread over the time. What a storm must have comes first, so that it has the room."""
    wanted = _certain(chance, until_s)
    number = max(len(wanted), round(until_s / TROUBLE_EVERY_S))
    wanted += [_any(chance, until_s) for _ in range(number - len(wanted))]
    turns = chance.sample(range(number), number)
    placed: list[Trouble] = []
    for trouble, turn in zip(wanted, turns, strict=True):
        busy = [(each.at_s, each.end_s + STARTS_FOR_S) for each in placed if set(each.processes) & set(trouble.processes)]
        at_s = _place(trouble.seconds + STARTS_FOR_S, (turn + 0.8 * chance.random()) * until_s / number, busy, until_s)
        if at_s is not None:
            placed.append(replace(trouble, at_s=at_s))
    return tuple(sorted(placed, key=lambda each: each.at_s))


def _certain(chance: random.Random, until_s: float) -> list[Trouble]:
    """What no storm lacks, what is hardest to place first."""
    longest_s = _longest_s(until_s)
    return [
        Trouble(0, chance.uniform(0.5, 1) * longest_s, TroubleKind.OUTAGE, ("mosquitto",)),
        Trouble(0, chance.uniform(0.5, 1) * longest_s, TroubleKind.OUTAGE, ("influxd",)),
        *(Trouble(0, chance.uniform(0.3, 0.6) * longest_s, TroubleKind.FULL_DISK, (each,)) for each in ("gateway", "influxd")),
        _clock(chance, until_s),
        _hang(chance, until_s),
        _pair(chance),
        *(Trouble(0, KILLED_FOR_S, TroubleKind.KILL, (process,)) for process in PROCESSES),
    ]


def _any(chance: random.Random, until_s: float) -> Trouble:
    longest_s = _longest_s(until_s)
    kind = chance.choices(list(TroubleKind), weights=(5, 2, 3, 1, 1))[0]
    match kind:
        case TroubleKind.KILL:
            return _pair(chance) if chance.random() < 0.4 else Trouble(0, KILLED_FOR_S, kind, (chance.choice(PROCESSES),))
        case TroubleKind.OUTAGE:
            process = chance.choice(("mosquitto", "influxd", "mosquitto", "influxd", *PROCESSES))
            return Trouble(0, chance.uniform(0.1, 1) * longest_s, kind, (process,))
        case TroubleKind.HANG:
            return _hang(chance, until_s)
        case TroubleKind.FULL_DISK:
            return Trouble(0, chance.uniform(0.1, 0.6) * longest_s, kind, (chance.choice(DISKS),))
        case TroubleKind.CLOCK:
            return _clock(chance, until_s)


def _pair(chance: random.Random) -> Trouble:
    first, second = chance.sample(PROCESSES, 2)
    return Trouble(0, KILLED_FOR_S, TroubleKind.KILL, (first, second))


def _hang(chance: random.Random, until_s: float) -> Trouble:
    # Mostly short; a loop that is silent for a minute ends its process, and the long ones show that, too.
    return Trouble(0, 1 + chance.random() ** 2 * 0.7 * _longest_s(until_s), TroubleKind.HANG, (chance.choice(PROCESSES),))


def _clock(chance: random.Random, until_s: float) -> Trouble:
    # Up to a minute is a clock that is set; beyond it a new stream begins. Readings from far ahead would be refused, rightly.
    seconds = chance.uniform(0.1, 0.5) * _longest_s(until_s)
    return Trouble(0, seconds, TroubleKind.CLOCK, ("gateway",), chance.choice((-90.0, -40.0, 40.0)))


def _longest_s(until_s: float) -> float:
    return min(120.0, until_s / 6)


# Faults of devices.


def _place_faults(
    chance: random.Random, until_s: float, devices: Sequence[str], troubles: Sequence[Trouble]
) -> tuple[DeviceFault, ...]:
    """All kinds in turn, each on a device that has no other fault of its connection then, and while the simulator can be told."""
    deaf = [(trouble.at_s - 0.5, trouble.end_s + STARTS_FOR_S) for trouble in troubles if "simulator" in trouble.processes]
    number = max(2 * len(FaultKind), round(len(devices) * until_s / FAULT_EVERY_S))
    kinds: list[FaultKind] = []
    while len(kinds) < number:
        kinds += chance.sample(list(FaultKind), len(FaultKind))
    busy: dict[str, list[Span]] = {device: list(deaf) for device in devices}
    placed: list[DeviceFault] = []
    for turn, kind in enumerate(kinds[:number]):
        device = chance.choice(devices)
        seconds = chance.uniform(0.1, 0.5) * _longest_s(until_s)
        wanted_s = (turn + 0.8 * chance.random()) * until_s / number
        at_s = _place(seconds, wanted_s, deaf if kind in MACHINE_KINDS else busy[device], until_s)
        if at_s is None:
            continue
        placed.append(DeviceFault(at_s, _fault(chance, device, kind, seconds)))
        if kind not in MACHINE_KINDS:
            busy[device].append((at_s, at_s + seconds))
    return tuple(sorted(placed, key=lambda each: each.at_s))


def _fault(chance: random.Random, device: str, kind: FaultKind, seconds: float) -> Fault:
    count = {
        FaultKind.SMALL: chance.choice((2, 8, 40)),
        FaultKind.MUTE: chance.choice((2, 8, 40)),
        FaultKind.CROWDED: 1,
        FaultKind.COUNTER_JUMP: chance.choice((-7, 40, 5_000)),
        FaultKind.COUNTER_WRAP: chance.choice((1, 5, 20)),
        FaultKind.CLOCK_JUMP: chance.choice((-3_600, 1, 86_400)),
    }
    return Fault(
        device=device,
        kind=kind,
        seconds=round(seconds, 1),
        code=chance.choice((1, 2, 3, 4, 5, 6, 8, 10, 11)),
        ms=float(chance.choice((300, 900, 1_500, 4_000))),
        count=count.get(kind, 40),
        share=chance.choice((0.2, 0.5, 1.0, 1.0)),
    )
