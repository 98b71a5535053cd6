"""What can be made to go wrong: on the wire, byte by byte, and in a machine. Pure, but for the clock that the caller passes in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from .dice import Dice
from .frames import DEVICE_FAILURE, HEADER, ILLEGAL_VALUE, Request, exception_pdu, frame

MAX_SECONDS = 7 * 86_400.0


class FaultKind(StrEnum):
    """Faults of the connection last for a time; faults of the machine happen at once, and some last, too."""

    SILENT = "silent"
    REFUSE = "refuse"
    EXCEPTION = "exception"
    SLOW = "slow"
    DRIBBLE = "dribble"
    DUPLICATE = "duplicate"
    TRUNCATED = "truncated"
    SHORT = "short"
    DROP = "drop"
    WRONG_UNIT = "wrong_unit"
    WRONG_TRANSACTION = "wrong_transaction"
    WRONG_FUNCTION = "wrong_function"
    SMALL = "small"
    POWER_OFF = "power_off"
    JAM = "jam"
    STOP = "stop"
    OVERHEAT = "overheat"
    COUNTER_RESET = "counter_reset"
    COUNTER_JUMP = "counter_jump"


MACHINE_KINDS = frozenset({FaultKind.JAM, FaultKind.STOP, FaultKind.OVERHEAT, FaultKind.COUNTER_RESET, FaultKind.COUNTER_JUMP})
UNSERVED_KINDS = frozenset({FaultKind.SILENT, FaultKind.REFUSE, FaultKind.EXCEPTION, FaultKind.POWER_OFF})
"""While one of these lasts, the read is not served at all: nothing is counted."""
SPOILING_KINDS = frozenset(
    {
        FaultKind.TRUNCATED,
        FaultKind.SHORT,
        FaultKind.DROP,
        FaultKind.WRONG_UNIT,
        FaultKind.WRONG_TRANSACTION,
        FaultKind.WRONG_FUNCTION,
    }
)
"""The read is served, but what arrives is no valid answer to it: a client that believes it is wrong."""

MEANINGS: dict[FaultKind, str] = {
    FaultKind.SILENT: "takes requests and never answers",
    FaultKind.REFUSE: "refuses connections; devices on the same port go with it",
    FaultKind.EXCEPTION: "answers every read with exception `code`",
    FaultKind.SLOW: "answers `ms` late",
    FaultKind.DRIBBLE: "sends each answer byte by byte",
    FaultKind.DUPLICATE: "sends each answer twice",
    FaultKind.TRUNCATED: "sends half of each answer, then nothing",
    FaultKind.SHORT: "answers with half of the registers, in a frame that is well-formed",
    FaultKind.DROP: "closes the connection in the middle of each answer",
    FaultKind.WRONG_UNIT: "answers with another unit id",
    FaultKind.WRONG_TRANSACTION: "answers with another transaction id",
    FaultKind.WRONG_FUNCTION: "answers with another function code",
    FaultKind.SMALL: "refuses requests of more than `count` registers with exception 3",
    FaultKind.POWER_OFF: "no power: connections refused, work lost, counters at 0 afterwards",
    FaultKind.JAM: "the machine is held by a jam",
    FaultKind.STOP: "the machine is stopped",
    FaultKind.OVERHEAT: "the machine loses its coolant",
    FaultKind.COUNTER_RESET: "the part counters begin at 0 again",
    FaultKind.COUNTER_JUMP: "the part counters jump by `count`",
}


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One fault of one device. `share` of the requests are hit; the keys code, ms and count matter to some kinds only."""

    device: str
    kind: FaultKind
    seconds: float = 60.0
    code: int = DEVICE_FAILURE
    ms: float = 1500.0
    count: int = 40
    share: float = 1.0

    def problem(self) -> str | None:
        """What is wrong with the figures, in words; None when they are fine."""
        if not 0 < self.seconds <= MAX_SECONDS:
            return f"seconds is {self.seconds}; allowed: above 0, at most {MAX_SECONDS:.0f} (a week)"
        if not 1 <= self.code <= 255:
            return f"code is {self.code}; allowed: 1 to 255"
        if not 0 <= self.ms <= 600_000:
            return f"ms is {self.ms}; allowed: 0 to 600000 (ten minutes)"
        if not 1 <= self.count <= 1_000_000:
            return f"count is {self.count}; allowed: 1 to 1000000"
        if not 0 < self.share <= 1:
            return f"share is {self.share}; allowed: above 0, at most 1"
        return None


