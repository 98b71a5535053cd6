"""Counters to steps (docs/oee.md A7), and steps to whole parts of stretches of time (docs/oee.md A9)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil

from .plant import Device, Plant, text_of

ASKED_MS = 3_600_000


@dataclass
class Step:
    role: str
    start: int
    end: int
    parts: int  # that count
    waits: int = 0  # that may be real
    flag: str | None = None


def steps(plant: Plant, device: Device, role: str) -> list[Step]:
    oee = device.profile["oee"]
    name = oee.get(role)
    if name is None:
        return []
    counter = device.profile["signals"][name]["counter"]
    each = oee.get("parts_per_count", 1)
    each = each if isinstance(each, int) else each.get(role, 1)
    good = [reading for reading in device.readings.get(name, []) if isinstance(reading.value, float) and not reading.doubtful]
    found = []
    for before, after in pairwise(good):
        assert isinstance(before.value, float)
        assert isinstance(after.value, float)
        step = _judged(plant, device, role, counter, before.at, after.at, int(before.value), int(after.value), each)
        _decide(plant, device, step)
        found.append(step)
    return found


def _judged(  # noqa: PLR0917
    plant: Plant, device: Device, role: str, counter: dict[str, float], start: int, end: int, prev: int, cur: int, each: int
) -> Step:
    modulus = plant.dated(counter, "modulus", start)
    rate = Fraction(str(plant.dated(counter, "max_rate_per_s", start)))
    span_s = Fraction(end - start, 1000)
    allowed = ceil(rate * Fraction(5, 4) * span_s) + 1
    cycle = plant.dated(device.settings, "ideal_cycle_s", start)
    step = Step(role, start, end, 0)
    turned = cur + modulus - prev if modulus else None
    if modulus and cur != prev and modulus <= rate * span_s and (cycle is None or modulus * each * Fraction(str(cycle)) <= span_s):
        step.flag, step.waits = "counter_ambiguous", (cur - prev) % modulus
    elif cur >= prev:
        if cur - prev <= allowed:
            step.parts = cur - prev
        else:
            step.flag, step.waits = "counter_jump", cur - prev
    elif turned is not None and turned <= allowed:
        step.parts = turned
    elif cur <= allowed:
        step.flag, step.parts = "counter_reset", cur
    else:
        step.flag, step.waits = "counter_rejected", cur
    step.parts *= each
    step.waits *= each
    return step


def _decide(plant: Plant, device: Device, step: Step) -> None:
    name = f"{device.name}/step/{step.role}/{text_of(step.start)}/{text_of(step.end)}"
    for entry in plant.entries:
        said = entry["values"]
        if entry["kind"] == "counter_step" and entry["device"] == device.name and said["step"] == name and step.waits:
            step.parts, step.flag = 0, None
            if said["verdict"] == "accepted":
                step.parts = said.get("parts", step.waits)
            step.waits = 0


def split(step: Step, spans: list[tuple[int, int, str, object, bool]]) -> dict[int, tuple[str, int]]:
    """Whole parts by slice. `spans`: start, end, class (planned, other, unknown), stretch, whether it stood, in order of time."""
    weights = [0 if stood else end - start for start, end, _, _, stood in spans]
    if not any(weights):
        weights = [end - start for start, end, _, _, _ in spans]
    total = sum(weights)
    by_class = {
        kind: sum(w for w, span in zip(weights, spans, strict=True) if span[2] == kind) for kind in ("planned", "other", "unknown")
    }
    parts = {kind: step.parts * by_class[kind] // total for kind in by_class}
    rest = next(kind for kind in ("unknown", "planned", "other") if by_class[kind])
    parts[rest] += step.parts - sum(parts.values())
    result: dict[int, tuple[str, int]] = {}
    for kind, whole in parts.items():
        done = 0
        stretch: list[int] = []
        mine = [i for i, span in enumerate(spans) if span[2] == kind]
        for position, index in enumerate(mine):
            stretch.append(index)
            following = mine[position + 1] if position + 1 < len(mine) else None
            if following is not None and following == index + 1 and spans[following][3] == spans[index][3]:
                continue
            weight = sum(weights[i] for i in stretch)
            if by_class[kind]:
                of_stretch = whole * (done + weight) // by_class[kind] - whole * done // by_class[kind]
                at = 0
                for i in stretch:
                    if weight:
                        result[i] = kind, of_stretch * (at + weights[i]) // weight - of_stretch * at // weight
                    at += weights[i]
            done += weight
            stretch = []
    return result
