"""Which leaf of the time model a machine state is (oee.md A2, A6). States are PackML names; the mapping is per device."""

from __future__ import annotations

from collections.abc import Mapping

UNKNOWN = "unknown"
"""The state, and the leaf, of time without valid data."""

NOT_SCHEDULED = "not_scheduled"
UNSCHEDULED = "unscheduled"
BREAK = "break"
PLANNED_STOP = "planned_stop"
SETUP = "setup"
UNPLANNED_STOP = "unplanned_stop"
MINOR_STOP = "minor_stop"
RUN = "run"

PRODUCTION_LEAVES = frozenset({PLANNED_STOP, SETUP, UNPLANNED_STOP, MINOR_STOP, RUN})
"""Leaves that make up planned production time, OEE's denominator."""

RUN_LEAVES = frozenset({RUN, MINOR_STOP})
"""Leaves that make up run time: a micro-stop is a loss of performance, not of availability."""

PACKML_LEAVES: Mapping[str, str] = {
    "execute": RUN,
    # Suspended: starved or blocked from outside. Held: the machine's own fault, jam or operator. Aborted: a failure.
    "suspending": UNPLANNED_STOP,
    "suspended": UNPLANNED_STOP,
    "unsuspending": UNPLANNED_STOP,
    "holding": UNPLANNED_STOP,
    "held": UNPLANNED_STOP,
    "unholding": UNPLANNED_STOP,
    "aborting": UNPLANNED_STOP,
    "aborted": UNPLANNED_STOP,
    "clearing": UNPLANNED_STOP,
    # With an order in force these are stops nobody gave a reason for. A profile whose machine idles for lack of orders
    # says so: leaves: {idle: unscheduled}.
    "stopping": UNPLANNED_STOP,
    "stopped": UNPLANNED_STOP,
    "resetting": UNPLANNED_STOP,
    "idle": UNPLANNED_STOP,
    "starting": UNPLANNED_STOP,
    "completing": UNPLANNED_STOP,
    "complete": UNPLANNED_STOP,
    "setup": SETUP,
    UNKNOWN: UNKNOWN,
}


def leaves_of(overrides: Mapping[str, str]) -> dict[str, str]:
    """Leaf by state name: the PackML default, with a profile's overrides. `unknown` always stays unknown."""
    return {**PACKML_LEAVES, **overrides, UNKNOWN: UNKNOWN}
