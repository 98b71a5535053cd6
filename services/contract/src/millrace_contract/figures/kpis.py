"""Key figures by the names of ISO 22400-2, and the states of SEMI E10 with E79's efficiencies: roll-ups of the same sums.

What needs orders, workers or serial numbers is not here (oee.md A3). All from one document, so that they say what it says.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..language.oee_messages import OeeDocument
from ..language.words import BigLoss, Leaf
from .ratios import mean, ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Iso22400:
    """Elements in milliseconds, ratios 0..1 (effectiveness may be more). None where undefined or not known.

    PBT is without planned stops whatever the line's own OEE counts; setup is in it, and lowers the OEE index but not the NEE index.
    Micro-stops are part of APT, as they are of run time; taken as delay they would move from effectiveness to availability, and
    the indexes would be the same.
    """

    planned_busy_time_ms: int
    actual_unit_processing_time_ms: int
    actual_production_time_ms: int
    actual_setup_time_ms: int
    actual_delay_time_ms: int
    availability: float | None
    effectiveness: float | None
    quality_ratio: float | None
    oee_index: float | None
    nee_index: float | None
    setup_ratio: float | None
    technical_efficiency: float | None
    scrap_ratio: float | None
    rework_ratio: float | None
    mtbf_ms: int | None
    mttr_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SemiE10:
    """Milliseconds by state, which with `unknown_ms` are all time, and E79's efficiencies on the time that is known.

    Standby is waiting for others (starved, blocked); engineering is not told apart from other time without orders.
    """

    productive_ms: int
    standby_ms: int | None
    scheduled_down_ms: int
    unscheduled_down_ms: int | None
    non_scheduled_ms: int
    unknown_ms: int
    availability_efficiency: float | None
    operational_efficiency: float | None
    rate_efficiency: float | None
    quality_efficiency: float | None
    oee: float | None


def iso22400(document: OeeDocument) -> Iso22400:
    """The key figures of one window. Ratios are None where its own are withheld: too little is known of it."""
    ms, parts, stops = document.ms, document.parts, document.stops
    apt = ms[Leaf.RUN] + ms[Leaf.MINOR_STOP]
    setup, delay = ms[Leaf.SETUP], ms[Leaf.UNPLANNED_STOP]
    pbt, aupt = apt + setup + delay, apt + setup
    told, is_paced, is_judged = (
        document.availability is not None,
        BigLoss.REDUCED_SPEED in document.losses,
        BigLoss.DEFECTS in document.losses,
    )

    def known(numerator: int, denominator: int, *, when: bool = True) -> float | None:
        return ratio(numerator, denominator) if told and when else None

    return Iso22400(
        planned_busy_time_ms=pbt,
        actual_unit_processing_time_ms=aupt,
        actual_production_time_ms=apt,
        actual_setup_time_ms=setup,
        actual_delay_time_ms=delay,
        availability=known(apt, pbt),
        effectiveness=known(document.ideal_ms, apt, when=is_paced),
        quality_ratio=known(parts.good, parts.total, when=document.quality is not None),
        oee_index=known(document.good_ms, pbt, when=is_judged),
        nee_index=known(document.good_ms * aupt, pbt * apt, when=is_judged),
        setup_ratio=known(setup, aupt),
        technical_efficiency=known(apt, apt + delay),
        scrap_ratio=known(parts.scrap, parts.total, when=document.quality is not None),
        rework_ratio=known(parts.rework, parts.total, when=document.quality is not None),
        mtbf_ms=None if stops is None else mean(apt, stops.failures),
        mttr_ms=None if stops is None else mean(stops.failure_ms, stops.failures),
    )


def semi_e10(document: OeeDocument) -> SemiE10:
    """The same leaves by SEMI E10. A line by its bottleneck is that bottleneck's time."""
    ms = document.ms
    productive = ms[Leaf.RUN] + ms[Leaf.MINOR_STOP]
    standby = None if document.stops is None else document.stops.waiting_ms
    scheduled = ms[Leaf.PLANNED_STOP] + ms[Leaf.SETUP]
    non_scheduled = ms[Leaf.NOT_SCHEDULED] + ms[Leaf.BREAK] + ms[Leaf.UNSCHEDULED]
    total = productive + scheduled + ms[Leaf.UNPLANNED_STOP] + non_scheduled
    told, is_paced, is_judged = (
        document.availability is not None,
        BigLoss.REDUCED_SPEED in document.losses,
        BigLoss.DEFECTS in document.losses,
    )
    uptime = None if standby is None else productive + standby
    return SemiE10(
        productive_ms=productive,
        standby_ms=standby,
        scheduled_down_ms=scheduled,
        unscheduled_down_ms=None if standby is None else ms[Leaf.UNPLANNED_STOP] - standby,
        non_scheduled_ms=non_scheduled,
        unknown_ms=ms[Leaf.UNKNOWN],
        availability_efficiency=ratio(uptime, total) if told and uptime is not None else None,
        operational_efficiency=ratio(productive, uptime) if told and uptime is not None else None,
        rate_efficiency=ratio(document.ideal_ms, productive) if told and is_paced else None,
        quality_efficiency=ratio(document.good_ms, document.ideal_ms) if told and is_judged else None,
        oee=ratio(document.good_ms, total) if told and is_judged else None,
    )
