import threading

import pytest

from millrace_contract.testing import wait_until
from millrace_ingest.buffer import LULLS, SHORT_LULLS, Buffer


def size_of(_item: int) -> int:
    return 10


def test_a_batch_ends_at_its_size() -> None:
    buffer: Buffer[int] = Buffer(10, 10_000, size_of)
    assert buffer.put([0, 1], 0)
    assert buffer.put([2, 3, 4], 0)
    assert buffer.take(3, 0, 5.0) == [0, 1, 2]
    assert buffer.take(3, 0, 0.05) == [3, 4]
    assert buffer.take(3, 0, 0) == []


@pytest.mark.parametrize(("worth_it", "lulls"), [(4, SHORT_LULLS), (5, LULLS), (None, LULLS)])
def test_a_batch_that_is_worth_it_ends_in_a_short_lull(worth_it: int | None, lulls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer: Buffer[int] = Buffer(10, 10_000, size_of)
    assert buffer.put([0, 1, 2, 3], 0)
    waited: list[float] = []
    monkeypatch.setattr(buffer, "_await_items", lambda _count, wait_s: waited.append(wait_s))
    assert buffer.take(10, 0, 60.0, worth_it) == [0, 1, 2, 3]
    assert waited == [0, 60.0 / lulls]


@pytest.mark.parametrize(("items", "size"), [(3, 10_000), (100, 30)])
def test_full_by_number_or_by_bytes_the_producer_waits_and_nothing_is_dropped(items: int, size: int) -> None:
    buffer: Buffer[int] = Buffer(items, size, size_of)
    put: list[bool] = []
    thread = threading.Thread(target=lambda: put.extend(buffer.put([number], 10.0) for number in range(20)))
    thread.start()
    wait_until(lambda: buffer.depth == 3, "a full buffer")
    assert not buffer.put([99], 0.01)
    taken: list[int] = []
    while len(taken) < 20:
        taken += buffer.take(2, 5.0, 0)
    thread.join(5)
    assert taken == list(range(20))
    assert all(put)
    assert buffer.bytes == 0


def test_close_wakes_both_sides() -> None:
    buffer: Buffer[int] = Buffer(1, 100, size_of)
    buffer.put([1], 0)
    results: list[object] = []
    producer = threading.Thread(target=lambda: results.append(buffer.put([2], 30.0)))
    producer.start()
    buffer.close()
    producer.join(5)
    assert results == [False]
    assert buffer.take(5, 30.0, 30.0) == [1]
    assert buffer.take(5, 30.0, 30.0) == []


@pytest.mark.long
def test_a_batch_does_not_wait_for_more_when_nothing_comes_any_more() -> None:
    buffer: Buffer[int] = Buffer(100, 10_000, size_of)
    buffer.put([1], 0)
    taken: list[list[int]] = []
    consumer = threading.Thread(target=lambda: taken.append(buffer.take(50, 1.0, 500.0 / 50)))
    consumer.start()
    consumer.join(5)  # a fifth of ten seconds, not ten
    assert taken == [[1]]
