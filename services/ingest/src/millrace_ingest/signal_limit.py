"""How many distinct signals each device has sent: a sender that writes values into names must not fill the database's index."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from millrace_contract.errors import Malformed

MOST_DEVICES = 10_000
SHOWN = 3


class SignalLimit:
    """Knowledge starts anew with each start of the service, and for a device beyond the MOST_DEVICES latest ones."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[str, set[str]] = {}

    def check(self, device: str, names: AbstractSet[str]) -> None:
        """Takes note of a message's signals. Raises Malformed where they would exceed the limit; then none of them counts."""
        known = self._known.get(device)
        if known is not None and names <= known:
            return
        if known is None:
            if len(self._known) >= MOST_DEVICES:
                self._known.pop(next(iter(self._known)))
            known = self._known[device] = set()
        new = names - known
        if len(known) + len(new) > self._most:
            some = ", ".join(repr(name[:60]) for name in sorted(new)[:SHOWN])
            raise Malformed(
                "too_many_signals",
                f"device {device} has sent {len(known)} distinct signals, and this message brings {len(new)} new ones ({some}"
                f"{', ...' if len(new) > SHOWN else ''}); the limit is {self._most} (MILLRACE_INGEST_SIGNALS_MAX). A signal is "
                "what is measured: a value, a number or a time has no place in its name",
            )
        known |= new
