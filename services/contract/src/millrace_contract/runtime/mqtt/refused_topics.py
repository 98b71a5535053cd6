"""Topics on which the broker refuses what we publish, in words for the status: whose account, which topic, why, and the way out."""

from __future__ import annotations

NOT_AUTHORISED = 0x87
SAID_S = 600.0
"""So long after the last refusal it is still said. What an outbox holds is tried again every five minutes at most."""
REST_S = 300.0
"""So long a retained message on a refused topic is not tried again: some brokers end the connection of who tries."""
SHOWN = 3
MOST = 1_000

_WAY_OUT = (
    "an account may write what plant.yaml on the server gives it (look there at line, device and gateway; the rules follow within "
    "seconds), with another broker what its own rules say; what an outbox holds waits until then"
)


class RefusedTopics:
    """Told by the network thread, asked by any."""

    def __init__(self) -> None:
        self._refused: dict[str, tuple[str, bool, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._refused)

    def note(self, topic: str, reason: str, now_s: float, *, is_rights: bool) -> bool:
        """A publish was refused; whether that is new of this topic. `is_rights`: for what the account may do."""
        is_new = self._refused.pop(topic, None) is None
        self._refused[topic] = reason, is_rights, now_s
        if len(self._refused) > MOST:
            del self._refused[next(iter(self._refused))]
        return is_new

    def rests(self, topic: str, now_s: float) -> bool:
        """Whether it was refused too lately to be tried again by who has no outbox that waits."""
        known = self._refused.get(topic)
        return known is not None and now_s - known[2] < REST_S

    def taken(self, topic: str) -> bool:
        """A publish was taken; whether the topic was refused before."""
        return self._refused.pop(topic, None) is not None

    def sentences(self, account: str, now_s: float) -> list[str]:
        """One for all topics that the account may not write, one for each other reason."""
        by_reason: dict[tuple[str, bool], list[str]] = {}
        for topic, (reason, is_rights, last_s) in list(self._refused.items()):
            if now_s - last_s <= SAID_S:
                by_reason.setdefault((reason, is_rights), []).append(topic)
        return [
            f"the broker refuses {_named(sorted(topics))} for account {account} ({reason})" + (f": {_WAY_OUT}" if is_rights else "")
            for (reason, is_rights), topics in by_reason.items()
        ]


def _named(topics: list[str]) -> str:
    more = f" and {len(topics) - SHOWN} more" if len(topics) > SHOWN else ""
    return f"topic {', '.join(topics[:SHOWN])}{more}"
