"""The chains of an outbox: where each device's messages stand in the stream of today (contracts.md 2.2)."""

from .numbering import Chain, Draft, next_timestamp
from .sqlite import Connection


class OutboxChains:
    """The table `outbox_device`; written in the caller's transaction. A new stream begins without any."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._all: dict[str, Chain] = {}
        self._changed: set[str] = set()

    def load(self) -> None:
        """Go back to what is stored."""
        found = self._connection.execute("SELECT device, seq, last_ms, peak_ms FROM outbox_device")
        self._all = {device: Chain(seq, last_ms, peak_ms) for device, seq, last_ms, peak_ms in found}
        self._changed.clear()

    def save(self) -> None:
        """Write those that moved."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO outbox_device VALUES (?, ?, ?, ?)", ((device, *self._all[device]) for device in self._changed)
        )
        self._changed.clear()

    def clear(self) -> None:
        """None is left."""
        self._all = {}
        self._changed.clear()
        self._connection.execute("DELETE FROM outbox_device")

    def forget(self, device: str) -> None:
        """The device's next message begins a chain; the stored one stays until then."""
        del self._all[device]

    def last_ms(self, device: str) -> int:
        """The timestamp of its last message."""
        return self._all[device].last_ms

    def is_newer(self, draft: Draft) -> bool:
        """Whether its event time is later than all that the chain has."""
        chain = self._all.get(draft.device or "")
        return chain is None or draft.event_ms is None or draft.event_ms > chain.last_ms

    def link(self, device: str, seq: int, created_ms: int, event_ms: int | None) -> tuple[int | None, int, bool]:
        """Add a message: its `prev`, its timestamp, and whether that is uncertain.

        An event time that is not the latest of its device stands outside the chain, whose timestamps increase.
        Raises SteppedBack, and nothing is added.
        """
        chain = self._all.get(device)
        if event_ms is not None and chain is not None and event_ms <= chain.last_ms:
            return None, event_ms, False
        timestamp_ms, is_uncertain = next_timestamp(chain, created_ms) if event_ms is None else (event_ms, False)
        peak_ms = created_ms if chain is None else max(chain.peak_ms, created_ms)
        self._all[device] = Chain(seq, timestamp_ms, peak_ms)
        self._changed.add(device)
        return None if chain is None else chain.seq, timestamp_ms, is_uncertain
