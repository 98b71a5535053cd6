"""What an observation does to an alert. Pure: (alert, rule, observation) -> (alert, transitions).

An observation older than the newest one of its alert is ignored: late data never raise an alarm of the past as a present one.
"""

from .alert import Alert, Transition
from .changes import Outcome, act
from .lifecycle import ExpireShelf
from .observations import Observation, Tick
from .rules import Watched


def evaluate(alert: Alert, watched: Watched, observation: Observation) -> Outcome:
    """The alert after the observation, and the transitions that it made, oldest first."""
    expired: tuple[Transition, ...] = ()
    if isinstance(observation, Tick):
        alert, expired = _expire_shelf(alert, observation.now_ms)
    alert, transitions = watched.condition.evaluate(alert, watched.terms, observation)
    return alert, expired + transitions


def _expire_shelf(alert: Alert, now_ms: int) -> Outcome:
    shelf = alert.facts.shelf
    if shelf is None or now_ms < shelf.until_ms:
        return alert, ()
    return act(alert, ExpireShelf(), shelf.until_ms)