@dataclass(frozen=True, slots=True)
class Delivery:
    """How an answer's bytes go out: chunks, each after a pause; then the connection is closed or not."""

    chunks: tuple[tuple[float, bytes], ...]
    closes: bool = False


class FaultBoard:
    """The connection's faults that are active now: at most one a device, the latest. Not thread-safe."""

    def __init__(self, seed: int) -> None:
        self._active: dict[str, tuple[Fault, int]] = {}
        self._dice = Dice(seed)

    def begin(self, fault: Fault, now_ms: int) -> None:
        self._active[fault.device] = (fault, now_ms + round(fault.seconds * 1000))

    def end(self, device: str | None = None) -> None:
        """End the fault of one device, or all of them."""
        if device is None:
            self._active.clear()
        else:
            self._active.pop(device, None)

    def active(self, now_ms: int) -> list[tuple[Fault, int]]:
        """Faults that last, with the instant at which each ends."""
        self._active = {device: entry for device, entry in self._active.items() if entry[1] > now_ms}
        return list(self._active.values())

    def on(self, device: str, now_ms: int) -> Fault | None:
        """The device's fault, whichever requests it hits."""
        entry = self._active.get(device)
        return entry[0] if entry is not None and entry[1] > now_ms else None

    def hit(self, device: str, now_ms: int) -> Fault | None:
        """The fault that hits the request which has just come in."""
        fault = self.on(device, now_ms)
        if fault is None or (fault.share < 1 and self._dice.uniform() >= fault.share):
            return None
        return fault


def refusal(fault: Fault, request: Request) -> bytes | None:
    """The answer where the fault lets the request not even be served: a frame, or None for silence.

    Call it for UNSERVED_KINDS only.
    """
    if fault.kind is FaultKind.EXCEPTION:
        return frame(request.transaction, request.unit, exception_pdu(request.function, fault.code))
    return None


def too_large(fault: Fault, request: Request) -> bytes | None:
    """The refusal of a device that takes small requests only; None where the request is small enough."""
    if fault.kind is FaultKind.SMALL and request.count > fault.count:
        return frame(request.transaction, request.unit, exception_pdu(request.function, ILLEGAL_VALUE))
    return None


def deliver(fault: Fault | None, request: Request, answer: bytes) -> Delivery:
    """How a good answer goes out under this fault."""
    if fault is None:
        return Delivery(((0.0, answer),))
    half = max(1, len(answer) // 2)
    match fault.kind:
        case FaultKind.SLOW:
            return Delivery(((fault.ms / 1000, answer),))
        case FaultKind.DRIBBLE:
            return Delivery(tuple((0.002, answer[index : index + 1]) for index in range(len(answer))))
        case FaultKind.DUPLICATE:
            return Delivery(((0.0, answer), (0.0, answer)))
        case FaultKind.TRUNCATED:
            return Delivery(((0.0, answer[:half]),))
        case FaultKind.DROP:
            return Delivery(((0.0, answer[:half]),), closes=True)
        case FaultKind.SHORT:
            return Delivery(((0.0, _short(request, answer)),))
        case FaultKind.WRONG_UNIT:
            return Delivery(((0.0, frame(request.transaction, request.unit ^ 0x55, answer[HEADER.size :])),))
        case FaultKind.WRONG_TRANSACTION:
            return Delivery(((0.0, frame(request.transaction ^ 0x5555, request.unit, answer[HEADER.size :])),))
        case FaultKind.WRONG_FUNCTION:
            other = bytes((request.function ^ 0x07,))  # 3 answers as 4, 1 as 6
            return Delivery(((0.0, frame(request.transaction, request.unit, other + answer[HEADER.size + 1 :])),))
        case _:
            return Delivery(((0.0, answer),))


def _short(request: Request, answer: bytes) -> bytes:
    data = answer[HEADER.size + 2 :]
    kept = data[: len(data) // 4 * 2]
    return frame(request.transaction, request.unit, bytes((request.function, len(kept))) + kept)
