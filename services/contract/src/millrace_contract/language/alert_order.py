"""In which order alerts stand, wherever they are listed: API, operator page, retained states. Pure.

What is active and nobody has acknowledged, what is active, what is gone and still shown; then the hidden ones, then those where all
is well. Within each by priority, then by class: an operator's alarm before maintenance before the platform.
"""

from __future__ import annotations

from .words import SUPPRESSED, AlertClass, IsaState, Priority

_CLASSES = list(AlertClass)


def place_of(state: IsaState, priority: Priority, alert_class: AlertClass) -> int:
    """Smaller stands first; alerts of one place are ordered by their activation, the newest first."""
    return _standing(state) * 100 + (len(Priority) - 1 - priority.rank) * 10 + _CLASSES.index(alert_class)


def _standing(state: IsaState) -> int:
    match state:
        case IsaState.UNACK:
            return 0
        case IsaState.ACKED:
            return 1
        case IsaState.NORM:
            return 4
    return 3 if state in SUPPRESSED else 2
