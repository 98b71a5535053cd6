"""The profiles of a folder, and what only shows when the signals of one are seen together: overlaps, groups, ranges, OEE."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from ..language.assets import signal_problem
from ..language.words import MachineState
from .document import Document, nearest, read_document
from .profile import OeeSignals, Profile
from .references import meant_address
from .register_signal import RegisterSignal
from .register_types import BIT_TABLES, HALVES, SignRegister
from .signal import EVERY_GROUP, Signal
from .valid_from import check_changes

TOLD_STATES = tuple(state for state in MachineState if state is not MachineState.UNREACHABLE)
"""What a value of a state may mean."""


def load_profiles(folder: Path) -> tuple[dict[str, Profile], list[Document]]:
    """Every profile of the folder by name, and the documents with their problems. A broken profile is left out of the first."""
    profiles: dict[str, Profile] = {}
    documents: list[Document] = []
    for path in sorted(folder.glob("*.yaml")):
        document = read_document(path, f"profiles/{path.name}")
        documents.append(document)
        if document.problems:
            continue
        if "name" in document.data:
            document.problem(("name",), "is not a key here: a profile is called as its file")
            continue
        document.data["name"] = path.stem
        if (profile := document.validate(Profile)) is not None:
            _check(profile, document)
            profiles[profile.name] = profile
    return profiles, documents


def _check(profile: Profile, document: Document) -> None:
    for signal in profile.signals.values():
        path = ("signals", signal.name)
        if problem := signal_problem(signal.name):
            document.problem(path, problem)
        if signal.group != EVERY_GROUP and signal.group not in profile.groups:
            known = ", ".join(profile.groups)
            document.problem(
                (*path, "group"), f"{signal.group!r} is not one of the profile's groups: {known}, or '*' for every group"
            )
        for number in signal.values:
            if not -(2**31) <= number < 2**32:
                document.problem((*path, "values"), f"{number} does not fit a register")
    if profile.sends_messages:
        for name, group in profile.groups.items():
            if group.once:
                document.problem(("groups", name), "needs interval_s: a device that sends messages is never asked, not even once")
    if all(group.once for group in profile.groups.values()):
        document.problem(("groups",), "needs a group with interval_s: one that is read once does not show that the device is there")
    _check_addresses(profile, document)
    _check_spans(profile, document)
    _check_overlaps(profile, document)
    _check_atomic(profile, document)
    _check_barriers(profile, document)
    _check_oee(profile, document)


def _check_addresses(profile: Profile, document: Document) -> None:
    for signal in profile.register_signals.values():
        path = ("signals", signal.name)
        sign = signal.sign.address if isinstance(signal.sign, SignRegister) else None
        places = [("address", signal.address), ("scale_register", signal.scale_register), ("sign", sign)]
        for key, address in [*places, *(("plus", addend.address) for addend in signal.plus)]:
            if profile.addresses == "checked" and (plain := meant_address(signal.table, address)) is not None:
                document.problem(
                    (*path, key),
                    f"{key} {address} looks like a reference number; use {plain}, "
                    "or set addresses: as_written in this profile if the device really counts like that",
                )


def _check_spans(profile: Profile, document: Document) -> None:
    """What one value is put together from must come with one answer."""
    for signal in profile.register_signals.values():
        key = "scale_register" if signal.scale_register is not None else "plus" if signal.plus else "sign"
        span = signal.end - signal.first
        if span > signal.registers and span > profile.limits.max_registers:
            document.problem(
                ("signals", signal.name, key),
                f"is {span} registers from one end to the other, more than the {profile.limits.max_registers} of one request",
            )


def _check_overlaps(profile: Profile, document: Document) -> None:
    taken: dict[tuple[str, int, str], RegisterSignal] = {}
    for signal in profile.register_signals.values():
        if signal.bit is not None or signal.bit_range is not None:
            continue  # bits of one register, and the register as a whole, may all be signals
        halves = (HALVES[signal.type],) if signal.type in HALVES else ("high", "low")
        for address, half in product(range(signal.address, signal.address + signal.registers), halves):
            other = taken.setdefault((signal.table, address, half), signal)
            if other is not signal:
                document.problem(
                    ("signals", signal.name, "address"),
                    f"overlaps {other.name} at {signal.table} address {address} "
                    f"({other.name} takes {other.address} to {other.address + other.registers - 1})",
                )
                break


def _check_atomic(profile: Profile, document: Document) -> None:
    for index, names in enumerate(profile.atomic):
        signals = [profile.register_signals[name] for name in names if name in profile.register_signals]
        for name in names:
            if name not in profile.signals:
                document.problem(("atomic", index), f"{name!r} is not a signal of this profile{nearest(name, profile.signals)}")
        if len({(signal.table, signal.group, signal.wide) for signal in signals}) > 1:
            document.problem(("atomic", index), "signals that are read in one request must share table and group")
        elif signals:
            span = max(s.end for s in signals) - min(s.first for s in signals)
            limit = profile.limits.max_bits if signals[0].table in BIT_TABLES else profile.limits.max_registers
            if span > limit:
                document.problem(("atomic", index), f"spans {span} registers, more than the {limit} of one request")


def _check_barriers(profile: Profile, document: Document) -> None:
    for index, barrier in enumerate(profile.must_not_cross):
        for signal in profile.register_signals.values():
            if signal.table == barrier.table and signal.first < barrier.end and barrier.start < signal.end:
                document.problem(
                    ("must_not_cross", index),
                    f"signal {signal.name} stands there, at {signal.table} {signal.first} to {signal.end - 1}",
                )
    for index, whole in enumerate(profile.read_as_one):
        span = whole.last + 1 - whole.first
        limit = profile.limits.max_bits if whole.table in BIT_TABLES else profile.limits.max_registers
        if span > limit:
            document.problem(("read_as_one", index), f"spans {span}, more than the {limit} of one request")


def _check_oee(profile: Profile, document: Document) -> None:
    if profile.oee is None:
        return
    _check_polled(profile, profile.oee, document)
    check_changes(document, ("oee", "changes"), profile.oee.changes)
    for name, each in profile.signals.items():
        if each.counter is not None:
            check_changes(document, ("signals", name, "counter", "changes"), each.counter.changes)
    for key in ("state", "total", "good", "reject"):
        name = getattr(profile.oee, key)
        if name is None:
            continue
        signal = profile.signals.get(name)
        if signal is None:
            document.problem(("oee", key), f"{name!r} is not a signal of this profile{nearest(name, profile.signals)}")
        elif key != "state" and signal.counter is None:
            document.problem(("oee", key), f"signal {name} needs the key counter (max_rate_per_s, modulus)")
    _check_state(profile, profile.oee, document)


def _check_state(profile: Profile, oee: OeeSignals, document: Document) -> None:
    """One source of the machine's state, which fits its signal."""
    given = [key for key in ("packml", "texts", "running") if getattr(oee, key)]
    if oee.state is None:
        if given:
            document.problem(("oee", given[0]), "says what a state means; it needs the key state, with the signal's name")
        elif oee.cycles is None:
            document.problem(("oee",), "needs the key state; of a machine that only counts, cycles: {} tells it from its parts")
        elif not (oee.total or oee.good):
            document.problem(("oee", "cycles"), "tells the state from parts; it needs total or good")
        return
    if oee.cycles is not None:
        document.problem(("oee", "cycles"), f"is for machines that only count; this one tells its state in {oee.state}")
    signal = profile.signals.get(oee.state)
    if signal is None:
        return
    if found := _misfit(signal, [*given, *(["values"] if signal.values else [])]):
        document.problem(("oee", found[0]), found[1])
    for number, word in signal.values.items():
        if word not in TOLD_STATES:
            document.problem(
                ("signals", signal.name, "values", number),
                f"{word!r} is not a machine state{nearest(word, TOLD_STATES)}; allowed: {', '.join(TOLD_STATES)}",
            )


def _misfit(signal: Signal, ways: list[str]) -> tuple[str, str] | None:
    """The key and what is wrong with how a signal is to tell the state."""
    if len(ways) > 1:
        return "state", f"signal {signal.name} has {' and '.join(ways)}; one of them says what it means"
    if ways and signal.is_text != (ways == ["texts"]):
        return ways[0], f"does not fit signal {signal.name}, which is {'a text' if signal.is_text else 'no text'}"
    if not ways and not signal.is_text and signal.kind != "bit":
        return "state", (
            f"signal {signal.name} needs the key values: what its numbers mean as machine states; or say in oee how it tells the "
            "state: packml: tr88, or running: {above: 4, below: 3}"
        )
    return None


def _check_polled(profile: Profile, oee: OeeSignals, document: Document) -> None:
    for key in ("state", "total", "good", "reject"):
        signal = profile.signals.get(getattr(oee, key) or "")
        group = profile.groups.get(signal.group) if signal is not None else None
        if signal is not None and group is not None and group.once:
            document.problem(
                ("oee", key), f"signal {signal.name} is in group {signal.group}, which is read once; OEE needs a polled one"
            )
