"""The contract's words and looks as the operator page takes them: a module of JavaScript and a style sheet, made at the start."""

import json
from collections.abc import Iterator, Mapping
from typing import TypeVar

from millrace_contract.language.looks import (
    ALERT_LOOKS,
    COMMS_LOOKS,
    EVALUATION_LOOKS,
    MACHINE_LOOKS,
    NEVER_READ,
    PRIORITY_LOOKS,
    STALE,
    Look,
    Tone,
)
from millrace_contract.language.words import SUPPRESSED, UNACKNOWLEDGED, Evaluation, IsaState

K = TypeVar("K", bound=str)


def _by_word(looks: Mapping[K, Look]) -> dict[str, Look]:
    return {str(word): look for word, look in looks.items()}


LOOKS: Mapping[str, dict[str, Look]] = {
    "machine": _by_word(MACHINE_LOOKS),
    "reading": {"stale": STALE, "never_read": NEVER_READ},
    "comms": _by_word(COMMS_LOOKS),
    "alert": _by_word(ALERT_LOOKS),
    "priority": _by_word(PRIORITY_LOOKS),
    "evaluation": _by_word(EVALUATION_LOOKS),
}
"""By set and word; the class of an element that shows one is `look-{set}-{word}`."""

_RESPONSES: Mapping[IsaState, tuple[str, str]] = {
    **dict.fromkeys(UNACKNOWLEDGED, ("ack", "Acknowledge")),
    IsaState.LATCH_ACK: ("reset", "Reset"),
    IsaState.SHLVD: ("unshelve", "Show again"),
    IsaState.OOSRV: ("return-to-service", "Return to service"),
}
"""What a person does about an alert next: the command of the API, and what the button says."""


def words_script() -> str:
    """`LOOKS`, and what the page must know of some words beside their looks."""
    looks = {
        name: {word: {"word": look.word, "shape": look.shape} for word, look in table.items()} for name, table in LOOKS.items()
    }
    told = {
        "LOOKS": looks,
        "RESPONSES": _RESPONSES,
        "UNACKNOWLEDGED": sorted(UNACKNOWLEDGED),
        "HIDDEN": sorted(SUPPRESSED),
        "EVALUABLE": [Evaluation.GOOD, Evaluation.UNCERTAIN],
    }
    return "".join(f"export const {name} = {json.dumps(value, ensure_ascii=False)};\n" for name, value in told.items())


def words_style() -> str:
    """A variable a tone, for a light and for a dark ground, and a class a word that takes it as `--colour`."""
    return "\n".join([*_rules(), ""])


def _rules() -> Iterator[str]:
    yield f":root {{ {' '.join(f'--{tone}: {tone.on_light};' for tone in Tone)} }}"
    yield f"@media (prefers-color-scheme: dark) {{ :root {{ {' '.join(f'--{tone}: {tone.on_dark};' for tone in Tone)} }} }}"
    for name, table in LOOKS.items():
        for word, look in table.items():
            yield f".look-{name}-{word} {{ --colour: var(--{look.tone}); }}"
