"""What a request costs: a round trip, and a little for each register. Measured from ordinary reads, never by extra ones. Pure."""

from __future__ import annotations

from statistics import median
from typing import Final, NamedTuple

from .endpoint import Endpoint

TCP_ROUND_TRIP_MS: Final = 10.0
"""A request and its answer with an ordinary PLC: most of it is the PLC's own cycle."""
TCP_REGISTER_MS: Final = 0.01
DEVICE_TURNAROUND_MS: Final = 5.0
BITS_A_CHARACTER: Final = 11
FRAME_CHARACTERS: Final = 8 + 5
"""The request, and what surrounds the data of its answer."""
SILENCE_CHARACTERS: Final = 3.5
"""Silence that separates RTU frames, one of it before the answer and one after."""
SHORTEST_SILENCE_MS: Final = 1.75
"""However fast the line is ("MODBUS over Serial Line 1.02", 2.5.1.1)."""
SAMPLES: Final = 20
"""Timings of one length of request that are enough to know it."""
NEAR: Final = 0.25
"""Share by which costs may differ and yet make about the same plan."""
LENGTH_SPREAD: Final = 8
"""Registers by which two requests must differ to tell the cost of a register from that of a round trip."""


class RequestCost(NamedTuple):
    """Milliseconds of a request: `round_trip_ms + registers * register_ms`. `is_measured`: with this very device."""

    round_trip_ms: float
    register_ms: float
    is_measured: bool = False

    def of(self, registers: float) -> float:
        """Milliseconds of a request of so many registers; 16 bits count as one."""
        return self.round_trip_ms + registers * self.register_ms

    def is_near(self, other: RequestCost) -> bool:
        """Whether plans made with one would hardly be better with the other."""
        return all(abs(self.of(length) - other.of(length)) <= NEAR * other.of(length) for length in (1, 125))


TCP_COST: Final = RequestCost(TCP_ROUND_TRIP_MS, TCP_REGISTER_MS)


def assumed_cost(endpoint: Endpoint) -> RequestCost:
    """What a request to this endpoint costs until it has been measured."""
    if not endpoint.is_rtu:
        return TCP_COST
    character_ms = BITS_A_CHARACTER * 1000 / endpoint.baud_rate
    overhead_ms = DEVICE_TURNAROUND_MS + (FRAME_CHARACTERS + 2 * SILENCE_CHARACTERS) * character_ms
    return RequestCost(overhead_ms, 2 * character_ms)


def silence_s(endpoint: Endpoint) -> float:
    """How long this wire must be silent between an answer and the next request."""
    if not endpoint.is_rtu:
        return 0.0
    return max(SHORTEST_SILENCE_MS, SILENCE_CHARACTERS * BITS_A_CHARACTER * 1000 / endpoint.baud_rate) / 1000


class CostMeter:
    """Learns the cost from the first timings of each length of request; then it costs nothing."""

    def __init__(self) -> None:
        self._timings: dict[int, list[float]] = {}

    def observe(self, registers: int, took_ms: float) -> None:
        timings = self._timings.get(registers)
        if timings is None:
            self._timings[registers] = [took_ms]
        elif len(timings) < SAMPLES:
            timings.append(took_ms)

    def cost(self, assumed: RequestCost) -> RequestCost | None:
        """The measured cost, or None while too little is known. Where all requests are about as long, the cost of a register
        is the assumed one."""
        known = {registers: median(timings) for registers, timings in self._timings.items() if len(timings) == SAMPLES}
        if not known:
            return None
        shortest, longest = min(known), max(known)
        register_ms = assumed.register_ms
        if longest - shortest >= LENGTH_SPREAD:
            register_ms = max(0.0, (known[longest] - known[shortest]) / (longest - shortest))
        round_trip_ms = max(0.1, known[shortest] - shortest * register_ms)
        return RequestCost(round(round_trip_ms, 3), round(register_ms, 5), is_measured=True)
