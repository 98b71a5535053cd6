"""What the sensors of a machine say: physical quantities and texts by name, from its state and the instant. Pure.

Names are those of the demo profiles. A signal of another name gets `anything`, so that every profile can be simulated.
"""

from __future__ import annotations

from collections.abc import Callable

from millrace_contract.language.words import MachineState

from .bearing import TRIP
from .dice import seed_of, wave
from .kinds import ENERGY_METER
from .machine import SimulatedMachine

_MAGAZINE = 600
"""Parts for which the packing material in a magazine is enough."""

Quantity = float | str
Source = Callable[[SimulatedMachine, int], Quantity]


def _noise(machine: SimulatedMachine, time_ms: int, name: str, period_s: float = 4.0) -> float:
    return wave(machine.seed ^ seed_of(name), time_ms, int(period_s * 1000))


def _works(machine: SimulatedMachine) -> bool:
    return machine.state is MachineState.EXECUTE


def _lagging(name: str) -> Source:
    def source(machine: SimulatedMachine, time_ms: int) -> float:
        if name not in machine.kind.lags:
            return 20.0 + 3.0 * _noise(machine, time_ms, name, 900)
        spread = 0.02 if "pressure" in name else 1.2
        of_the_hall = spread * _noise(machine, time_ms, "hall", 1800)
        of_the_sensor = 0.15 * spread * _noise(machine, time_ms, name)
        return machine.level(name) + of_the_hall + of_the_sensor

    return source


def _vibration(machine: SimulatedMachine, time_ms: int) -> float:
    if not _works(machine):
        return 0.15 + 0.05 * _noise(machine, time_ms, "vibration")
    worn, what_is_made = machine.wear(time_ms), 0.04 * (machine.life.product % 5 - 2)
    return max(0.1, 1.3 + what_is_made + 5.8 * worn + (0.25 + 0.5 * worn) * _noise(machine, time_ms, "vibration", 3.0))


def _spindle_speed(machine: SimulatedMachine, time_ms: int) -> float:
    if not _works(machine):
        return 0.0
    return 6000.0 + 800.0 * (machine.life.product % 5) + 12.0 * _noise(machine, time_ms, "speed")


def _spindle_load(machine: SimulatedMachine, time_ms: int) -> float:
    if not _works(machine):
        return 2.0
    load = 55.0 + 18.0 * _noise(machine, time_ms, "load", 7.0) + 10.0 * machine.wear(time_ms)
    return load + 45.0 if machine.is_hot else load


def _current(rated_a: float) -> Source:
    def source(machine: SimulatedMachine, time_ms: int) -> float:
        share = machine.power_kw / max(machine.kind.power_kw.values(), default=1.0)
        return rated_a * share * (1.0 + 0.03 * _noise(machine, time_ms, "current"))

    return source


def _mains(phase: int) -> Source:
    return lambda machine, time_ms: 231.0 + 2.5 * _noise(machine, time_ms, f"mains{phase}", 30.0)


def _phase_current(phase: int) -> Source:
    def source(machine: SimulatedMachine, time_ms: int) -> float:
        return _active_power(machine, time_ms) * 1000 / 3 / 231.0 / 0.93 * (1.0 + 0.04 * _noise(machine, time_ms, f"i{phase}", 9.0))

    return source


def _active_power(machine: SimulatedMachine, time_ms: int) -> float:
    if machine.kind is ENERGY_METER:
        return machine.metered_kw(time_ms)
    return machine.power_kw * (1.0 + 0.06 * _noise(machine, time_ms, "power", 6.0))


def _ram(machine: SimulatedMachine, time_ms: int) -> float:
    if not _works(machine) or not machine.cycle_s:
        return 250.0
    within = (time_ms % (machine.cycle_s * 1000)) / (machine.cycle_s * 1000)
    return 250.0 * abs(2.0 * within - 1.0)


def _while_working(working: float, swing: float, otherwise: float, period_s: float = 5.0) -> Source:
    def source(machine: SimulatedMachine, time_ms: int) -> float:
        if not _works(machine):
            return otherwise
        return working + swing * _noise(machine, time_ms, f"{working}/{swing}", period_s)

    return source


def _bit(condition: Callable[[SimulatedMachine, int], bool]) -> Source:
    return lambda machine, time_ms: float(condition(machine, time_ms))


_HANDS_IN = frozenset({MachineState.HELD, MachineState.SETUP, MachineState.ABORTED})

