"""An RTU line: whose answer is whose, among noise, echoes, other masters and answers that come late."""

from __future__ import annotations

import heapq
import random
from collections import Counter, defaultdict, deque

import pytest

from millrace_gateway.rtu_line import Confusion, Instead, RtuAnswer, RtuLine, RtuQuestion

from .conftest import crc16

A = RtuQuestion(1, 3, 0, 2)
B = RtuQuestion(1, 3, 100, 2)
OTHER_SHAPE = RtuQuestion(1, 3, 200, 4)
LATE_S = 5.0


def checksum(data: bytes) -> int:
    return int.from_bytes(crc16(data), "big")


def framed(unit: int, pdu: bytes) -> bytes:
    frame = bytes([unit]) + pdu
    return frame + crc16(frame)


def request(question: RtuQuestion) -> bytes:
    address, count = question.address.to_bytes(2, "big"), question.length.to_bytes(2, "big")
    return framed(question.unit, bytes([question.function_code]) + address + count)


def answer(question: RtuQuestion, first: int | None = None) -> bytes:
    """Each register holds its own address, so that an answer says which request it answers."""
    if question.function_code in (1, 2):
        data = bytes([question.address & 0xFF]) * question.data_bytes
    else:
        start = question.address if first is None else first
        data = b"".join((start + at).to_bytes(2, "big") for at in range(question.length))
    return framed(question.unit, bytes([question.function_code, len(data)]) + data)


def pdu(frame: bytes) -> bytes:
    return frame[1:-2]


def line() -> RtuLine:
    return RtuLine(checksum, LATE_S)


def asked(question: RtuQuestion, now_s: float = 0.0) -> RtuLine:
    asked_line = line()
    asked_line.sent(question, request(question), now_s)
    return asked_line


FOREIGN = RtuQuestion(7, 3, 40, 2)
BEFORE = {
    "a NUL": b"\0",
    "the echo of the request": request(A),
    "another master's request and its answer": request(FOREIGN) + answer(FOREIGN),
    "the answer of another unit": answer(FOREIGN),
    "an exception of another unit": framed(7, b"\x83\x02"),
    "another master's write and its confirmation": framed(7, b"\x06\0\x28\0\x01") * 2,
    "another master's write of registers": framed(7, b"\x10\0\x28\0\x01\x02\0\x09") + framed(7, b"\x10\0\x28\0\x01"),
    "noise that begins like the answer": b"\x01\x03\x04\x09",
    "half a frame": answer(FOREIGN)[:5],
    "a spoiled answer": bytes([*answer(A)[:4], answer(A)[4] ^ 8, *answer(A)[5:]]),
}


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE.keys())
@pytest.mark.parametrize("step", [1, 3, 300])
def test_the_right_answer_is_found_behind_anything_else(before: bytes, step: int) -> None:
    this = asked(A)
    data = before + answer(A)
    verdicts = [this.heard(data[at : at + step], 0.1) for at in range(0, len(data), step)]
    assert [verdict for verdict in verdicts if verdict] == [RtuAnswer(pdu(answer(A)), is_certain=True)]


def test_what_follows_the_answer_is_kept_for_the_next_request() -> None:
    this = asked(A)
    assert this.heard(answer(A) + answer(OTHER_SHAPE)[:6], 0.1)
    this.sent(OTHER_SHAPE, request(OTHER_SHAPE), 0.2)
    assert this.heard(answer(OTHER_SHAPE)[6:], 0.3) == RtuAnswer(pdu(answer(OTHER_SHAPE)), is_certain=True)


def test_an_exception_answers_the_request_under_way() -> None:
    this = asked(A)
    assert this.heard(framed(1, b"\x83\x02"), 0.1) == RtuAnswer(b"\x83\x02", is_certain=True)


def test_bits_padded_to_whole_registers_are_bits() -> None:
    bits = RtuQuestion(1, 1, 0, 5)
    padded = framed(1, b"\x01\x02\x15\x00")
    assert asked(bits).heard(padded, 0.1) == RtuAnswer(pdu(padded), is_certain=True)


def test_an_answer_that_is_owed_holds_back_its_shape_and_nothing_else() -> None:
    this = asked(A)
    assert this.gave_up() is None
    assert this.free_at(B, 1.0) == LATE_S
    assert this.free_at(A, 1.0) == 1.0
    assert this.free_at(OTHER_SHAPE, 1.0) == 1.0
    assert this.free_at(B, LATE_S) == LATE_S


