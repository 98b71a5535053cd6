"""From the broker to the writer: decodes what came, and hands it over. Nothing is acknowledged before its effect is done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.health import Heartbeats
from millrace_contract.runtime.mqtt.session import Received

from .buffer import Buffer
from .decoder import Decoder
from .outcomes import Arrival
from .writer import Writer

MESSAGE_OVERHEAD_BYTES = 1_000
"""What a small message costs in memory besides its payload and its line, roughly."""
WAIT_S = 1.0
WORTH_WRITING = 1_000
"""So many messages wait for a short lull only: an outbox that catches up has no more than these on their way."""
BATCHES = 2
"""As many wait for the writer at most, besides the one that it writes."""


class Consumer:
    """Two threads: the network's decodes what each read brought, one writes.

    With the buffer full, the network thread stops reading; the broker keeps what it has not sent. Memory is bounded by
    the buffer, one read and one batch, whatever is away.
    """

    def __init__(
        self,
        writer: Writer,
        clock: Clock,
        heartbeats: Heartbeats,
        *,
        decoder: Callable[[], Decoder],
        batch_lines: int,
        batch_linger_s: float,
        buffer_bytes: int,
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._heartbeats = heartbeats
        self._decoder = decoder
        self._batch_lines = batch_lines
        self._batch_linger_s = batch_linger_s
        # Half of the memory: the other is the batch's that is being written.
        self._arrivals: Buffer[Arrival] = Buffer(BATCHES * batch_lines, buffer_bytes // 2, _size)
        self._thread = threading.Thread(target=self._write, name="write", daemon=True)

    def received(self, messages: Sequence[Received]) -> None:
        """For the network thread. Waits while the buffer is full; after `stop` the messages stay with the broker."""
        now_ms = self._clock.now_ms()
        decode = self._decoder().decode
        arrivals = [Arrival(one, now_ms, decode(one.topic, one.payload, now_ms)) for one in messages]
        while not self._arrivals.put(arrivals, WAIT_S):
            if self._arrivals.closed:
                return

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Ends the writer after what it is at; whether it has ended. What is queued stays unacknowledged and comes again."""
        self._arrivals.close()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def depth(self) -> int:
        """Messages on their way."""
        return self._arrivals.depth

    @property
    def bytes(self) -> int:
        return self._arrivals.bytes

    def _write(self) -> None:
        while not self._arrivals.closed:
            self._heartbeats.beat("write")
            self._writer.turn(self._arrivals.take(self._batch_lines, WAIT_S, self._batch_linger_s, WORTH_WRITING))
        self._heartbeats.retire("write")


def _size(arrival: Arrival) -> int:
    return 2 * len(arrival.message.payload) + MESSAGE_OVERHEAD_BYTES
