"""The contract's words and colours as the boards take them, and the few that only boards need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from millrace_contract.language.looks import ALERT_LOOKS, LEAF_LOOKS, LOSS_LOOKS, MACHINE_LOOKS, PRIORITY_LOOKS, Look, Tone
from millrace_contract.language.measurements import PACKML_CODES
from millrace_contract.language.words import MachineState

K = TypeVar("K", bound=str)


@dataclass(frozen=True, slots=True)
class Painted:
    """A text in its colour. `shape` stands before it where a value is shown as the text."""

    text: str
    color: str
    shape: str = ""


@dataclass(frozen=True, slots=True)
class ColorStep:
    """From `value` on (None: from the beginning) this colour holds."""

    value: float | None
    color: str


def _painted(looks: Mapping[K, Look]) -> dict[str, Painted]:
    """Grafana's boards are dark unless somebody chooses otherwise, and have one colour for both."""
    return {str(key): Painted(look.word, look.tone.on_dark, look.shape) for key, look in looks.items()}


GREEN, YELLOW, ORANGE, RED = Tone.RUN.on_dark, Tone.WAIT.on_dark, Tone.HIGH.on_dark, Tone.STOP.on_dark
GREY = Tone.IDLE.on_dark
TEXT = "text"
"""Grafana's own name for the colour of its text."""

STATES = _painted({str(code): MACHINE_LOOKS[state] for state, code in PACKML_CODES.items()})
"""Machine states by their number in the database."""
RUNNING = STATES[str(PACKML_CODES[MachineState.EXECUTE])]

RATIO_STEPS = (ColorStep(None, RED), ColorStep(0.6, YELLOW), ColorStep(0.85, GREEN))
"""OEE and its factors: 85 % is the usual mark of a well-run line, below 60 % something is wrong."""

NONE_IS_GOOD = (ColorStep(None, GREEN), ColorStep(1, RED))
PLAIN = (ColorStep(None, TEXT),)

LEAVES = _painted(LEAF_LOOKS)
"""Leaves of the time model, as stops have them."""

LOSSES = {f"ms_{leaf}": painted for leaf, painted in LEAVES.items() if leaf != "not_scheduled"}
"""The leaves' fields. Time outside every shift is no part of a shift's figures."""

BIG_LOSSES = {f"loss_ms_{loss}": painted for loss, painted in _painted(LOSS_LOOKS).items()}
"""What planned production time was lost to, by field of a window."""
GOOD_TIME = Painted("good time", GREEN)

PARTS = {
    "parts_good": Painted("good", GREEN),
    "parts_scrap": Painted("scrap", ORANGE),
    "parts_total": Painted("all", TEXT),
}

PRIORITIES = _painted(PRIORITY_LOOKS)
ALERT_STATES = _painted(ALERT_LOOKS)