SOURCES: dict[str, Source] = {
    "energy": lambda machine, time_ms: machine.energy_kwh(time_ms),
    "running_hours": lambda machine, time_ms: machine.power_on_h(time_ms),
    "power_on_time": lambda machine, time_ms: machine.power_on_h(time_ms),
    "items_carried": lambda machine, _: machine.total,
    "vibration": _vibration,
    "spindle_temperature": _lagging("spindle_temperature"),
    "coolant_temperature": _lagging("coolant_temperature"),
    "oil_temperature": _lagging("oil_temperature"),
    "oil_pressure": _lagging("oil_pressure"),
    "barrel_temperature": _lagging("barrel_temperature"),
    "nozzle_temperature": _lagging("barrel_temperature"),
    "mould_temperature": _lagging("mould_temperature"),
    "motor_temperature": _lagging("motor_temperature"),
    "glue_temperature": _lagging("glue_temperature"),
    "pressure": _lagging("pressure"),
    "spindle_speed": _spindle_speed,
    "spindle_load": _spindle_load,
    "overload": _bit(lambda machine, time_ms: _spindle_load(machine, time_ms) > 90.0),
    "coolant_low": _bit(lambda machine, time_ms: machine.is_hot or _noise(machine, time_ms, "coolant", 1200) > 0.93),
    "door_open": _bit(lambda machine, _: machine.state in _HANDS_IN),
    "guard_open": _bit(lambda machine, _: machine.state in _HANDS_IN),
    "vibration_trip": _bit(lambda machine, _: machine.life.stretch.reason == TRIP),
    "chuck_clamped": _bit(lambda machine, _: _works(machine)),
    "tool_number": lambda machine, _: machine.life.tool,
    "tool_life": lambda machine, time_ms: max(0.0, 100.0 - (time_ms - machine.life.tool_since_ms) / 60_000),
    "program": lambda machine, _: f"O{1000 + machine.life.product % 40}-R{machine.life.product % 3}",
    "die": lambda machine, _: f"DIE-{100 + machine.life.product % 12}",
    "mould": lambda machine, _: f"MOULD-{20 + machine.life.product % 6}",
    "recipe": lambda machine, _: f"CASE {6 * (1 + machine.life.product % 4)}",
    "serial_number": lambda machine, _: f"EM{machine.seed % 10**8:08d}",
    "force": _while_working(760.0, 55.0, 0.0, 2.0),
    "ram_position": _ram,
    "lubrication_fault": _bit(lambda machine, _: machine.life.stretch.reason == "hydraulics"),
    "double_sheet": _bit(lambda machine, _: machine.life.stretch.reason == "sheet misfed"),
    "motor_current": _current(62.0),
    "cycle_time": lambda machine, _: machine.cycle_s,
    "injection_pressure": _while_working(920.0, 180.0, 4.0, 2.0),
    "clamp_force": _while_working(1150.0, 20.0, 0.0, 4.0),
    "automatic": _bit(lambda machine, _: _works(machine)),
    "heaters_on": _bit(lambda machine, _: machine.state is not MachineState.STOPPED),
    "mould_closed": _bit(lambda machine, time_ms: _works(machine) and time_ms // 2000 % 4 < 3),
    "speed": _while_working(0.42, 0.01, 0.0),
    "running": _bit(lambda machine, _: _works(machine)),
    "jammed": _bit(lambda machine, _: machine.state is MachineState.HELD),
    "infeed_occupied": _bit(lambda machine, time_ms: _noise(machine, time_ms, "infeed", 2.0) > 0.0),
    "outfeed_full": _bit(lambda machine, _: machine.state is MachineState.SUSPENDED),
    "machine_speed": lambda machine, _: 60.0 / machine.cycle_s if machine.cycle_s else 0.0,
    "air_consumption": _while_working(14.0, 1.5, 0.8),
    "magazine_low": _bit(lambda machine, _: machine.life.parts % _MAGAZINE >= 0.88 * _MAGAZINE),
    "motor_power": _active_power,
    "status_word": lambda machine, _: 1.0 if _works(machine) else 128.0 if machine.state is MachineState.ABORTED else 2.0,
    "loaded": _bit(lambda machine, _: _works(machine)),
    "tripped": _bit(lambda machine, _: machine.state is MachineState.ABORTED),
    "voltage_l1": _mains(1),
    "voltage_l2": _mains(2),
    "voltage_l3": _mains(3),
    "current_l1": _phase_current(1),
    "current_l2": _phase_current(2),
    "current_l3": _phase_current(3),
    "active_power": _active_power,
    "power_factor": lambda machine, time_ms: 0.93 + 0.02 * _noise(machine, time_ms, "factor", 20.0),
    "frequency": lambda machine, time_ms: 50.0 + 0.03 * _noise(machine, time_ms, "grid", 15.0),
    "peak_power": lambda machine, _: 1.06 * max(machine.kind.power_kw.values(), default=1.0),
}
"""Where a signal of this name gets its value from."""

TEXTS = frozenset({"program", "die", "mould", "recipe", "serial_number"})
"""Those of them that are text. A number called by one of these names, a serial number in two registers say, is any number."""


def anything(name: str, minimum: float, maximum: float) -> Source:
    """A quantity that wanders between two limits: for signals that no machine kind knows."""
    middle, half = (minimum + maximum) / 2, (maximum - minimum) / 2
    return lambda machine, time_ms: middle + 0.9 * half * _noise(machine, time_ms, name, 20.0)
