"""What can be made to go wrong: on the wire, byte by byte, and in a machine. Pure, but for the clock that the caller passes in."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from .dice import Dice
from .frames import BIT_TABLES, DEVICE_FAILURE, ILLEGAL_VALUE, Framing, Function, ModbusRequest, exception_pdu, frame, rtu_frame

MAX_SECONDS = 7 * 86_400.0


class FaultKind(StrEnum):
    """Faults of the connection last for a time; faults of the machine happen at once, and some last, too."""

    SILENT = "silent"
    HALF_OPEN = "half_open"
    REFUSE = "refuse"
    CROWDED = "crowded"
    EXCEPTION = "exception"
    ACKNOWLEDGE = "acknowledge"
    BUSY = "busy"
    NO_PATH = "no_path"
    NO_TARGET = "no_target"
    SLOW = "slow"
    DRIBBLE = "dribble"
    DUPLICATE = "duplicate"
    UNSOLICITED = "unsolicited"
    GARBAGE = "garbage"
    TRUNCATED = "truncated"
    SHORT = "short"
    DROP = "drop"
    WRONG_UNIT = "wrong_unit"
    WRONG_TRANSACTION = "wrong_transaction"
    WRONG_FUNCTION = "wrong_function"
    SMALL = "small"
    MUTE = "mute"
    SLEEPY = "sleepy"
    HASTY = "hasty"
    ECHO = "echo"
    NOISE = "noise"
    OTHER_MASTER = "other_master"
    FLIPPED_BIT = "flipped_bit"
    WRONG_LENGTH = "wrong_length"
    PADDED = "padded"
    QUEUE = "queue"
    POWER_OFF = "power_off"
    JAM = "jam"
    STOP = "stop"
    OVERHEAT = "overheat"
    COUNTER_RESET = "counter_reset"
    COUNTER_JUMP = "counter_jump"
    COUNTER_WRAP = "counter_wrap"
    CLOCK_JUMP = "clock_jump"


LASTING_MACHINE_KINDS = frozenset({FaultKind.JAM, FaultKind.STOP, FaultKind.OVERHEAT})
MACHINE_KINDS = LASTING_MACHINE_KINDS | {
    FaultKind.COUNTER_RESET,
    FaultKind.COUNTER_JUMP,
    FaultKind.COUNTER_WRAP,
    FaultKind.CLOCK_JUMP,
}
JUMPS = frozenset({FaultKind.COUNTER_JUMP, FaultKind.CLOCK_JUMP})
"""These may go back, too: their `count` may be below 0."""
EXCEPTION_CODES = {
    FaultKind.ACKNOWLEDGE: 5,
    FaultKind.BUSY: 6,
    FaultKind.NO_PATH: 10,
    FaultKind.NO_TARGET: 11,
}
UNSERVED_KINDS = frozenset(
    {FaultKind.SILENT, FaultKind.QUEUE, FaultKind.REFUSE, FaultKind.EXCEPTION, FaultKind.POWER_OFF, *EXCEPTION_CODES}
)
"""While one of these lasts, the read is not served at all: nothing is counted."""
SPOILING_KINDS = frozenset(
    {
        FaultKind.GARBAGE,
        FaultKind.TRUNCATED,
        FaultKind.SHORT,
        FaultKind.DROP,
        FaultKind.WRONG_UNIT,
        FaultKind.WRONG_TRANSACTION,
        FaultKind.WRONG_FUNCTION,
        FaultKind.WRONG_LENGTH,
    }
)
"""The read is served, but what arrives is no valid answer to it: a client that believes it is wrong."""

MEANINGS: dict[FaultKind, str] = {
    FaultKind.SILENT: "takes requests and never answers",
    FaultKind.HALF_OPEN: "connections that are open now are dead for good without being closed; new ones work",
    FaultKind.REFUSE: "refuses connections; devices on the same port go with it",
    FaultKind.CROWDED: "takes `count` connections at a time and closes each further one at once",
    FaultKind.EXCEPTION: "answers every read with exception `code`",
    FaultKind.ACKNOWLEDGE: "answers every read with exception 5: it needs longer",
    FaultKind.BUSY: "answers every read with exception 6: try again later",
    FaultKind.NO_PATH: "answers every read with exception 10: the gateway has no path to it",
    FaultKind.NO_TARGET: "answers every read with exception 11: it does not answer the gateway",
    FaultKind.SLOW: "answers `ms` late",
    FaultKind.DRIBBLE: "sends each answer byte by byte",
    FaultKind.DUPLICATE: "sends each answer twice",
    FaultKind.UNSOLICITED: "sends an answer that nobody asked for before each answer",
    FaultKind.GARBAGE: "sends bytes that are no Modbus in place of each answer",
    FaultKind.TRUNCATED: "sends half of each answer, then nothing",
    FaultKind.SHORT: "answers with half of the registers, in a frame that is well-formed",
    FaultKind.DROP: "closes the connection in the middle of each answer",
    FaultKind.WRONG_UNIT: "answers with another unit id",
    FaultKind.WRONG_TRANSACTION: "answers with another transaction id; in serial frames with a wrong checksum",
    FaultKind.WRONG_FUNCTION: "answers with another function code",
    FaultKind.SMALL: "refuses requests of more than `count` registers with exception 3",
    FaultKind.MUTE: "does not answer requests of more than `count` registers, as if they had never come",
    FaultKind.SLEEPY: "answers nothing in the first `ms` of each connection",
    FaultKind.HASTY: "closes the connection after each answer",
    FaultKind.ECHO: "on serial lines: sends the request back before each answer, as two-wire adapters do",
    FaultKind.NOISE: "on serial lines: sends a NUL before each answer",
    FaultKind.OTHER_MASTER: "on serial lines: another master's request and its answer are heard before each answer",
    FaultKind.FLIPPED_BIT: "on serial lines: one bit of each answer arrives wrong",
    FaultKind.WRONG_LENGTH: "counts wrongly: the length in front of each answer is 2 bytes more than what comes",
    FaultKind.PADDED: "fills the answers to reads of bits up to whole registers",
    FaultKind.QUEUE: "does not answer, and the converter before it waits `ms` for it before it takes another request",
    FaultKind.POWER_OFF: "no power: connections refused, work lost, counters at 0 afterwards",
    FaultKind.JAM: "the machine is held by a jam",
    FaultKind.STOP: "the machine is stopped",
    FaultKind.OVERHEAT: "the machine loses its coolant",
    FaultKind.COUNTER_RESET: "the part counters begin at 0 again",
    FaultKind.COUNTER_JUMP: "the part counters jump by `count`",
    FaultKind.COUNTER_WRAP: "the part counter stands `count` parts before its limit, and wraps there",
    FaultKind.CLOCK_JUMP: "the machine's clock jumps by `count` seconds",
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
        if self.kind in JUMPS and not 1 <= abs(self.count) <= 1_000_000:
            return f"count is {self.count}; allowed: -1000000 to 1000000, but not 0"
        if self.kind not in JUMPS and not 1 <= self.count <= 1_000_000:
            return f"count is {self.count}; allowed: 1 to 1000000"
        if not 0 < self.share <= 1:
            return f"share is {self.share}; allowed: above 0, at most 1"
        return None


@dataclass(frozen=True, slots=True)
class Delivery:
    """How an answer's bytes go out: chunks, each after a pause; then the connection is closed or not."""

    chunks: tuple[tuple[float, bytes], ...]
    closes: bool = False

    @property
    def is_late(self) -> bool:
        """May the client have given up before it is out?"""
        return any(pause_s > 0 for pause_s, _ in self.chunks)


