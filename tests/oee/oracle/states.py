"""What a machine did: readings to stretches of states (docs/oee.md A6), stops (docs/oee.md A8), and why (docs/oee.md A14)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .plant import Device, Plant, ms_of

WATCHED_MS = 180_000
HOLD_MOST_MS = 8 * 3_600_000
STOP_LEAVES = ("unplanned_stop", "minor_stop")
FAILURES = ("aborting", "aborted", "clearing")
WAITING = ("suspending", "suspended", "unsuspending")


@dataclass
class Stretch:
    start: int
    end: int
    state: str
    unmapped: bool = False
    assumed: bool = False


@dataclass
class Piece:
    """A part of a stop; `leaf` None leaves the time where it is."""

    start: int
    end: int
    reason: str | None = None


@dataclass
class Stop:
    start: int
    end: int
    state: str
    minor: bool
    pending: bool
    pieces: list[Piece] = field(default_factory=list)
    chosen: str | None = None  # of the stop as a whole


def hold_of(device: Device, signal: str, promised_ms: int | None = None) -> int:
    if promised_ms is not None:
        return promised_ms
    oee = device.profile["oee"]
    if oee.get("state") == signal and "stale_s" in oee:
        return round(float(oee["stale_s"]) * 1000)
    groups = device.profile["groups"]
    group = device.profile["signals"][signal].get("group", next(iter(groups)))
    return max(5_000, round(3_000 * float(groups[group]["interval_s"])))


def _named(device: Device, value: Any, before: str) -> str | None:
    """The state that a good reading tells; None where nobody has named it."""
    oee = device.profile["oee"]
    signal = device.profile["signals"][oee["state"]]
    if "running" in oee:
        if value > oee["running"]["above"]:
            return "execute"
        return "stopped" if value < oee["running"]["below"] else before
    if isinstance(value, str):
        word: str | None = oee.get("texts", {}).get(value)
        return word
    names = signal.get("values") or ({0: "stopped", 1: "execute"} if signal["type"] == "bit" else {})
    named: str | None = names.get(int(value)) if value == int(value) else None
    return named


def stretches(plant: Plant, device: Device, first: int, last: int) -> list[Stretch]:
    """From `first` to `last` without a gap."""
    signal = device.profile["oee"]["state"]
    readings = [reading for reading in device.readings.get(signal, []) if not reading.doubtful]
    found = [Stretch(first, readings[0].at if readings else last, "unknown")]
    told = "unknown"
    for index, reading in enumerate(readings):
        until = readings[index + 1].at if index + 1 < len(readings) else max(last, reading.at)
        if reading.value is None:
            found.append(Stretch(reading.at, until, "unknown"))
            continue
        state = _named(device, reading.value, told)
        if state is not None:
            told = state
        holds = min(until, reading.at + hold_of(device, signal, reading.hold_ms))
        found.append(Stretch(reading.at, holds, state or "unknown", unmapped=state is None))
        found.append(Stretch(holds, until, "unknown"))
    policy = device.settings.get("oee", {}).get("unknown", "exclude")
    if policy == "down":
        found = _watched(device, found)
    if policy == "hold":
        found = _held(found)
    return [s for s in (_cut(s, first, last) for s in found) if s.start < s.end]


def _cut(stretch: Stretch, first: int, last: int) -> Stretch:
    return Stretch(max(first, stretch.start), min(last, stretch.end), stretch.state, stretch.unmapped, stretch.assumed)


def _watched(device: Device, found: list[Stretch]) -> list[Stretch]:
    result = []
    for stretch in found:
        at = stretch.start
        if stretch.state == "unknown" and not stretch.unmapped:
            for index, word in enumerate(device.words):
                end = min(
                    [stretch.end, word + WATCHED_MS, *device.words[index + 1 : index + 2], *(h for h in device.heard if h > word)]
                )
                begin = max(at, word)
                if begin < end:
                    result += [Stretch(at, begin, "unknown"), Stretch(begin, end, "unreachable", assumed=True)]
                    at = end
        result.append(Stretch(at, stretch.end, stretch.state, stretch.unmapped, stretch.assumed))
    return result


def _held(found: list[Stretch]) -> list[Stretch]:
    result: list[Stretch] = []
    state, since = "unknown", 0
    for stretch in found:
        if stretch.state != "unknown":
            state, since = stretch.state, stretch.end
            result.append(stretch)
        elif state == "unknown" or stretch.unmapped:
            result.append(stretch)
        else:
            until = max(stretch.start, min(stretch.end, since + HOLD_MOST_MS))
            result += [Stretch(stretch.start, until, state, assumed=True), Stretch(until, stretch.end, "unknown")]
    return result


def leaf_of(plant: Plant, device: Device, state: str, at: int) -> str:
    if state == "unknown":
        return "unknown"
    leaves: dict[str, str] = plant.dated(device.profile["oee"], "leaves", at, {})
    return leaves.get(state) or {"execute": "run", "setup": "setup"}.get(state, "unplanned_stop")


def stops(plant: Plant, device: Device, past: list[Stretch]) -> list[Stop]:
    found: list[Stop] = []
    for stretch in past:
        if leaf_of(plant, device, stretch.state, stretch.start) not in STOP_LEAVES:
            continue
        if found and found[-1].end == stretch.start:
            found[-1].end = stretch.end
        else:
            found.append(Stop(stretch.start, stretch.end, stretch.state, minor=False, pending=False))
    for stop in found:
        limit = round(plant.dated(device.settings, "micro_stop_s", stop.start, 120) * 1000)
        stop.minor = stop.end - stop.start <= limit
        stop.pending = stop.minor and stop.end == past[-1].end
        stop.chosen = device.profile["oee"].get("reasons", {}).get(stop.state)
        stop.pieces = [Piece(stop.start, stop.end, stop.chosen)]
    for entry in plant.entries:
        if entry["kind"] == "reason" and entry["line"] == device.line and entry["device"] in (None, device.name):
            _enter(entry["values"], found)
    return found


def _enter(said: dict[str, Any], found: list[Stop]) -> None:
    start = ms_of(said["start"])
    end = ms_of(said["end"]) if said.get("end") else start + 1
    concerned = [stop for stop in found if stop.start < end and start < stop.end]
    for stop in concerned:
        if said["action"] in ("choose", "merge"):
            stop.chosen = said.get("reason") or stop.chosen
            stop.pieces = [Piece(stop.start, stop.end, stop.chosen)]
        elif said["action"] == "split":
            begin, until = max(start, stop.start), min(end, stop.end)
            kept = [Piece(p.start, min(p.end, begin), p.reason) for p in stop.pieces] + [
                Piece(max(p.start, until), p.end, p.reason) for p in stop.pieces
            ]
            stop.pieces = sorted(
                [p for p in kept if p.start < p.end] + [Piece(begin, until, said["reason"])], key=lambda p: p.start
            )
