"""How much an outbox keeps. One meaning for every owner: a MB is 1,000,000 bytes."""

from dataclasses import dataclass

_MB = 1_000_000
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept: on disk by size and age, in memory by number while the disk takes nothing."""

    max_bytes: int = 4_096 * _MB
    max_age_ms: int = 30 * _DAY_MS
    held_messages: int = 50_000


def limits_of(max_mb: float, max_days: float) -> Limits:
    """The limits as a person sets them."""
    return Limits(max_bytes=round(max_mb * _MB), max_age_ms=round(max_days * _DAY_MS))