class FaultBoard:
    """The faults that last now: of connections, at most one a device, the latest; of machines, one of a kind. Not thread-safe."""

    def __init__(self, seed: int) -> None:
        self._connections: dict[str, tuple[Fault, int]] = {}
        self._machines: dict[tuple[str, FaultKind], tuple[Fault, int]] = {}
        self._dice = Dice(seed)

    def begin(self, fault: Fault, now_ms: int) -> None:
        until_ms = now_ms + round(fault.seconds * 1000)
        if fault.kind not in MACHINE_KINDS:
            self._connections[fault.device] = (fault, until_ms)
        elif fault.kind in LASTING_MACHINE_KINDS:
            self._machines[fault.device, fault.kind] = (fault, until_ms)

    def end(self, device: str | None = None) -> None:
        """End the connection's fault of one device, or of all of them."""
        if device is None:
            self._connections.clear()
        else:
            self._connections.pop(device, None)

    def active(self, now_ms: int) -> list[tuple[Fault, int]]:
        """Faults that last, with the instant at which each ends."""
        self._connections = {key: entry for key, entry in self._connections.items() if entry[1] > now_ms}
        return [*self._connections.values(), *self.machines(now_ms)]

    def machines(self, now_ms: int) -> list[tuple[Fault, int]]:
        """Those of machines: they outlive a restart."""
        self._machines = {key: entry for key, entry in self._machines.items() if entry[1] > now_ms}
        return list(self._machines.values())

    def resume(self, machines: list[tuple[Fault, int]]) -> None:
        """Go on with the faults of machines that were in force before a restart."""
        self._machines = {(entry[0].device, entry[0].kind): entry for entry in machines}

    def on(self, device: str, now_ms: int) -> Fault | None:
        """The fault of the device's connection, whichever requests it hits."""
        entry = self._connections.get(device)
        return entry[0] if entry is not None and entry[1] > now_ms else None

    def since_ms(self, device: str, kind: FaultKind, now_ms: int) -> int | None:
        """When the device's connection began to have this fault; None while it has not."""
        fault = self.on(device, now_ms)
        if fault is None or fault.kind is not kind:
            return None
        return self._connections[device][1] - round(fault.seconds * 1000)

    def hit(self, device: str, now_ms: int) -> Fault | None:
        """The fault that hits the request which has just come in."""
        fault = self.on(device, now_ms)
        if fault is None or (fault.share < 1 and self._dice.uniform() >= fault.share):
            return None
        return fault


