"""What a storm did and what became of the readings, as one document. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from .figures import Figures
from .ride import Happened, Notes
from .schedule import Storm, TroubleKind

MARGIN_MS = 1_500
"""A read that was lost with a process was under way when it stood still or ended: at most one time limit of a device long."""
UNPLANNED = "nothing that was planned"


class Burst(msgspec.Struct, frozen=True):
    """Reads that were served and never committed at about the same time; times in ms since the epoch."""

    first_ms: int
    last_ms: int
    reads: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a storm. `clean`: nothing lost, duplicated or wrong, ledger and figures exact, everything healed, no surprise."""

    clean: bool
    seed: int
    minutes: float
    lost: int
    duplicated: int
    wrong: int
    served: int
    stored: int
    values_compared: int
    never_committed: dict[str, int]
    """By cause: a kind of device fault, or what was done to a process at that time."""
    ledger_entries: dict[str, int]
    """By cause."""
    in_ledger: int
    """Messages that the ledger says are lost."""
    in_ledger_and_stored: int
    """Of these, how many the database has: the ledger must be exact."""
    kills: dict[str, int]
    """By process, those in pairs and for outages included."""
    pairs: int
    hangs: int
    outages: dict[str, float]
    """Seconds by process."""
    full_disks: int
    clocks_off: int
    faults: dict[str, int]
    """Of devices, by kind."""
    biggest_backlog: int
    longest_drain_s: float
    drained_after_s: float | None
    healed_after_s: float | None
    windows: int
    """Ended windows of OEE that were computed again from the stored readings."""
    alert_events: int
    figures_wrong: int
    """Windows that came out otherwise, or missing events of alerts."""
    surprises: list[str]
    examples: list[str]
    """What is wrong, where something is."""


def make_report(storm: Storm, notes: Notes, score: Mapping[str, Any], bursts: Iterable[Burst], figures: Figures) -> Report:
    """`score` is what `millrace-sim score --json` printed."""
    streams = score["streams"].values()
    overlap = sum(stream["in_ledger_and_stored"] for stream in streams)
    causes: Counter[str] = Counter({cause: n for cause, n in score["never_committed"].items() if cause != "unexplained"})
    for burst in bursts:
        causes[_cause(burst, notes.troubles)] += burst.reads
    happened = [each.trouble for each in notes.troubles]
    killed = [each for each in happened if each.kind in (TroubleKind.KILL, TroubleKind.OUTAGE)]
    outages: Counter[str] = Counter()
    for each in happened:
        if each.kind is TroubleKind.OUTAGE:
            outages[each.processes[0]] += round(each.seconds)
    return Report(
        clean=score["clean"] and not overlap and not figures.wrong and not notes.surprises and notes.healed_after_s is not None,
        seed=storm.seed,
        minutes=storm.seconds / 60,
        lost=score["lost"],
        duplicated=score["duplicated"],
        wrong=score["wrong"],
        served=score["served"],
        stored=score["stored"],
        values_compared=score["values_compared"],
        never_committed=dict(causes),
        ledger_entries=figures.ledger_entries,
        in_ledger=sum(stream["in_ledger"] for stream in streams),
        in_ledger_and_stored=overlap,
        kills=dict(Counter(process for each in killed for process in each.processes)),
        pairs=sum(len(each.processes) == 2 for each in killed),
        hangs=sum(each.kind is TroubleKind.HANG for each in happened),
        outages=dict(outages),
        full_disks=sum(each.kind is TroubleKind.FULL_DISK for each in happened),
        clocks_off=sum(each.kind is TroubleKind.CLOCK for each in happened),
        faults=dict(notes.faults),
        biggest_backlog=notes.biggest_backlog,
        longest_drain_s=round(notes.longest_drain_s, 1),
        drained_after_s=notes.drained_after_s,
        healed_after_s=notes.healed_after_s,
        windows=figures.windows,
        alert_events=figures.alert_events,
        figures_wrong=len(figures.wrong),
        surprises=notes.surprises,
        examples=[*score["examples"], *figures.wrong, *([] if score["stored"] else ["nothing was stored"])],
    )


def _cause(burst: Burst, troubles: Iterable[Happened]) -> str:
    """The trouble of what stands between a device and its gateway's outbox that began or ended nearest to the burst."""
    near = [
        (min(abs(each.start_ms - burst.first_ms), abs(each.end_ms - burst.first_ms)), f"{name}: {each.trouble.kind}")
        for each in troubles
        for name in ("gateway", "simulator")
        if name in each.trouble.processes
        and each.start_ms - MARGIN_MS <= burst.last_ms
        and burst.first_ms <= each.end_ms + MARGIN_MS
    ]
    return min(near)[1] if near else UNPLANNED
