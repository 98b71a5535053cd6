"""Scripts of faults: a YAML file that says what goes wrong when. The README of this service shows one."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import msgspec
import yaml

from millrace_contract.errors import ConfigurationProblems, Problem

from .faults import Fault


class _Step(Fault, frozen=True, forbid_unknown_fields=True, kw_only=True):
    at_s: float


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    faults: list[dict[str, object]]
    repeat_s: float | None = None


class Script:
    """Faults at times since the start."""

    def __init__(self, steps: list[tuple[float, Fault]], repeat_s: float | None) -> None:
        self._steps = sorted(steps, key=lambda step: step[0])
        self._repeat_s = repeat_s
        self._round = 0
        self._next = 0

    def due(self, elapsed_s: float) -> list[Fault]:
        """The faults whose time has come since the last call. Rounds that were slept through are left out."""
        due: list[Fault] = []
        if self._repeat_s is not None and elapsed_s >= (self._round + 1) * self._repeat_s:
            due += [fault for _, fault in self._steps[self._next :]]
            self._round, self._next = int(elapsed_s // self._repeat_s), 0
        within_s = elapsed_s - self._round * (self._repeat_s or 0.0)
        while self._next < len(self._steps) and self._steps[self._next][0] <= within_s:
            due.append(self._steps[self._next][1])
            self._next += 1
        return due


def load_script(path: Path, devices: Collection[str]) -> Script:
    """Raises ConfigurationProblems with every mistake of the file."""
    try:
        file = msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), _File)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise ConfigurationProblems([Problem(path.name, 0, "", " ".join(str(error).split()))]) from error
    problems: list[Problem] = []
    steps: list[tuple[float, Fault]] = []
    if file.repeat_s is not None and not file.repeat_s > 0:
        problems.append(Problem(path.name, 0, "repeat_s", f"is {file.repeat_s}; allowed: above 0"))
    for index, entry in enumerate(file.faults):
        key = f"faults[{index}]"
        try:
            step = msgspec.convert(entry, _Step)
        except msgspec.ValidationError as error:
            problems.append(Problem(path.name, 0, key, str(error)))
            continue
        problem = check_fault(step, devices)
        if step.at_s < 0 or (file.repeat_s is not None and step.at_s >= file.repeat_s > 0):
            problem = f"at_s is {step.at_s}; allowed: 0 up to repeat_s"
        if problem:
            problems.append(Problem(path.name, 0, key, problem))
        steps.append((step.at_s, step))
    if problems:
        raise ConfigurationProblems(problems)
    return Script(steps, file.repeat_s)


def check_fault(fault: Fault, devices: Collection[str]) -> str | None:
    """What is wrong with a fault, its device included; None when it can begin."""
    if fault.device not in devices:
        return f"no device {fault.device!r} is simulated; there are: {', '.join(sorted(devices))}"
    return fault.problem()