def refusal(fault: Fault, request: ModbusRequest) -> Delivery:
    """What goes out where the fault lets the request not even be served: an exception, or nothing, at once or after a while.

    Call it for UNSERVED_KINDS only.
    """
    if fault.kind is FaultKind.QUEUE:
        return Delivery(((fault.ms / 1000, b""),))
    code = fault.code if fault.kind is FaultKind.EXCEPTION else EXCEPTION_CODES.get(fault.kind)
    return Delivery(() if code is None else ((0.0, request.answer(exception_pdu(request.function, code))),))


def too_large(fault: Fault, request: ModbusRequest) -> bytes | None:
    """The refusal of a device that takes small requests only; None where the request is small enough."""
    if fault.kind is FaultKind.SMALL and request.count > fault.count:
        return request.answer(exception_pdu(request.function, ILLEGAL_VALUE))
    return None


def ignores(fault: Fault, request: ModbusRequest, connected_ms: int) -> bool:
    """Whether the device is silent for this request; `connected_ms`: how long its connection stands."""
    if fault.kind is FaultKind.MUTE:
        return request.count > fault.count
    return fault.kind is FaultKind.SLEEPY and connected_ms < fault.ms


def deliver(fault: Fault | None, request: ModbusRequest, pdu: bytes) -> Delivery:
    """How a good answer goes out under this fault."""
    answer = request.answer(pdu)
    if fault is None:
        return Delivery(((0.0, answer),))
    if fault.kind in _REPLACED:
        return Delivery(((0.0, _REPLACED[fault.kind](request, pdu)),))
    half = max(1, len(answer) // 2)
    match fault.kind:
        case FaultKind.ECHO | FaultKind.NOISE | FaultKind.OTHER_MASTER if request.framing is Framing.RTU:
            return Delivery(((0.0, _heard_before(fault.kind, request) + answer),))
        case FaultKind.FLIPPED_BIT if request.framing is Framing.RTU:
            return Delivery(((0.0, answer[:-3] + bytes((answer[-3] ^ 1,)) + answer[-2:]),))  # the last byte before the checksum
        case FaultKind.HASTY:
            return Delivery(((0.0, answer),), closes=True)
        case FaultKind.SLOW:
            return Delivery(((fault.ms / 1000, answer),))
        case FaultKind.DRIBBLE:
            return Delivery(tuple((0.002, answer[index : index + 1]) for index in range(len(answer))))
        case FaultKind.DUPLICATE:
            return Delivery(((0.0, answer), (0.0, answer)))
        case FaultKind.UNSOLICITED:
            return Delivery(((0.0, _unsolicited(request, pdu)), (0.0, answer)))
        case FaultKind.TRUNCATED:
            return Delivery(((0.0, answer[:half]),))
        case FaultKind.DROP:
            return Delivery(((0.0, answer[:half]),), closes=True)
        case _:
            return Delivery(((0.0, answer),))


def _unsolicited(request: ModbusRequest, pdu: bytes) -> bytes:
    """As long and as plausible as the answer, but of another transaction and with other values."""
    return request.answer(pdu[:2] + bytes(byte ^ 0xFF for byte in pdu[2:]), transaction=request.transaction ^ _OTHER)


def _heard_before(kind: FaultKind, request: ModbusRequest) -> bytes:
    """What else is on the line of a serial device, whole and with right checksums."""
    asked = struct.pack(">BHH", request.function, request.address, request.count)
    if kind is FaultKind.ECHO:
        return rtu_frame(request.unit, asked)
    if kind is FaultKind.NOISE:
        return b"\0"
    answered = struct.pack(">BBH", Function.READ_HOLDING_REGISTERS, 2, 0x1234)
    return rtu_frame(_OTHER_UNIT, struct.pack(">BHH", Function.READ_HOLDING_REGISTERS, 40, 1)) + rtu_frame(_OTHER_UNIT, answered)


def _short(request: ModbusRequest, pdu: bytes) -> bytes:
    kept = pdu[2 : 2 + (len(pdu) - 2) // 4 * 2]
    return request.answer(bytes((request.function, len(kept))) + kept)


def _padded(request: ModbusRequest, pdu: bytes) -> bytes:
    is_odd = request.table in BIT_TABLES and pdu[0] == request.function and pdu[1] % 2 == 1
    return request.answer(bytes((pdu[0], pdu[1] + 1)) + pdu[2:] + b"\0" if is_odd else pdu)


def _miscounted(request: ModbusRequest, pdu: bytes) -> bytes:
    """In the header, or where there is none in the answer's own count of its bytes."""
    if request.framing is Framing.RTU:
        return request.answer(bytes((pdu[0], (pdu[1] + 2) & 0xFF)) + pdu[2:])
    return frame(request.transaction, request.unit, pdu, miscounted_by=2)


_OTHER = 0x5555
_OTHER_UNIT = 246
"""Whom the other master asks; no simulated machine has it."""
_REPLACED: dict[FaultKind, Callable[[ModbusRequest, bytes], bytes]] = {
    FaultKind.GARBAGE: lambda request, pdu: bytes(byte ^ 0xA5 for byte in request.answer(pdu)),
    FaultKind.SHORT: _short,
    FaultKind.PADDED: _padded,
    FaultKind.WRONG_LENGTH: _miscounted,
    FaultKind.WRONG_UNIT: lambda request, pdu: request.answer(pdu, unit=request.unit ^ 0x55),
    FaultKind.WRONG_TRANSACTION: lambda request, pdu: request.answer(pdu, transaction=request.transaction ^ _OTHER),
    FaultKind.WRONG_FUNCTION: lambda request, pdu: request.answer(bytes((request.function ^ 0x07,)) + pdu[1:]),  # 3 becomes 4
}
"""What goes out in place of the answer."""
