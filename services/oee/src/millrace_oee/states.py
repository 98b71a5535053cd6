"""Which leaf of the time model a machine state is (oee.md A2, A6): the default, which a profile may override."""

from __future__ import annotations

from collections.abc import Mapping

from millrace_contract.language.words import NOT_TOLD, Leaf, MachineState, UnknownPolicy

RUN_LEAVES = frozenset({Leaf.RUN, Leaf.MINOR_STOP})
"""Leaves that make up run time: a micro-stop is a loss of performance, not of availability."""

FAILURE_STATES = frozenset({MachineState.ABORTING, MachineState.ABORTED, MachineState.CLEARING})
"""A stop that begins in one of these is a failure of the machine: it counts for MTBF and MTTR."""

# Suspended: starved or blocked from outside. Held: the machine's own fault, jam or operator. Aborted: a failure. With an order in
# force the others are stops nobody gave a reason for. A profile whose machine idles for lack of orders says so:
# leaves: {idle: unscheduled}.
PACKML_LEAVES: Mapping[MachineState, Leaf] = {
    **dict.fromkeys(MachineState, Leaf.UNPLANNED_STOP),
    MachineState.EXECUTE: Leaf.RUN,
    MachineState.SETUP: Leaf.SETUP,
    **dict.fromkeys(NOT_TOLD, Leaf.UNKNOWN),
}


def leaves_of(overrides: Mapping[MachineState, Leaf], unknown: UnknownPolicy = UnknownPolicy.EXCLUDE) -> dict[MachineState, Leaf]:
    """Leaf by state: the PackML default, with a profile's overrides. What no machine tells is unknown; by the policy `down` a
    machine stands where its gateway watched it and it did not answer."""
    dark = Leaf.UNPLANNED_STOP if unknown is UnknownPolicy.DOWN else Leaf.UNKNOWN
    return {**PACKML_LEAVES, **overrides, MachineState.UNKNOWN: Leaf.UNKNOWN, MachineState.UNREACHABLE: dark}