def test_an_answer_that_is_owed_is_right_for_the_same_request_and_leaves_another_owed() -> None:
    this = asked(A)
    this.gave_up()
    this.sent(A, request(A), 1.0)
    assert this.heard(answer(A), 1.4) == RtuAnswer(pdu(answer(A)), is_certain=True)
    assert this.free_at(B, 1.5) == pytest.approx(1.4 + LATE_S)
    this.heard(answer(A), 1.6)
    assert this.free_at(B, 1.6) == 1.6


def test_a_late_answer_comes_among_requests_of_another_shape() -> None:
    this = asked(A)
    this.gave_up()
    this.sent(OTHER_SHAPE, request(OTHER_SHAPE), 1.0)
    assert this.heard(answer(A) + answer(OTHER_SHAPE), 1.4) == RtuAnswer(pdu(answer(OTHER_SHAPE)), is_certain=True)
    assert this.free_at(B, 1.5) == 1.5


def test_a_late_exception_is_for_nobody_while_two_could_own_it() -> None:
    this = asked(A)
    this.gave_up()
    this.sent(OTHER_SHAPE, request(OTHER_SHAPE), 1.0)
    assert this.heard(framed(1, b"\x83\x02"), 1.1) is None
    assert this.heard(answer(OTHER_SHAPE), 1.2)


def test_an_answer_that_came_spoiled_is_not_owed() -> None:
    this = asked(A)
    spoiled = bytearray(answer(A))
    spoiled[1] ^= 0x40
    assert this.heard(bytes(spoiled), 0.1) is None
    assert this.gave_up() == Instead("garbled", "9 bytes came that are no whole answer with a right checksum")
    assert this.free_at(B, 1.0) == 1.0


def test_a_unit_that_answers_in_place_of_another_is_named() -> None:
    broadcast = RtuQuestion(0, 3, 0, 2)
    this = asked(broadcast)
    assert this.heard(answer(broadcast._replace(unit=5)), 0.1) is None
    assert this.gave_up() == Instead("mismatched", "unit 5 answered, unit 0 was asked")


def test_a_request_lost_with_its_connection_is_owed() -> None:
    this = asked(A)
    this.dropped()
    assert this.free_at(B, 0.1) == LATE_S


def test_a_device_that_says_everything_twice_is_heard_out() -> None:
    this = asked(A)
    assert this.heard(answer(A) * 2, 0.1)
    this.sent(A, request(A), 1.0)
    assert this.heard(answer(A), 1.1)
    assert this.free_at(B, 1.1) == pytest.approx(2.1)
    this.heard(answer(A), 1.2)
    assert this.free_at(B, 1.2) == 1.2
    this.sent(B, request(B), 1.2)
    assert this.heard(answer(B), 1.3) == RtuAnswer(pdu(answer(B)), is_certain=True)


def test_another_masters_request_of_the_same_shape_is_waited_for() -> None:
    this = line()
    this.heard(request(B), 0.0)
    assert this.free_at(A, 0.1) == LATE_S
    this.heard(answer(B), 0.2)
    assert this.free_at(A, 0.2) == 0.2


def test_an_answer_that_may_be_another_masters_is_not_used() -> None:
    this = asked(A)
    assert this.heard(request(B), 0.01) is None
    assert isinstance(this.heard(answer(B), 0.1), Confusion)


def test_answers_are_uncertain_where_a_master_is_heard_whose_requests_are_not() -> None:
    this = line()
    this.heard(answer(B), 0.0)
    this.sent(A, request(A), 1.0)
    assert this.heard(answer(A), 1.1) == RtuAnswer(pdu(answer(A)), is_certain=False)
    this.sent(A, request(A), 62.0)
    assert this.heard(answer(A), 62.1) == RtuAnswer(pdu(answer(A)), is_certain=True)


class Bus:
    """Two masters and several units on one line: each unit answers in turn, after up to five time limits, or never."""

    def __init__(self, seed: int, *, limit_s: float) -> None:
        self.random = random.Random(seed)
        self.limit_s = limit_s
        self.now_s = 0.0
        self._busy_until_s: dict[int, float] = defaultdict(float)
        self._coming: list[tuple[float, int, bytes]] = []
        self._number = 0

    def put(self, question: RtuQuestion) -> None:
        """A request on the line."""
        fate = self.random.random()
        if fate < 0.05:
            return
        delay_s = self.random.uniform(0.01, 0.05) if fate < 0.7 else self.random.uniform(0.01, 5 * self.limit_s)
        at_s = max(self.now_s + delay_s, self._busy_until_s[question.unit] + 0.005)
        self._busy_until_s[question.unit] = at_s
        frame = framed(question.unit, bytes([question.function_code | 0x80, 4])) if 0.05 < fate < 0.08 else answer(question)
        if 0.1 < fate < 0.13:
            spoiled = bytearray(frame)
            spoiled[self.random.randrange(len(frame))] ^= 1 << self.random.randrange(8)
            frame = bytes(spoiled)
        self.say(frame, at_s)

    def say(self, data: bytes, at_s: float) -> None:
        self._number += 1
        heapq.heappush(self._coming, (at_s, self._number, data))

    def until(self, moment_s: float) -> deque[tuple[float, bytes]]:
        """What is on the line until then, in order."""
        came: deque[tuple[float, bytes]] = deque()
        while self._coming and self._coming[0][0] <= moment_s:
            at_s, _, data = heapq.heappop(self._coming)
            came.append((at_s, data))
        return came


