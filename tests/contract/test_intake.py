"""The intake of a worker: bounded, fair, and awake when something comes."""

from __future__ import annotations

from millrace_contract.runtime.intake import BATCH, Intake
from millrace_contract.runtime.mqtt.session import Received


def _message(qos: int) -> Received:
    return Received("t", b"", retained=False, qos=qos, mid=0, generation=0)


def test_queue_is_bounded_and_counts_what_it_drops() -> None:
    intake = Intake[str](receive_maximum=10)
    for _ in range(50):
        intake.put(_message(0))
    assert (len(intake), intake.dropped) == (40, 10)
    # The broker itself bounds QoS 1: it must never be dropped here.
    intake.put(_message(1))
    assert len(intake) == 41


def test_items_are_bounded_and_pass_the_messages() -> None:
    intake = Intake[int](receive_maximum=1000, item_capacity=3)
    for _ in range(BATCH + 1):
        intake.put(_message(1))
    assert [intake.hand_over(number) for number in range(4)] == [True, True, True, False]
    batch = intake.take(0)
    assert (len(batch.messages), batch.items) == (BATCH, [0, 1, 2])
    assert (len(intake.take(0).messages), intake.take(0).items) == (1, [])


def test_a_turn_takes_no_more_items_than_it_may() -> None:
    intake = Intake[int](receive_maximum=10, items_a_batch=1)
    assert all(intake.hand_over(number) for number in range(2))
    assert [intake.take(0).items, intake.take_items(), intake.take(0).items] == [[0], [1], []]


def test_news_of_the_connection_are_the_newest_and_a_return_is_not_forgotten() -> None:
    intake = Intake[int](receive_maximum=10)
    for connected in (False, True, False):
        intake.connection(connected=connected)
    intake.published(7, True)
    batch = intake.take(0)
    assert (batch.connected, batch.reconnected, batch.published) == (False, True, [(7, True)])
    assert intake.take(0).connected is None


def test_what_could_not_be_committed_comes_again_first_and_in_smaller_parts() -> None:
    intake = Intake[str](receive_maximum=10)
    intake.put_all([_message(1)._replace(mid=mid) for mid in range(5)])
    intake.hand_over("a")
    intake.put_back(intake.take(0))
    intake.put_all([_message(1)._replace(mid=5)])
    intake.hand_over("b")
    first = intake.take(0, 2)
    assert ([received.mid for received in first.messages], first.items) == ([0, 1], ["a", "b"])
    assert [received.mid for received in intake.waiting()] == [2, 3, 4, 5]


def test_news_can_be_heard_while_messages_have_to_wait() -> None:
    intake = Intake[str](receive_maximum=10)
    intake.put(_message(1))
    intake.hand_over("a")
    intake.published(7, True)
    news = intake.take_news()
    assert (news.messages, news.items, news.published) == ([], [], [(7, True)])
    batch = intake.take(0)
    assert (len(batch.messages), batch.items, batch.published) == (1, ["a"], [])
