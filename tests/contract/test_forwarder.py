"""The forwarder: scenarios of contracts.md 2.4."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_contract.store_forward.forwarder import Forwarder
from millrace_contract.store_forward.limits import Limits
from millrace_contract.store_forward.sqlite import transaction
from millrace_contract.testing.outboxes import long_after_start

from .forwarder_plant import LIVE_LIMIT, Plant


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    made = Plant(tmp_path / "outbox.db")
    yield made
    made.file.close()


@pytest.fixture
def online(plant: Plant) -> Plant:
    plant.forwarder.connected()
    return plant


def test_live_message_is_published_when_committed_and_goes_when_stored(online: Plant) -> None:
    online.append(2)
    assert online.sent() == [1, 2]
    online.store(1, 2)
    assert online.outbox.depth == 0
    assert online.pump() == []


def test_nothing_is_published_while_disconnected(plant: Plant) -> None:
    plant.append(2)
    assert plant.pump() == []
    plant.forwarder.connected()
    assert plant.pump() == [1, 2]


def test_row_stays_when_only_the_broker_has_it(online: Plant) -> None:
    online.append()
    online.acknowledge(1)
    online.delete_safe()
    assert online.outbox.depth == 1


def test_live_goes_before_the_backlog(plant: Plant) -> None:
    plant.append(10)
    plant.forwarder.connected()
    plant.append()
    assert plant.sent() == [11]
    assert plant.pump() == [1, 2, 3]


def test_backlog_keeps_to_its_window(plant: Plant) -> None:
    plant.append(10)
    plant.forwarder.connected()
    assert plant.pump() == [1, 2, 3]
    plant.acknowledge(1, 2, 3)
    assert plant.pump() == []
    plant.store(1, 3)
    assert plant.pump() == [4, 5]
    plant.store(2, 4, 5)
    assert plant.pump() == [6, 7, 8]


def test_pump_publishes_no_more_than_asked(plant: Plant) -> None:
    plant.append(10)
    plant.forwarder.connected()
    assert plant.forwarder.pump(plant.now, limit=2) == 2
    assert plant.sent() == [1, 2]


def test_all_unconfirmed_is_sent_again_after_reconnect(online: Plant) -> None:
    online.append(2)
    online.store(1)
    online.forwarder.disconnected()
    online.append()
    online.forwarder.connected()
    assert online.pump() == [2, 3]
    assert online.forwarder.counts.resent == 1


def test_confirmation_from_before_the_reconnect_counts(online: Plant) -> None:
    online.append(3)
    online.forwarder.disconnected()
    online.forwarder.connected()
    online.store(1, 2)
    assert online.pump() == [3]


def test_old_tokens_mean_nothing_after_a_reconnect(online: Plant) -> None:
    online.append(1)
    online.forwarder.disconnected()
    online.forwarder.connected()
    online.acknowledge(1, ok=False)
    assert online.forwarder.counts.refused == 0


def test_lost_confirmation_is_healed_by_a_later_one(online: Plant) -> None:
    online.append(2)
    online.pass_time(9.9)
    online.append()
    online.store(3)
    assert online.pump() == []
    online.pass_time(0.1)
    online.append()
    online.store(4)
    assert online.pump() == [1, 2]


def test_what_is_on_its_way_is_not_sent_twice_when_something_older_is(plant: Plant) -> None:
    plant.append(4)
    plant.forwarder.connected()
    assert plant.pump() == [1, 2, 3]
    plant.pass_time(10)
    plant.store(2)
    assert plant.pump() == [4]
    plant.append()
    plant.store(5)
    assert plant.pump() == [1, 3]


def test_confirmation_of_something_older_heals_nothing(online: Plant) -> None:
    online.append(2)
    online.pass_time(30)
    online.store(1)
    assert online.pump() == []


def test_when_nothing_is_confirmed_all_is_sent_again_at_growing_intervals(online: Plant) -> None:
    online.append(2)
    times = list[int]()
    for second in range(1, 500):
        online.pass_time(1)
        if online.pump():
            times.append(second)
    assert times == [30, 90, 210, 450]


def test_all_is_sent_again_when_ingest_is_heard_for_the_first_time_since_the_reconnect(online: Plant) -> None:
    online.append(2)
    online.acknowledge(1, 2)  # by a broker that had nobody to give them to
    online.forwarder.taking(True)
    assert online.pump() == [1, 2]
    online.forwarder.taking(True)
    assert online.pump() == []


def test_live_goes_on_while_nothing_is_taken_and_the_backlog_waits(plant: Plant) -> None:
    plant.append(5)
    plant.forwarder.connected()
    plant.forwarder.taking(False)
    for n in range(20):
        plant.append()
        plant.acknowledge(6 + n)
        assert plant.pump() == []
    assert plant.sent() == list(range(6, 26))
    assert plant.forwarder.live_in_flight == 0
    plant.forwarder.taking(True)
    assert plant.pump() == [1, 2, 3]


def test_live_goes_on_when_nothing_is_confirmed_for_a_while(online: Plant) -> None:
    for n in range(20):
        online.append()
        online.acknowledge(n + 1)
        assert online.forwarder.live_in_flight <= LIVE_LIMIT
    assert online.sent() == list(range(1, 21))
    online.store(*range(1, 21))
    assert online.outbox.depth == 0


def test_live_stays_backlog_while_the_broker_acknowledges_nothing(online: Plant) -> None:
    online.append(10)
    assert online.sent() == [1, 2, 3, 4]
    assert online.pump() == [5, 6, 7]
    assert online.pump() == []


def test_session_that_takes_nothing_is_asked_again(online: Plant) -> None:
    online.room = 1
    online.append(3)
    assert online.sent() == [1]
    assert online.pump() == []
    online.room = 10
    assert online.pump() == [2, 3]


@pytest.mark.parametrize(("age_s", "is_marked"), [(10.0, False), (10.001, True)])
def test_backfill_marks_what_is_first_sent_late(plant: Plant, age_s: float, *, is_marked: bool) -> None:
    plant.append()
    plant.pass_time(age_s)
    plant.forwarder.connected()
    plant.pump()
    message = json.loads(plant.wire[0][2])
    assert message.get("backfill", False) is is_marked


def test_message_sent_live_is_no_backfill_when_sent_again(online: Plant) -> None:
    online.append(2)
    online.acknowledge(1)
    online.pass_time(100)
    online.forwarder.disconnected()
    online.forwarder.connected()
    online.pump()
    marked = {seq: b"backfill" in payload for _, seq, payload in online.wire}
    assert marked == {1: False, 2: True}  # nobody knows whether 2 ever arrived


def test_broker_mode_is_content_with_the_acknowledgement(tmp_path: Path) -> None:
    plant = Plant(tmp_path / "outbox.db", confirm="broker")
    plant.append(5)
    plant.forwarder.connected()
    plant.forwarder.taking(False)
    assert plant.pump() == [1, 2, 3]
    plant.acknowledge(1, 2)
    assert plant.pump() == [4, 5]
    plant.delete_safe()
    assert [row.seq for row in plant.outbox.peek(0, 10)] == [3, 4, 5]
    plant.file.close()


def test_refused_message_is_not_delivered_and_does_not_spin(online: Plant) -> None:
    online.append()
    attempts = list[int]()
    online.acknowledge(1, ok=False)
    for second in range(1, 100):
        online.pass_time(1)
        if online.pump():
            attempts.append(second)
            online.acknowledge(1, ok=False)
    assert attempts == [5, 15, 35, 75]
    assert online.forwarder.counts.refused == 5
    assert online.outbox.depth == 1
    assert online.forwarder.refused_topics == ["factory/line1/A/telemetry"]


def test_refused_message_waits_although_the_refusal_ends_the_connection(online: Plant) -> None:
    """As HiveMQ does: tried again at each connect, it would end each connection."""
    online.append()
    online.acknowledge(1, ok=False)
    online.forwarder.disconnected()
    online.forwarder.connected()
    online.append()
    assert online.pump() == []
    assert online.sent() == [1, 2]
    online.pass_time(5)
    assert online.pump() == [1]


def test_refused_message_holds_up_no_other(online: Plant) -> None:
    online.append()
    online.acknowledge(1, ok=False)
    online.append(2)
    online.store(2, 3)
    online.append()
    assert online.sent() == [1, 2, 3, 4]
    online.pass_time(5)
    assert online.pump() == [1]
    online.acknowledge(1)
    assert online.forwarder.refused_topics == []


def test_refused_topic_holds_up_no_other_and_flows_once_allowed(online: Plant) -> None:
    refused: set[int] = set()
    for n in range(40):
        online.append(device="AB"[n % 2])
        for seq in list(online.sent()):
            if seq % 2:
                refused.add(seq)
                online.acknowledge(seq, ok=False)
            else:
                online.acknowledge(seq)
                online.store(seq)
        online.pump()
    assert set(range(2, 41, 2)) <= set(online.sent())
    assert len(refused) == 8
    assert online.outbox.depth == 20
    for _ in range(400):
        online.pass_time(1)
        for seq in online.pump():
            online.acknowledge(seq)
            online.store(seq)
    assert online.outbox.depth == 0


def test_all_that_waited_for_a_refused_topic_follows_its_first_acceptance(tmp_path: Path) -> None:
    plant = Plant(tmp_path / "outbox.db", window=100, live_limit=8)
    plant.forwarder.connected()
    plant.append(8)
    plant.acknowledge(*range(1, 9), ok=False)
    plant.append(50)
    assert plant.pump() == []
    plant.pass_time(5)
    assert plant.pump() == list(range(1, 9))
    plant.acknowledge(*range(1, 9))
    assert plant.pump() == list(range(9, 59))
    plant.file.close()


@pytest.fixture
def retrying(tmp_path: Path) -> Iterator[Plant]:
    """So many messages refused that their topic is, five more that wait for it, and an attempt under way."""
    made = Plant(tmp_path / "outbox.db", window=100, live_limit=8)
    made.forwarder.connected()
    made.append(8)
    made.acknowledge(*range(1, 9), ok=False)
    made.append(5)
    made.pass_time(5)
    assert made.pump() == list(range(1, 9))
    yield made
    made.file.close()


def test_confirmation_that_overtakes_the_acknowledgement_ends_a_refusal(retrying: Plant) -> None:
    retrying.store(*range(1, 9))
    retrying.acknowledge(*range(1, 9))
    assert retrying.forwarder.refused_topics == []
    assert retrying.pump() == list(range(9, 14))


def test_attempt_whose_messages_were_dropped_meanwhile_blocks_its_topic_no_longer(retrying: Plant) -> None:
    retrying.forwarder.disconnected()
    retrying.pass_time(100)
    retrying.append(2)
    with transaction(retrying.outbox.connection):
        retrying.outbox.prune(Limits(max_age_ms=50_000), long_after_start(retrying.outbox, retrying.now.epoch_ms))
    retrying.forwarder.look_again()
    retrying.forwarder.connected()
    assert retrying.pump() == [14, 15, 16]
    assert retrying.forwarder.refused_topics == []


def test_attempt_that_the_end_of_the_connection_answers_waits_for_its_pause(retrying: Plant) -> None:
    retrying.forwarder.disconnected()
    retrying.forwarder.connected()
    assert retrying.pump() == []
    retrying.pass_time(10)
    assert retrying.pump() == list(range(1, 9))


def test_refused_message_that_was_dropped_is_forgotten(online: Plant) -> None:
    online.append()
    online.acknowledge(1, ok=False)
    with transaction(online.outbox.connection):
        online.outbox.prune(Limits(max_age_ms=0), long_after_start(online.outbox, online.now.epoch_ms + 1))
    online.forwarder.look_again()
    online.pass_time(5)
    assert online.pump() == [2]
    assert online.forwarder.refused_topics == []


def test_ledger_entry_is_forwarded_and_not_changed_after_that(online: Plant) -> None:
    online.append(3)
    for _ in range(2):
        with transaction(online.outbox.connection):
            online.outbox.prune(Limits(max_age_ms=0), long_after_start(online.outbox, online.now.epoch_ms + 2))
        online.forwarder.look_again()
        online.pump()
    assert [json.loads(p)["lost_seqs"] for _, seq, p in online.wire if seq > 3] == [[[1, 2]]]
    with transaction(online.outbox.connection):
        online.outbox.prune(Limits(max_age_ms=0), long_after_start(online.outbox, online.now.epoch_ms + 9))
    online.forwarder.look_again()
    online.pump()
    assert [json.loads(p)["lost_seqs"] for _, seq, p in online.wire if seq > 3] == [[[1, 2]], [[3, 3]]]


def test_window_below_one_is_refused(plant: Plant) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Forwarder(plant.outbox, lambda _t, _p: None, window=0, live_limit=1)


@pytest.fixture
def unheard(tmp_path: Path) -> Iterator[Plant]:
    """More messages of a device of which ingest confirms nothing than the window holds, and a backlog of others behind."""
    plant = Plant(tmp_path / "outbox.sqlite", window=10, live_limit=50)
    plant.append(30, device="A", age_s=3_600)
    plant.append(40, device="B", age_s=3_600)
    plant.forwarder.connected()
    plant.forwarder.taking(True)
    yield plant
    plant.file.close()


def confirm_others(plant: Plant, seconds: int, *, all_devices: bool = False) -> set[int]:
    """Time goes on with a live message of the other device a second; what ingest has confirmed by then."""
    stored: set[int] = set()
    for _ in range(seconds):
        plant.pass_time(1)
        plant.append(1, device="B")
        plant.pump()
        new = [seq for seq in plant.sent() if (seq > 30 or all_devices) and seq not in stored]
        plant.acknowledge(*new)
        plant.store(*new)
        stored |= set(new)
    return stored


def test_a_device_of_which_ingest_confirms_nothing_keeps_nobody_waiting(unheard: Plant) -> None:
    stored = confirm_others(unheard, 120)
    assert set(range(31, 71)) <= stored
    tried = sum(seq <= 30 for seq in unheard.sent())
    assert 30 <= tried <= 100
    assert unheard.outbox.depth == 30


def test_what_ingest_confirms_after_all_is_sent_at_the_next_try_with_all_that_waited(unheard: Plant) -> None:
    confirm_others(unheard, 120)
    stored = confirm_others(unheard, 400, all_devices=True)
    assert set(range(1, 31)) <= stored
    assert unheard.outbox.depth == 0
