"""Colours and words that mean the same on every board."""

from __future__ import annotations

from dataclasses import dataclass

from millrace_contract.language.points import PACKML_CODES


@dataclass(frozen=True, slots=True)
class Look:
    text: str
    color: str


@dataclass(frozen=True, slots=True)
class Step:
    """From `value` on (None: from the beginning) this colour holds."""

    value: float | None
    color: str


GREEN, YELLOW, ORANGE, RED, BLUE, PURPLE = "green", "yellow", "orange", "red", "blue", "purple"
GREY = "#7b8087"
DARK = "#3a3f47"

_STATE_COLORS = {
    "execute": GREEN,
    "setup": BLUE,
    # Held is the machine's own trouble, suspended comes from outside: starved or blocked.
    "held": ORANGE, "holding": ORANGE, "unholding": ORANGE,
    "suspended": YELLOW, "suspending": YELLOW, "unsuspending": YELLOW,
    "aborted": RED, "aborting": RED, "clearing": RED,
    # Not knowing must not look like standing still.
    "unknown": PURPLE,
}  # fmt: skip

STATES = {str(code): Look(name, _STATE_COLORS.get(name, GREY)) for name, code in PACKML_CODES.items()}
"""Machine states by their number in the database."""

RATIO_STEPS = (Step(None, RED), Step(0.6, YELLOW), Step(0.85, GREEN))
"""OEE and its factors: 85 % is the usual mark of a well-run line, below 60 % something is wrong."""

NONE_IS_GOOD = (Step(None, GREEN), Step(1, RED))
PLAIN = (Step(None, "text"),)

LOSSES = {
    "ms_run": Look("running", GREEN),
    "ms_minor_stop": Look("minor stops", YELLOW),
    "ms_unplanned_stop": Look("unplanned stops", RED),
    "ms_planned_stop": Look("planned stops", BLUE),
    "ms_setup": Look("setup", "light-blue"),
    "ms_break": Look("breaks", GREY),
    "ms_unscheduled": Look("not ordered", GREY),
    "ms_unknown": Look("unknown", PURPLE),
}
"""Leaves of the time model (oee.md A2) as people call them. Time outside every shift is no part of a shift's figures."""

PARTS = {"parts_good": Look("good", GREEN), "parts_scrap": Look("scrap", ORANGE), "parts_total": Look("all", "text")}

PRIORITIES = {
    "critical": Look("critical", RED),
    "high": Look("high", ORANGE),
    "medium": Look("medium", YELLOW),
    "low": Look("low", BLUE),
}

ALERT_STATES = {
    "UNACK": Look("active, not acknowledged", RED),
    "ACKED": Look("active, acknowledged", YELLOW),
    "RTNUN": Look("over, not acknowledged", BLUE),
    "LATCH_UNACK": Look("over, latched", BLUE),
}
