"""Which answer belongs to which request on an RTU line, where frames carry no number. Pure: bytes and moments in, verdicts out.

A frame says unit, function and how many bytes of data it brings, and not which addresses. So an answer that comes late looks
like the answer to the next request of that shape; closing the socket or the port silences no bus. The rule here: an answer that
did not come in time is owed. While it is owed the same request may be asked again, because the late answer is right for it, and
requests of another shape; no other request of the same shape, until what is owed came or cannot come any more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from .blocks import NARROW, Place

LATE_LIMITS: Final = 5
"""An answer later than so many time limits is taken never to come, unless the connection says otherwise."""

_SHORTEST_FRAME: Final = 5
_LARGEST_FRAME: Final = 264
_STRANGER_S: Final = 60.0
"""After an answer that nobody here asked for, every answer of its unit is uncertain for so long: another master reads it, and
what it reads is not known."""
_ECHOES: Final = 3
"""A line that repeated so many requests in a row is one of two wires, whose adapter hears itself."""
_READS: Final = frozenset({1, 2, 3, 4})
_BIT_READS: Final = frozenset({1, 2})
_EXCEPTION: Final = 0x80
_HEAD_BYTES: Final = 3

Checksum = Callable[[bytes], int]
"""CRC-16 of Modbus over a frame without its last two bytes, as the number that these are, high byte first."""


class RtuQuestion(NamedTuple):
    """A read as it goes over the line."""

    unit: int
    function_code: int
    address: int
    length: int
    register_bytes: int = NARROW

    @classmethod
    def of(cls, unit: int, place: Place) -> RtuQuestion:
        return cls(unit, *place)

    @property
    def data_bytes(self) -> int:
        """Bytes of data in its answer; of bits, as few as hold them."""
        return (self.length + 7) // 8 if self.function_code in _BIT_READS else self.register_bytes * self.length

    @property
    def shape(self) -> tuple[int, int, int]:
        """What an answer shows of its request. Bits count in whole registers, because some devices pad them to such."""
        return self.unit, self.function_code, self.data_bytes + self.data_bytes % 2

    def __str__(self) -> str:
        return f"function {self.function_code} at {self.address}, {self.length} long"


class RtuAnswer(NamedTuple):
    """An answer to the request under way: function code, then byte count and data, or the code of an exception.

    `is_certain`: no other master was heard lately whose answer this might be.
    """

    pdu: bytes
    is_certain: bool


class Confusion(NamedTuple):
    """An answer came that may be another master's: nobody can tell, so it is not used."""

    reason: str


class Instead(NamedTuple):
    """What came where an answer should have: a word for counting, and a sentence."""

    kind: str
    reason: str


class _Frame(NamedTuple):
    at: int
    data: bytes
    is_request: bool


_Whose = Literal["ours", "theirs", "echo", "repeated"]


@dataclass(slots=True)
class _Awaited:
    """A request on the line whose answer may come until then: one of ours that was given up, another master's, one that is the
    echo of ours or another master's equal one, or one of ours that was answered by a unit that says everything twice.
    """

    question: RtuQuestion
    until_s: float
    whose: _Whose = "ours"


