"""The machines on the shop floor: what they do is independent of how the plant model calls and reads them."""

from __future__ import annotations

import random
from dataclasses import dataclass

from millrace_contract.plant import Profile

STATE_NUMBERS = {"mill": {"execute": 1, "stopped": 2}, "press": {"execute": 2, "stopped": 1}}
"""What each profile's machines call their states: the same number means another thing to the other."""


@dataclass
class Machine:
    is_running: bool = True
    is_reachable: bool = True
    parts: int = 0
    temperature: float = 20.0
    reads: int = 0


class Machines:
    """By device id."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._machines: dict[str, Machine] = {}

    def of(self, device: str) -> Machine:
        if device not in self._machines:
            self._machines[device] = Machine(parts=self._random.randrange(1_000))
        return self._machines[device]

    def rename(self, old: str, new: str) -> None:
        """The same machine, under another id."""
        self._machines[new] = self.of(old)
        del self._machines[old]

    def work(self, seconds: float, *, is_calm: bool) -> None:
        """Time passes on the shop floor. While it is calm, all that happens is that parts are made."""
        for machine in self._machines.values():
            if machine.is_running:
                machine.parts += round(seconds / 10)
            if is_calm:
                continue
            if self._random.random() < 0.1:
                machine.is_running = not machine.is_running
            if self._random.random() < 0.1:
                machine.temperature = self._random.choice([20.0, 60.0, 95.0])
            if self._random.random() < 0.05:
                machine.is_reachable = not machine.is_reachable

    def heal(self) -> None:
        for machine in self._machines.values():
            machine.is_reachable = True

    def read(self, device: str, profile: Profile) -> dict[str, float | bool | str] | None:
        """What a gateway reads by this profile; None: the machine does not answer."""
        machine = self.of(device)
        if not machine.is_reachable:
            return None
        machine.reads += 1
        numbers = STATE_NUMBERS[profile.name]
        values: dict[str, float | bool | str] = {}
        for name, signal in profile.signals.items():
            match name:
                case "reads":
                    values[name] = float(machine.reads)
                case "it":
                    values[name] = float(numbers["execute" if machine.is_running else "stopped"])
                case "total":
                    modulus = signal.counter.modulus if signal.counter is not None else None
                    values[name] = float(machine.parts % (modulus or 10**9))
                case _:  # the temperature, whatever it is called
                    values[name] = machine.temperature
        return values
