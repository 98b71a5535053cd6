"""What each word of words.py is called for people, and its colour and shape: one table for page, boards and terminal.

Colour never speaks alone: the word stands beside it, and a shape for who cannot tell colours apart. Machine states have four
shades, each at least half as bright again as the next darker one (contrast 1.5 and more), so that they are told apart in
greyscale, on a bad screen and with every kind of colour blindness: making parts, standing through trouble of its own, waiting (for
material, people, orders), and not known. A tone can be read as text on the page and on the boards (contrast 4.5 and more).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from .words import NOT_HEARD, BigLoss, CommsState, Evaluation, IsaState, Leaf, MachineState, Priority, Prognosis, Quality


class Tone(StrEnum):
    """A colour by its meaning."""

    RUN = "run"
    STOP = "stop"
    HIGH = "high"
    WAIT = "wait"
    SETUP = "setup"
    PLANNED = "planned"
    IDLE = "idle"
    LOW = "low"
    UNKNOWN = "unknown"

    @property
    def on_dark(self) -> str:
        """Its colour on a dark ground, as the boards have it."""
        return _COLOURS[self][0]

    @property
    def on_light(self) -> str:
        return _COLOURS[self][1]


_COLOURS: Mapping[Tone, tuple[str, str]] = {
    Tone.RUN: ("#3db873", "#126637"),
    Tone.STOP: ("#ef4336", "#7d0e15"),
    Tone.HIGH: ("#f5853b", "#a03500"),
    Tone.WAIT: ("#f1c253", "#a46800"),
    Tone.SETUP: ("#a3cbfa", "#1f73db"),
    Tone.PLANNED: ("#8ed4de", "#117f96"),
    Tone.IDLE: ("#c4c8cd", "#6d767f"),
    Tone.LOW: ("#eff7ff", "#081d48"),
    Tone.UNKNOWN: ("#f9f3ff", "#2c1146"),
}


@dataclass(frozen=True, slots=True)
class Look:
    """How one word is shown."""

    word: str
    tone: Tone
    shape: str = ""


MACHINE_LOOKS: Mapping[MachineState, Look] = {
    MachineState.EXECUTE: Look("running", Tone.RUN, "▶"),
    # Trouble of the machine's own: a fault, a jam, or somebody who stopped it.
    MachineState.HOLDING: Look("holding", Tone.STOP, "▯"),
    MachineState.HELD: Look("held", Tone.STOP, "▮"),
    MachineState.UNHOLDING: Look("going on", Tone.STOP, "▯"),
    MachineState.ABORTING: Look("aborting", Tone.STOP, "✕"),
    MachineState.ABORTED: Look("aborted", Tone.STOP, "✖"),
    MachineState.CLEARING: Look("clearing a fault", Tone.STOP, "✕"),
    MachineState.STOPPING: Look("stopping", Tone.STOP, "□"),
    MachineState.STOPPED: Look("stopped", Tone.STOP, "■"),
    # Starved or blocked from outside: it goes on by itself.
    MachineState.SUSPENDING: Look("about to wait", Tone.WAIT, "◑"),
    MachineState.SUSPENDED: Look("waiting", Tone.WAIT, "◐"),
    MachineState.UNSUSPENDING: Look("done waiting", Tone.WAIT, "◑"),
    MachineState.SETUP: Look("setup", Tone.SETUP, "◆"),
    MachineState.RESETTING: Look("resetting", Tone.IDLE, "◌"),
    MachineState.IDLE: Look("idle", Tone.IDLE, "○"),
    MachineState.STARTING: Look("starting", Tone.IDLE, "▷"),
    MachineState.COMPLETING: Look("finishing", Tone.IDLE, "◌"),
    MachineState.COMPLETE: Look("finished", Tone.IDLE, "●"),
    MachineState.UNKNOWN: Look("unknown", Tone.UNKNOWN, "?"),
    MachineState.UNREACHABLE: Look("not answering", Tone.UNKNOWN, "⌀"),
}

STALE = Look("stale", Tone.UNKNOWN, "?")
"""What was last read is too old to be believed."""
NEVER_READ = Look("not heard yet", Tone.UNKNOWN, "…")

COMMS_LOOKS: Mapping[str, Look] = {
    CommsState.ONLINE: Look("online", Tone.RUN, "●"),
    CommsState.DEGRADED: Look("answers in part", Tone.WAIT, "◐"),
    # What an offline device does is not known; that must not look like standing still.
    CommsState.OFFLINE: Look("offline", Tone.UNKNOWN, "⊘"),
    NOT_HEARD: NEVER_READ,
}

LEAF_LOOKS: Mapping[Leaf, Look] = {
    Leaf.RUN: Look("running", Tone.RUN),
    Leaf.MINOR_STOP: Look("minor stops", Tone.WAIT),
    Leaf.UNPLANNED_STOP: Look("unplanned stops", Tone.STOP),
    Leaf.PLANNED_STOP: Look("planned stops", Tone.PLANNED),
    Leaf.SETUP: Look("setup", Tone.SETUP),
    Leaf.BREAK: Look("breaks", Tone.IDLE),
    Leaf.UNSCHEDULED: Look("not ordered", Tone.IDLE),
    Leaf.NOT_SCHEDULED: Look("outside shifts", Tone.IDLE),
    Leaf.UNKNOWN: Look("unknown", Tone.UNKNOWN),
}
"""Leaves of the time model in the order in which people read them."""

LOSS_LOOKS: Mapping[BigLoss, Look] = {
    BigLoss.PLANNED_STOPS: Look("planned stops", Tone.PLANNED),
    BigLoss.SETUP: Look("setup", Tone.SETUP),
    BigLoss.BREAKDOWNS: Look("breakdowns", Tone.STOP),
    BigLoss.MINOR_STOPS: Look("minor stops", Tone.WAIT),
    BigLoss.REDUCED_SPEED: Look("reduced speed", Tone.HIGH),
    BigLoss.STARTUP: Look("start-up rejects", Tone.LOW),
    BigLoss.DEFECTS: Look("defects", Tone.IDLE),
}
"""What planned production time is lost to, in the order in which it is taken away."""

PRIORITY_LOOKS: Mapping[Priority, Look] = {
    Priority.CRITICAL: Look("critical", Tone.STOP, "▲"),
    Priority.HIGH: Look("high", Tone.HIGH, "△"),
    Priority.MEDIUM: Look("medium", Tone.WAIT, "◇"),
    Priority.LOW: Look("low", Tone.LOW, "▽"),
}

ALERT_LOOKS: Mapping[IsaState, Look] = {
    IsaState.NORM: Look("over", Tone.RUN, "✓"),
    IsaState.UNACK: Look("active, not acknowledged", Tone.STOP, "●"),
    IsaState.ACKED: Look("active, acknowledged", Tone.HIGH, "○"),
    IsaState.RTNUN: Look("over, not acknowledged", Tone.WAIT, "●"),
    IsaState.LATCH_UNACK: Look("over, held until reset, not acknowledged", Tone.WAIT, "●"),
    IsaState.LATCH_ACK: Look("over, held until reset", Tone.SETUP, "○"),
    IsaState.SHLVD: Look("shelved", Tone.IDLE, "◌"),
    IsaState.DSUPR: Look("hidden by a rule", Tone.IDLE, "◌"),
    IsaState.OOSRV: Look("out of service", Tone.IDLE, "⊘"),
}

QUALITY_LOOKS: Mapping[Quality, Look] = {
    Quality.GOOD: Look("good", Tone.RUN, "●"),
    Quality.UNCERTAIN: Look("uncertain", Tone.WAIT, "◐"),
    Quality.BAD: Look("bad", Tone.STOP, "✖"),
}

EVALUATION_LOOKS: Mapping[Evaluation, Look] = {
    Evaluation.GOOD: Look("evaluated", Tone.RUN),
    Evaluation.UNCERTAIN: Look("uncertain readings", Tone.WAIT),
    Evaluation.STALE: Look("no fresh data", Tone.UNKNOWN),
    Evaluation.BAD: Look("bad readings", Tone.UNKNOWN),
    Evaluation.NEVER_SEEN: Look("no data yet", Tone.UNKNOWN),
    Evaluation.NOT_A_NUMBER: Look("reading is no number", Tone.UNKNOWN),
    Evaluation.INHIBITED: Look("another alert says why", Tone.UNKNOWN),
    Evaluation.LEARNING: Look("learning what is normal", Tone.IDLE),
    Evaluation.PAUSED: Look("paused by its rule", Tone.IDLE),
    Evaluation.NOT_WATCHING: Look("no connection to the broker", Tone.UNKNOWN),
}

PROGNOSIS_LOOKS: Mapping[Prognosis, Look] = {
    Prognosis.FINE: Look("fine", Tone.RUN, "✓"),
    Prognosis.NOTE: Look("note", Tone.IDLE, "○"),
    Prognosis.MENDS: Look("mends by itself", Tone.WAIT, "◐"),
    Prognosis.ACT: Look("needs somebody", Tone.STOP, "▲"),
}