class RtuLine:
    """What is under way on one line. One request of ours at a time: `sent`, then `heard` until it answers, or `gave_up`."""

    def __init__(self, checksum: Checksum, late_s: float) -> None:
        """`late_s`: an answer later than this after its request, or after the answer before it, never comes."""
        self.late_s = late_s
        self._checksum = checksum
        self._awaited: list[_Awaited] = []
        self._current: RtuQuestion | None = None
        self._sent = b""
        self._sent_s = 0.0
        self._held = b""
        self._noise = b""
        self._strangers: dict[int, float] = {}
        self._last_answer = b""
        self._twice: set[int] = set()
        self._instead: Instead | None = None
        self._has_own_instead = False
        self._copies = 0
        self._has_copy = False

    def free_at(self, question: RtuQuestion, now_s: float) -> float:
        """When the request may be sent at the latest: now_s or earlier where nothing stands against it."""
        self._forget(now_s)
        return max((each.until_s for each in self._awaited if _collide(each.question, question)), default=now_s)

    def sent(self, question: RtuQuestion, frame: bytes, now_s: float) -> None:
        """The request goes out now."""
        if not self._has_copy:
            self._copies = 0
        self._has_copy = False
        self._current = question
        self._sent, self._sent_s = frame, now_s
        self._noise = b""
        self._instead = None
        self._has_own_instead = False

    def gave_up(self) -> Instead | None:
        """The request under way brought nothing in time: its answer is owed, unless what came was it. Returns what came instead."""
        question, self._current = self._current, None
        if question is None:
            return None
        noise = self._noise + self._held
        self._noise = self._held = b""
        if self._awaited or not (self._has_own_instead or _is_spoiled_answer(noise, question)):
            self._await(question, self._sent_s)  # What else is awaited may be what came spoiled.
        if self._instead is not None:
            return self._instead
        return Instead("garbled", f"{len(noise)} bytes came that are no whole answer with a right checksum") if noise else None

    def dropped(self) -> None:
        """The connection was lost under the request; whoever stands between may bring its answer over the next one."""
        question, self._current = self._current, None
        self._noise = self._held = b""
        if question is not None:
            self._await(question, self._sent_s)

    def heard(self, data: bytes, now_s: float) -> RtuAnswer | Confusion | None:
        """Take what came; the answer to the request under way, once it is whole."""
        self._forget(now_s)
        self._held += data
        verdict: RtuAnswer | Confusion | None = None
        end = 0
        for frame in self._frames():
            self._noise += self._held[end : frame.at]
            end = frame.at + len(frame.data)
            verdict = self._judge(frame, now_s) or verdict
        self._held = self._held[end:]
        if len(self._held) > _LARGEST_FRAME:
            self._noise = (self._noise + self._held[:-_LARGEST_FRAME])[-_LARGEST_FRAME:]
            self._held = self._held[-_LARGEST_FRAME:]
        return verdict

    # What a frame is

    def _frames(self) -> Iterator[_Frame]:
        """Every whole frame with a right checksum, from the left. What begins like an answer that we wait for hides nothing but
        such answers: a frame found in its midst would be chance."""
        held = self._held
        at = 0
        is_inside = False
        while at + _SHORTEST_FRAME <= len(held):
            sought = self._sought(held, at)
            frame = self._cut(held, at, sought) if sought else None if is_inside else self._any(held, at)
            if frame is not None:
                yield frame
                at += len(frame.data)
                is_inside = False
                continue
            is_inside = is_inside or at + sought > len(held)
            at += 1

    def _sought(self, held: bytes, at: int) -> int:
        """The length of an answer that we wait for, if its head stands there; else 0."""
        unit, function_code, size = held[at : at + _HEAD_BYTES]
        for question in self._expected():
            if unit == question.unit:
                if function_code == question.function_code and size in (question.data_bytes, question.shape[2]):
                    return _HEAD_BYTES + size + 2
                if function_code == question.function_code | _EXCEPTION:
                    return _SHORTEST_FRAME
        return 0

    def _expected(self) -> Iterator[RtuQuestion]:
        if self._current is not None:
            yield self._current
        for each in self._awaited:
            yield each.question

    def _cut(self, held: bytes, at: int, length: int, *, is_request: bool = False) -> _Frame | None:
        data = held[at : at + length]
        whole = len(data) == length and self._checksum(data[:-2]) == int.from_bytes(data[-2:], "big")
        return _Frame(at, data, is_request) if whole else None

    def _any(self, held: bytes, at: int) -> _Frame | None:
        """A frame of whoever is on the line: a request, an answer, an exception."""
        function_code = held[at + 1]
        if function_code & _EXCEPTION:
            return self._cut(held, at, _SHORTEST_FRAME)
        if function_code in _READS:
            return self._cut(held, at, 8, is_request=True) or self._cut(held, at, held[at + 2] + 5)
        if function_code in (5, 6):
            return self._cut(held, at, 8)
        if function_code in (15, 16):
            return self._cut(held, at, 8) or (self._cut(held, at, held[at + 6] + 9) if at + 6 < len(held) else None)
        return None

    # Whose it is

    def _judge(self, frame: _Frame, now_s: float) -> RtuAnswer | Confusion | None:
        data = frame.data
        is_copy = data == self._sent and self._current is not None and not self._has_copy
        if is_copy and (frame.is_request or self._copies >= _ECHOES):
            self._has_copy = True
            self._copies += 1
            if self._copies >= _ECHOES:
                self._awaited = [each for each in self._awaited if each.whose != "echo"]
                return None
        if frame.is_request:
            address, length = int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:6], "big")
            question = RtuQuestion(data[0], data[1], address, length)
            self._await(question, now_s, "echo" if is_copy else "theirs")
            return None
        if data[1] & _EXCEPTION:
            return self._judge_exception(data, now_s)
        if data[1] not in _READS or len(data) != data[2] + 5:
            return None
        return self._judge_answer(data, now_s)

    def _judge_answer(self, data: bytes, now_s: float) -> RtuAnswer | Confusion | None:
        shape = data[0], data[1], data[2] + data[2] % 2
        current = self._current
        others = [each for each in self._awaited if each.question.shape == shape]
        if current is not None and current.shape == shape and data[2] in (current.data_bytes, shape[2]):
            if any(each.question != current for each in others):  # Only another master's can be: ours would not have been sent.
                self._current = None
                self._await(current, now_s)
                return Confusion("another master asked this unit for as much just now; nobody can tell whose the answer is")
            self._current = None
            if self._has_own_instead:  # What came before was not the device's way to answer.
                self._strangers[current.unit] = now_s
            if others:
                self._came(others[0], now_s)
                self._await(current, now_s)
            elif current.unit in self._twice:
                self._awaited.append(_Awaited(current, now_s + self.late_s / LATE_LIMITS, "repeated"))
            self._last_answer = data
            return RtuAnswer(data[1:-2], now_s - self._strangers.get(current.unit, -math.inf) > _STRANGER_S)
        if others:
            self._came(others[0], now_s)
        elif data == self._last_answer:
            self._twice.add(data[0])  # This device says everything twice; from now on its answers are awaited twice.
        elif current is not None and data[0] == current.unit and not self._awaited:
            self._has_own_instead = True
            self._instead = _other_answer(data, current)
        else:
            self._met_stranger(data[0], now_s)
        return None

    def _met_stranger(self, unit: int, now_s: float) -> None:
        """A frame came that answers nothing that was heard asked."""
        self._strangers[unit] = now_s
        if self._current is not None and unit != self._current.unit and self._instead is None:
            self._instead = Instead("mismatched", f"unit {unit} answered, unit {self._current.unit} was asked")

    def _judge_exception(self, data: bytes, now_s: float) -> RtuAnswer | None:
        """An exception shows even less of its request; where it may be for several, it is for none."""
        function_code = data[1] & ~_EXCEPTION
        of_unit = [each for each in self._awaited if each.question[:2] == (data[0], function_code)]
        current = self._current
        if current is not None and current[:2] == (data[0], function_code):
            if any(each.question != current for each in of_unit):
                self._extend(data[0], of_unit, now_s)
                return None
            self._current = None
            if of_unit:
                self._came(of_unit[0], now_s)
                self._await(current, now_s)
            return RtuAnswer(data[1:-2], is_certain=True)
        if of_unit and all(each.question == of_unit[0].question for each in of_unit):
            self._came(of_unit[0], now_s)
        elif not of_unit:
            self._met_stranger(data[0], now_s)
        return None

    def _await(self, question: RtuQuestion, since_s: float, whose: _Whose = "ours") -> None:
        self._awaited.append(_Awaited(question, since_s + self.late_s, whose))

    def _came(self, awaited: _Awaited, now_s: float) -> None:
        """What is owed came. A unit answers in turn, so what it was asked later gets its time from here."""
        at = self._awaited.index(awaited)
        self._extend(awaited.question.unit, self._awaited[at + 1 :], now_s)
        del self._awaited[at]

    def _extend(self, unit: int, awaited: Sequence[_Awaited], now_s: float) -> None:
        for each in awaited:
            if each.question.unit == unit:
                each.until_s = max(each.until_s, now_s + self.late_s)

    def _forget(self, now_s: float) -> None:
        """What can't come any more. A unit that says nothing twice any more is believed."""
        for each in [each for each in self._awaited if each.until_s <= now_s]:
            self._awaited.remove(each)
            if each.whose == "repeated":
                self._twice.discard(each.question.unit)


def _collide(owed: RtuQuestion, question: RtuQuestion) -> bool:
    """Whether the answer to one would pass for the answer to the other, and be wrong for it."""
    return owed.shape == question.shape and owed != question


def _other_answer(data: bytes, question: RtuQuestion) -> Instead:
    """How the unit's answer differs from what it was asked."""
    if data[1] != question.function_code:
        return Instead("mismatched", f"answered function {data[1]}, function {question.function_code} was asked")
    return Instead("short", f"answered {data[2]} bytes of data where {question.data_bytes} were asked for")


def _is_spoiled_answer(noise: bytes, question: RtuQuestion) -> bool:
    """Whether the answer did come, with some bits wrong: as long as it must be, and at most one byte of its head differs."""
    head = bytes((question.unit, question.function_code, question.data_bytes))
    length = _HEAD_BYTES + question.data_bytes + 2
    return len(noise) == length and sum(a == b for a, b in zip(noise, head, strict=False)) >= _HEAD_BYTES - 1
