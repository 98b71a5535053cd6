"""From the broker to the writer: receives, decodes, hands over. Nothing is acknowledged before its effect is done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.health import Heartbeats
from millrace_contract.runtime.session import Received

from .buffer import Buffer
from .decoder import Decoder
from .writer import Arrival, Writer

MESSAGE_OVERHEAD_BYTES = 1_000
"""What a small message costs in memory besides its payload, roughly."""
WAIT_S = 1.0
DECODE_MESSAGES = 500


class Consumer:
    """Three threads: the network's only enqueues, one decodes, one writes. A full buffer stops the one before it.

    With every buffer full, the network thread stops reading; the broker keeps what it has not sent. Memory is bounded by
    the two buffers and one batch, whatever is away.
    """

    def __init__(
        self,
        writer: Writer,
        clock: Clock,
        heartbeats: Heartbeats,
        *,
        decoder: Callable[[], Decoder],
        acknowledge: Callable[[Received], None],
        batch_lines: int,
        batch_linger_s: float,
        buffer_bytes: int,
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._heartbeats = heartbeats
        self._decoder = decoder
        self._acknowledge = acknowledge
        self._batch_lines = batch_lines
        self._batch_linger_s = batch_linger_s
        self._inbox: Buffer[tuple[Received, int]] = Buffer(4 * batch_lines, buffer_bytes // 2)
        self._decoded: Buffer[Arrival] = Buffer(2 * batch_lines, buffer_bytes // 2)
        self._threads = [
            threading.Thread(target=self._decode, name="decode", daemon=True),
            threading.Thread(target=self._write, name="write", daemon=True),
        ]

    def received(self, message: Received) -> None:
        """For the network thread. Waits while the inbox is full; after `stop` the message stays with the broker."""
        size = len(message.payload) + MESSAGE_OVERHEAD_BYTES
        while not self._inbox.put((message, self._clock.now_ms()), size, WAIT_S):
            if self._inbox.closed:
                return

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Ends both threads after what they are at; whether they have ended.

        What is queued stays unacknowledged and comes again.
        """
        self._inbox.close()
        self._decoded.close()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout_s)
        return not any(thread.is_alive() for thread in self._threads)

    @property
    def depth(self) -> int:
        """Messages on their way."""
        return self._inbox.depth + self._decoded.depth

    @property
    def bytes(self) -> int:
        return self._inbox.bytes + self._decoded.bytes

    def _decode(self) -> None:
        while not self._inbox.closed:
            self._heartbeats.beat("decode")
            for message, received_ms in self._inbox.take(DECODE_MESSAGES, WAIT_S, 0):
                self._hand_over(message, received_ms)
        self._heartbeats.retire("decode")

    def _hand_over(self, message: Received, received_ms: int) -> None:
        verdict = self._decoder().decode(message.topic, message.payload, received_ms)
        arrival = Arrival(message.topic, message.payload, received_ms, verdict, partial(self._acknowledge, message))
        size = 2 * len(message.payload) + MESSAGE_OVERHEAD_BYTES  # the message, and the line that it became
        while not self._decoded.put(arrival, size, WAIT_S):
            if self._decoded.closed:
                return
            # The writer has a heartbeat of its own: waiting for it is no fault of this loop.
            self._heartbeats.beat("decode")

    def _write(self) -> None:
        while not self._decoded.closed:
            self._heartbeats.beat("write")
            self._writer.turn(self._decoded.take(self._batch_lines, WAIT_S, self._batch_linger_s))
        self._heartbeats.retire("write")
