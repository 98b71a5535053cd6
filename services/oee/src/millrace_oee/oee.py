"""The ratios: integer sums, one division at the end, six digits half to even; null with a reason where undefined (oee.md A2)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from millrace_contract.figures.losses import losses, planned_ms
from millrace_contract.figures.ratios import ratio
from millrace_contract.language.words import Leaf, NoFigure

from .windows import Sums

SUSPECT_RUN_MS = 30 * 60_000


@dataclass(frozen=True, slots=True)
class Ratios:
    """0..1 (performance may be more), or None where undefined; `reason` names the first thing that is missing."""

    availability: float | None
    performance: float | None
    quality: float | None
    oee: float | None
    teep: float | None
    coverage: float | None
    reason: NoFigure | None


def ratios(
    sums: Sums,
    coverage_min: float,
    witnesses: Sequence[Sums] = (),
    *,
    is_calendar_time: bool = True,
    outside: Collection[Leaf] = (),
) -> Ratios:
    """The figures of these sums. Below `coverage_min` all figures are withheld, the sums stay (oee.md A9).

    `is_calendar_time`: the sums are those of whole days; TEEP is of these only, since a shift leaves out the time between shifts.
    `witnesses`: sums of other machines that these figures rest on; the least known one decides about coverage.
    `outside`: stops that the line leaves out of planned production time.
    """
    production_ms, run_ms = planned_ms(sums.ms, outside), sums.run_ms
    ideal_ms, good_ms = sums.ideal_ms, sums.good_ms
    shares = (_coverage(each, outside) for each in (sums, *witnesses))
    coverage = min((share for share in shares if share is not None), default=None)
    is_known = coverage is not None and coverage >= coverage_min
    paced = sums.paced and sums.counted
    sound = paced and sums.judged and good_ms >= 0
    headline = sound and production_ms > 0 and is_known
    return Ratios(
        availability=ratio(run_ms, production_ms) if is_known else None,
        performance=ratio(ideal_ms, run_ms) if paced and is_known else None,
        quality=_quality(sums, good_ms, ideal_ms) if is_known else None,
        oee=ratio(good_ms, production_ms) if headline else None,
        teep=ratio(good_ms, sums.all_ms) if headline and is_calendar_time else None,
        coverage=coverage,
        reason=_reason(sums, production_ms, headline=headline, is_known=is_known),
    )


def _coverage(sums: Sums, outside: Collection[Leaf]) -> float | None:
    """The part of the time left to the machine of which something is known."""
    production_ms = planned_ms(sums.ms, outside)
    return ratio(production_ms, production_ms + sums.ms[Leaf.UNKNOWN])


def _quality(sums: Sums, good_ms: int, ideal_ms: int) -> float | None:
    if not sums.judged or sums.good < 0 or good_ms < 0:
        return None
    # Without an ideal time all parts of one machine weigh the same, so counts give the same ratio.
    return ratio(good_ms, ideal_ms) if sums.paced else ratio(sums.good, sums.total)


def _reason(sums: Sums, production_ms: int, *, headline: bool, is_known: bool) -> NoFigure | None:
    """Why something is null, the most telling first."""
    if production_ms == 0:
        return NoFigure.INSUFFICIENT_DATA if sums.ms[Leaf.UNKNOWN] else NoFigure.NOTHING_PLANNED
    if not is_known:
        return NoFigure.INSUFFICIENT_DATA
    if not sums.paced:
        return NoFigure.NO_IDEAL_CYCLE
    if not sums.counted:
        return NoFigure.NO_COUNTER
    if not sums.judged:
        return NoFigure.NO_QUALITY
    if sums.good < 0 or sums.good_ns < 0:
        return NoFigure.SCRAP_EXCEEDS
    if not headline:
        return NoFigure.INSUFFICIENT_DATA
    if sums.run_ms == 0:
        return NoFigure.NO_RUN_TIME
    return NoFigure.NO_PARTS if sums.ideal_ms == 0 else None


def ideal_cycle_suspect(sums: Sums, *, ended: bool) -> bool:
    """Parts came faster than the ideal time allows: the master data are wrong, the figure is published as it is (oee.md A10)."""
    if not sums.paced or sums.run_ms == 0 or sums.ideal_ms <= sums.run_ms:
        return False
    return sums.run_ms >= SUSPECT_RUN_MS or (ended and 100 * sums.ideal_ms > 105 * sums.run_ms)


def losses_of(sums: Sums, outside: Collection[Leaf]) -> dict[str, int]:
    """Where planned production time went, as far as pace and quality are known."""
    is_paced = sums.paced and sums.counted
    is_judged = sums.judged and sums.good >= 0 and sums.good_ns >= 0
    return losses(
        sums.ms,
        ideal_ms=sums.ideal_ms if is_paced else None,
        good_ms=sums.good_ms if is_judged else None,
        startup_ms=sums.startup_ms,
        outside=outside,
    )
