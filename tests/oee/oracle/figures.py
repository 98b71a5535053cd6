"""Sums of a window to its document (docs/oee.md A2, A4, A10)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from .calendar import Window
from .machine import LEAVES, Sums
from .plant import text_of

HALF_AN_HOUR = 1_800_000


def six(value: Fraction | None) -> float | None:
    return None if value is None else round(value * 10**6) / 10**6


def document(  # noqa: C901, PLR0912 - one rule after the other, as the text has them
    window: Window,
    sums: Sums,
    now: int,
    *,
    final: bool,
    line: str,
    device: str | None,
    outside: list[str],
    coverage_min: float,
    policy: str | None,
    method: str,
) -> dict[str, Any]:
    ms = {"all": sum(sums.ms.values()), **{leaf: sums.ms[leaf] for leaf in LEAVES}}
    planned = sum(ms[leaf] for leaf in ("run", "minor_stop", "unplanned_stop", "planned_stop", "setup") if leaf not in outside)
    run = ms["run"] + ms["minor_stop"]
    coverage = Fraction(planned, planned + ms["unknown"]) if planned + ms["unknown"] else None
    ideal, good = round(sums.ideal), round(sums.good)
    a = p = q = oee = teep = None
    reason = None
    paced = sums.paced and sums.counted
    judged = paced and sums.judged
    exceeds = sums.parts["good"] < 0 or good < 0
    if not sums.paced:  # by counts
        q = (
            Fraction(sums.parts["good"], sums.parts["total"])
            if sums.counted and sums.judged and sums.parts["total"] and not exceeds
            else None
        )
    if coverage is not None and (coverage < Fraction(str(coverage_min)) or not planned):
        reason = "insufficient_data"
        q = q if coverage >= Fraction(str(coverage_min)) else None
    elif planned == 0:
        reason, q = "no_planned_production_time", None
    else:
        a = Fraction(run, planned)
        if not sums.paced:
            reason = "no_ideal_cycle"
        elif not sums.counted:
            reason = "no_part_counter_read"
        elif run == 0:
            reason = "no_run_time"
        else:
            p = Fraction(ideal, run)
        if not sums.judged:
            reason = reason or "no_quality_counter_read"
        elif exceeds:
            reason = "scrap_exceeds_parts" if reason in (None, "no_run_time") else reason
        elif paced and ideal == 0:
            reason = reason or "no_parts"
        elif paced:
            q = Fraction(good, ideal)
        if judged and good >= 0:
            oee = Fraction(good, planned)
            if window.kind in ("day", "week", "month"):
                teep = Fraction(good, ms["all"])
    losses = {
        "planned_stops": ms["planned_stop"],
        "setup": ms["setup"],
        "breakdowns": ms["unplanned_stop"],
        "minor_stops": ms["minor_stop"],
    }
    losses = {name: lost for name, lost in losses.items() if name.removesuffix("s") not in outside}
    if paced:
        losses["reduced_speed"] = ms["run"] - ideal
        if judged and not exceeds:
            losses["defects"] = ideal - good
    flags = set(sums.flags)
    pace = Fraction(ideal, run) if paced and run else Fraction(0)
    if (pace > 1 and run >= HALF_AN_HOUR) or (pace > Fraction(105, 100) and final):
        flags.add("ideal_cycle_suspect")
    if sums.parts["scrap"] < 0:
        flags.add("good_ahead_of_total")
    unplanned = ms["unplanned_stop"]
    names = ("count", "minor", "failures", "failure_ms", "waiting_ms")
    said = {
        "line": line,
        "timestamp": text_of(window.end if final else now),
        "window": {"kind": window.kind, "id": window.id, "start": text_of(window.start), "end": text_of(window.end)},
        "ms": ms,
        "parts": {name: sums.parts[name] for name in ("total", "good", "scrap", "rework", "unknown", "quarantined")},
        "availability": six(a),
        "performance": six(p),
        "quality": six(q),
        "oee": six(oee),
        "teep": six(teep),
        "reason": reason,
        "final": final,
        "ideal_ms": ideal,
        "good_ms": good,
        "coverage": six(coverage),
        "wip_moved": None,
        "oee_end": None,
        "unknown_policy": policy,
        "assumed_ms": sums.assumed,
        "unexplained_ms": sums.unexplained,
        "reason_missing": six(Fraction(sums.unexplained, unplanned)) if unplanned else None,
        "losses": losses,
        "stops": {name: sums.stops[name] for name in names},
        "ideal_cycle_s": None if sums.cycle_ns is None else round(sums.cycle_ns) / 10**9,
        "planned_left_ms": sums.left,
        "flags": sorted(flags),
        "basis": {"method": method, "outside": sorted(outside)},
    }
    if device is not None:
        said["device_id"] = device
    return said
