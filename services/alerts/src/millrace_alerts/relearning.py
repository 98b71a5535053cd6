"""A baseline is learnt anew when a person says that the machine was repaired, and never by itself. Pure."""

import msgspec

from millrace_contract.language.words import Evaluation

from .alert import Alert, Transition
from .changes import Outcome
from .lifecycle import Clear, LearnAnew, NothingLearnt, apply
from .memories import DriftMemory
from .timer import Timer


def learnt_anew(
    alert: Alert, at_ms: int, *, actor: str | None = None, comment: str | None = None, via: str | None = None
) -> Outcome:
    """Without what was normal until now, under the next version; raises NothingLearnt."""
    if not isinstance(alert.memory, DriftMemory):
        raise NothingLearnt(f"the rule {alert.rule} learns nothing, or has not begun to; only kinds that learn what is normal do")
    facts = apply(alert.facts, Clear()) if alert.facts.in_alarm else alert.facts
    after = msgspec.structs.replace(
        alert,
        facts=facts,
        timer=Timer(),
        memory=DriftMemory(first_ms=at_ms, version=alert.memory.version + 1),
        evaluation=Evaluation.LEARNING,
        version=alert.version + 1,
        changed_ms=at_ms,
        cleared_ms=at_ms if alert.facts.in_alarm else alert.cleared_ms,
    )
    return after, (Transition(after, alert.state, LearnAnew.cause, at_ms, actor=actor, comment=comment, via=via),)