QUESTIONS = [
    RtuQuestion(unit, function_code, address, count)
    for unit in (1, 2, 3)
    for function_code, count in ((3, 2), (3, 4), (4, 2), (1, 8))
    for address in (0, 100, 101)
]


class OtherMaster:
    """Asks when it likes, now and then just after us. Not `is_seen`: what stands between keeps its requests from us."""

    def __init__(self, bus: Bus, *, is_seen: bool = True) -> None:
        self._bus = bus
        self._is_seen = is_seen

    def may_ask(self, chance: float) -> None:
        if self._bus.random.random() < chance:
            question = self._bus.random.choice(QUESTIONS)
            if self._is_seen:
                self._bus.say(request(question), self._bus.now_s)
            self._bus.put(question)


def heard_until(this: RtuLine, bus: Bus, moment_s: float) -> RtuAnswer | Confusion | None:
    verdict = None
    for at_s, data in bus.until(moment_s):
        verdict = this.heard(data, at_s) or verdict
    bus.now_s = moment_s
    return verdict


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("is_echoing", [False, True])
def test_no_value_ever_stands_under_anothers_name(seed: int, *, is_echoing: bool) -> None:
    """2,500 turns each, 20,000 in all."""
    bus = Bus(seed, limit_s=1.0)
    other = OtherMaster(bus)
    this = line()
    seen: Counter[str] = Counter()
    for turn in range(2_500):
        other.may_ask(0.3)
        assert heard_until(this, bus, bus.now_s + bus.random.uniform(0.0, 0.4)) is None, "an answer to nothing under way"
        question = bus.random.choice(QUESTIONS)
        for _repeat in range(2):
            if this.free_at(question, bus.now_s) > bus.now_s:
                seen["held back"] += 1
                break
            this.sent(question, request(question), bus.now_s)
            if is_echoing:
                bus.say(request(question), bus.now_s)
            bus.put(question)
            bus.now_s += 0.001
            other.may_ask(0.1)
            verdict = heard_until(this, bus, bus.now_s + bus.limit_s)
            if verdict is None:
                seen["silent"] += 1
                this.gave_up()
                continue
            if isinstance(verdict, RtuAnswer) and not verdict.pdu[0] & 0x80:
                assert verdict.pdu == pdu(answer(question)), f"turn {turn}: another answer stands under {question}"
                seen["right"] += 1
            seen["confused"] += isinstance(verdict, Confusion)
            break
    assert seen["right"] > 800
    assert min(seen["held back"], seen["silent"], seen["confused"]) > 0


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_no_value_is_certain_once_a_master_was_heard_whose_requests_are_not(seed: int) -> None:
    """Nobody can tell its answers from ours, so some values are another's; none of these is called certain."""
    bus = Bus(seed, limit_s=1.0)
    other = OtherMaster(bus, is_seen=False)
    this = line()
    betrayed: set[int] = set()
    seen: Counter[str] = Counter()
    for turn in range(2_500):
        other.may_ask(0.3)
        assert heard_until(this, bus, bus.now_s + bus.random.uniform(0.0, 0.4)) is None, "an answer to nothing under way"
        question = bus.random.choice(QUESTIONS)
        if this.free_at(question, bus.now_s) > bus.now_s:
            continue
        this.sent(question, request(question), bus.now_s)
        bus.put(question)
        bus.now_s += 0.001
        other.may_ask(0.1)
        verdict = heard_until(this, bus, bus.now_s + bus.limit_s)
        if verdict is None:
            this.gave_up()
        elif isinstance(verdict, RtuAnswer) and not verdict.pdu[0] & 0x80:
            is_right = verdict.pdu == pdu(answer(question))
            seen["right" if is_right else "wrong"] += 1
            if not verdict.is_certain:
                betrayed.add(question.unit)
            elif question.unit in betrayed:
                assert is_right, f"turn {turn}: another answer stands under {question}, and is called certain"
                seen["certain"] += 1
    assert betrayed == {1, 2, 3}
    assert seen["right"] > 300
    assert seen["wrong"] > 0
