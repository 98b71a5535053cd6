"""What was made in a stretch of time, by counters, people and MES, and the ideal time of it (oee.md A2, A7, A12)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .corrections import Corrections, corrections
from .counts import Counted
from .history import History

NOT_COUNTED = Counted(parts=0, ideal=0, unknown=0, run_ms=0, quarantined=0, read=False, events=frozenset())


@dataclass(frozen=True, slots=True)
class PartsMade:
    """`ideal` and `ideal_good`: how many parts, and good ones, meet ideal time. `counted`, `judged`: parts, and how many of them
    are good, are known, unless the machine ran in time of which its counter does not tell (`untold`). `inferred_ms`: unknown time
    in which its parts say that the machine ran.
    """

    total: int
    scrap: int
    rework: int
    unseen: int
    quarantined: int
    ideal: int
    ideal_good: int
    counted: bool
    judged: bool
    untold: tuple[tuple[int, int], ...]
    inferred_ms: int
    events: frozenset[str]


@dataclass(frozen=True, slots=True)
class Matched:
    """Ideal time of parts, in nanoseconds; `paced`: it is known for all of them."""

    ideal_ns: int = 0
    good_ns: int = 0
    paced: bool = True


def made_in(history: History, start_ms: int, end_ms: int) -> PartsMade:
    counted = {role: track.counted(start_ms, end_ms) for role, track in history.counts.items()}
    entries = history.entries.concerning(start_ms, end_ms)
    corrected = corrections(entries.quality, start_ms, end_ms, history.made_until) if entries.quality else Corrections()
    total, good, reject = (counted.get(role, NOT_COUNTED) for role in ("total", "good", "reject"))
    if "total" in counted:
        role, parts, ideal, unseen, known = "total", total.parts, total.ideal, total.unknown, total.read
    else:  # good and reject together are the total; good alone is the least it can be
        parts, ideal, unseen = good.parts + reject.parts, good.ideal + reject.ideal, good.unknown + reject.unknown
        role, known = "good", good.read
    tells_quality = ""
    if "reject" in counted and ("total" in counted or "good" in counted):
        tells_quality = "reject"
        scrap, ideal_scrap, judged = reject.parts, reject.ideal, known and reject.read
    elif history.carried is not None:
        carried = history.carried.scrap(start_ms, end_ms)
        tells_quality = "good"
        scrap, ideal_scrap, judged = carried.parts, carried.ideal, known and good.read
    else:
        scrap, ideal_scrap, judged = 0, 0, False
    if tells_quality:  # of what was made in time of which its counter does not tell nobody knows how much is good
        track, made_by = history.counts[tells_quality], history.counts[role]
        judged = judged and not any(made_by.counted(*each).ideal for each in track.untold(start_ms, end_ms))
    return PartsMade(
        total=parts,
        scrap=scrap + corrected.scrap,
        rework=corrected.rework,
        unseen=unseen,
        quarantined=total.quarantined if "total" in counted else good.quarantined + reject.quarantined,
        ideal=ideal,
        ideal_good=ideal - ideal_scrap - corrected.ideal,
        counted=known,
        judged=judged,
        untold=tuple(history.counts[role].untold(start_ms, end_ms)) if role in history.counts else ((start_ms, end_ms),),
        inferred_ms=total.run_ms if "total" in counted else good.run_ms,
        events=frozenset().union(*(c.events for c in counted.values())),
    )


def matched_in(history: History, start_ms: int, end_ms: int, made: PartsMade, runs: Callable[[int, int], bool]) -> Matched:
    """The ideal time of what was `made` in [start, end), each part by the ideal time that held when it was made.

    `runs`: does the machine run in a stretch? Where it does, and there is no ideal time, performance is not known.
    """
    stretches = [
        (from_ms, to_ms, held.part_ns(order))
        for begin_ms, until_ms, order in history.orders_over(start_ms, end_ms)
        for from_ms, to_ms, held in history.machine.spans(begin_ms, until_ms)
    ]
    paces = {part_ns for *_, part_ns in stretches}
    if len(paces) == 1:
        (part_ns,) = paces
        return Matched(made.ideal * (part_ns or 0), made.ideal_good * (part_ns or 0), part_ns is not None and bool(history.counts))
    ideal_ns = good_ns = 0
    paced = bool(history.counts)
    for from_ms, to_ms, part_ns in stretches:
        here = made_in(history, from_ms, to_ms)
        if part_ns is None:
            paced = paced and not (here.ideal or runs(from_ms, to_ms))
        else:
            ideal_ns += here.ideal * part_ns
            good_ns += here.ideal_good * part_ns
    return Matched(ideal_ns, good_ns, paced)


def startup_in(history: History, start_ms: int, end_ms: int) -> tuple[int | None, int]:
    """How much of what is not good start-ups of orders rejected in [start, end), and its ideal time in nanoseconds; None where the
    plant does not tell it apart."""
    good_parts = history.machine.startup_good_parts
    if not good_parts:
        return None, 0
    scrap = ideal_ns = 0
    for from_ms, to_ms in history.begins.startups(good_parts, start_ms, end_ms):
        made = made_in(history, from_ms, to_ms)
        matched = matched_in(history, from_ms, to_ms, made, lambda _from_ms, _to_ms: False)
        scrap += made.scrap
        ideal_ns += matched.ideal_ns - matched.good_ns
    return scrap, ideal_ns
