"""The outbox: numbers without gaps, exact deletes, timestamps."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace_contract.language.entries import WithdrawalEntry, decode_entry
from millrace_contract.language.messages import Ledger, decode, numbered
from millrace_contract.language.streams import Stamp, clock_steps
from millrace_contract.store_forward.losses import ledger_encoder
from millrace_contract.store_forward.numbering import Chain, Draft, EncodingFailed, Row, SteppedBack, next_timestamp
from millrace_contract.store_forward.outbox import Outbox
from millrace_contract.store_forward.outbox_file import OUTBOX_STORE
from millrace_contract.store_forward.outbox_steps import OUTBOX_STEPS
from millrace_contract.store_forward.sqlite import transaction
from millrace_contract.store_forward.store_file import open_in_memory, open_store
from millrace_contract.store_forward.store_form import StoreKind
from millrace_contract.testing.outboxes import EPOCH_MS, LEDGER, SENDER, open_at, telemetry

from .outbox_helpers import append, prune, stamps

DAY_MS = 86_400_000


class _Undo(Exception):
    """Makes a transaction roll back."""


def test_sequence_has_no_gaps_and_prev_chains_each_device(outbox: Outbox) -> None:
    first = append(outbox, telemetry("A"), telemetry("B"), telemetry("A", EPOCH_MS + 5))
    second = append(outbox, telemetry(None), telemetry("B", EPOCH_MS + 5))
    got = [(stamp["seq"], stamp["prev"]) for stamp in stamps(first + second)]
    assert got == [(1, None), (2, None), (3, 1), (4, None), (5, 2)]
    assert {row.stream for row in first + second} == {outbox.stream}
    assert outbox.stream.startswith(f"{SENDER}.")


def test_chains_and_stream_go_on_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    file = open_at(path)
    rows = append(file.outbox, telemetry("A"), telemetry("A", EPOCH_MS + 1))
    with transaction(file.outbox.connection):
        file.outbox.confirm(rows[0].stream, [(1, 2)], EPOCH_MS)
    file.close()
    file = open_at(path)
    after = append(file.outbox, telemetry("A", EPOCH_MS + 1))[0]
    file.close()
    assert (after.stream, after.seq) == (rows[0].stream, 3)
    assert json.loads(after.payload)["prev"] == 2
    assert json.loads(after.payload)["timestamp_ms"] == EPOCH_MS + 2  # a tie with what was confirmed and deleted


def test_rolled_back_numbers_are_given_again(outbox: Outbox) -> None:
    append(outbox, telemetry("A"))
    with suppress(_Undo), transaction(outbox.connection):
        outbox.append([telemetry("A", EPOCH_MS + 1), telemetry("A", EPOCH_MS + 2)])
        raise _Undo
    assert outbox.depth == 1
    again = stamps(append(outbox, telemetry("A", EPOCH_MS + 3)))[0]
    assert (again["seq"], again["prev"], again["timestamp_ms"]) == (2, 1, EPOCH_MS + 3)


def test_encoder_that_fails_leaves_nothing_behind(outbox: Outbox) -> None:
    def broken(_stamp: Stamp) -> bytes:
        raise KeyError("signal")

    with pytest.raises(EncodingFailed, match="cannot encode a message for t"), transaction(outbox.connection):
        outbox.append([telemetry("A"), Draft("t", "A", EPOCH_MS, broken)])
    assert outbox.depth == 0
    assert append(outbox, telemetry("A"))[0].seq == 1


def test_outbox_shares_the_transaction_of_its_owners_store(tmp_path: Path) -> None:
    kind = StoreKind("a store", (("CREATE TABLE IF NOT EXISTS state (value INTEGER)", *OUTBOX_STEPS[0]), *OUTBOX_STEPS[1:]))
    connection = open_store(kind, tmp_path / "oee.db", EPOCH_MS).connection
    outbox = Outbox(connection, "oee-1", ledger_topic=LEDGER, encode_loss=ledger_encoder("oee", "1"))
    with transaction(connection):
        connection.execute("INSERT INTO state VALUES (1)")
        outbox.append([telemetry(None)])
    with suppress(_Undo), transaction(connection):
        connection.execute("INSERT INTO state VALUES (2)")
        outbox.append([telemetry(None)])
        raise _Undo
    assert connection.execute("SELECT count(*) FROM state").fetchone() == (1,)
    assert [row.seq for row in outbox.peek(0, 10)] == [1]
    connection.close()


def test_confirmation_deletes_exactly_what_it_names(outbox: Outbox) -> None:
    rows = append(outbox, *(telemetry("A", EPOCH_MS + n) for n in range(10)))
    with transaction(outbox.connection):
        count = outbox.confirm(rows[0].stream, [(2, 4), (4, 5), (9, 9), (9, 9), (8, 7)], EPOCH_MS)
    assert count == 5
    assert [row.seq for row in outbox.peek(0, 100)] == [1, 6, 7, 8, 10]
    assert outbox.depth == 5


@pytest.mark.parametrize("seqs", [[(-5, 0)], [(11, 10**18)], [(0, 0)], []])
def test_confirmation_of_unknown_numbers_does_no_harm(outbox: Outbox, seqs: list[tuple[int, int]]) -> None:
    stream = append(outbox, *(telemetry("A", EPOCH_MS + n) for n in range(10)))[0].stream
    with transaction(outbox.connection):
        assert outbox.confirm(stream, seqs, EPOCH_MS) == 0
        assert outbox.confirm("gateway-1.00000000", [(1, 10)], EPOCH_MS) == 0


def test_confirmation_reaches_a_former_stream_and_never_the_next(outbox: Outbox) -> None:
    old = append(outbox, telemetry("A"), telemetry("A", EPOCH_MS + 1))[0].stream
    with transaction(outbox.connection):
        new = outbox.new_stream()
    append(outbox, telemetry("A"))
    with transaction(outbox.connection):
        assert outbox.confirm(old, [(1, 10**18)], EPOCH_MS) == 2
    assert [(row.stream, row.seq) for row in outbox.peek(0, 10)] == [(new, 1)]
    with transaction(outbox.connection):
        outbox.new_stream()
    assert outbox.ids(old, [(1, 2)]) == [(1, 2)]
    assert outbox.ids(new, [(1, 2)]) == [(3, 3)]


def test_depth_bytes_and_age_follow_every_change(outbox: Outbox) -> None:
    assert (outbox.depth, outbox.bytes, outbox.oldest_created_ms()) == (0, 0, None)
    rows = append(outbox, telemetry("A", EPOCH_MS + 7), telemetry("B", EPOCH_MS + 9))
    assert outbox.oldest_created_ms() == EPOCH_MS + 7
    assert outbox.bytes > sum(len(row.payload) for row in rows)
    with transaction(outbox.connection):
        outbox.delete([(1, 1)])
    assert (outbox.depth, outbox.oldest_created_ms()) == (1, EPOCH_MS + 9)
    with transaction(outbox.connection):
        outbox.delete([(1, 2)])
    assert (outbox.depth, outbox.bytes) == (0, 0)


# Timestamps


@pytest.mark.parametrize(
    ("created_ms", "expected"),
    [
        (1_001_000, (1_001_000, False)),
        (1_000_000, (1_000_001, False)),  # a tie
        (999_999, (1_000_001, True)),
        (940_000, (1_000_001, True)),
    ],
)
def test_timestamp_after_a_million(created_ms: int, expected: tuple[int, bool]) -> None:
    assert next_timestamp(Chain(1, 1_000_000, 1_000_000), created_ms) == expected


def test_step_back_by_more_than_a_minute_is_refused() -> None:
    with pytest.raises(SteppedBack):
        next_timestamp(Chain(1, 1_000_000, 1_000_000), 939_999)


def test_ties_in_a_row_are_no_step_of_the_clock() -> None:
    chain = Chain(3, 1_000_002, 1_000_000)
    assert next_timestamp(chain, 1_000_000) == (1_000_003, False)


@given(st.lists(st.integers(-90_000, 200_000), min_size=1, max_size=40))
def test_timestamps_of_a_device_strictly_increase_within_a_stream(steps: list[int]) -> None:
    connection = open_in_memory(OUTBOX_STORE)
    outbox = Outbox(connection, SENDER, ledger_topic=LEDGER, encode_loss=ledger_encoder("gateway", "1"))
    now_ms, rows = EPOCH_MS, list[Row]()
    for step_ms in steps:
        now_ms += step_ms
        rows += append(outbox, telemetry("A", now_ms))
    last: dict[str, int] = {}
    for row in rows:
        if not row.is_ledger:
            stamp = json.loads(row.payload)
            assert stamp["timestamp_ms"] > last.get(row.stream, 0)
            last[row.stream] = stamp["timestamp_ms"]
    assert [row.seq for row in rows if row.stream == rows[-1].stream][-1] == rows[-1].seq
    connection.close()


def test_clock_far_back_begins_a_stream_and_tells_the_ledger(outbox: Outbox) -> None:
    old = append(outbox, telemetry("A"), telemetry("B"))[0].stream
    rows = append(outbox, telemetry("B", EPOCH_MS + 1), telemetry("A", EPOCH_MS - 3_600_000), telemetry("B", EPOCH_MS - 3_600_000))
    before, entry, *after = rows
    assert (before.stream, before.seq) == (old, 3)
    assert entry.is_ledger
    told = decode(Ledger, entry.payload)
    assert (told.cause, told.count, told.lost_stream, told.device_id) == ("clock_step", 0, old, "A")
    assert [(row.stream, row.seq, json.loads(row.payload)["prev"]) for row in after] == [
        (outbox.stream, 2, None),
        (outbox.stream, 3, None),
    ]
    assert outbox.stream != old


def test_clock_step_is_seen_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    file = open_at(path)
    old = append(file.outbox, telemetry("A"))[0]
    with transaction(file.outbox.connection):
        file.outbox.confirm(old.stream, [(1, 1)], EPOCH_MS)
    file.close()
    file = open_at(path)
    entry, row = append(file.outbox, telemetry("A", EPOCH_MS - 61_000))
    file.close()
    assert decode(Ledger, entry.payload).cause == "clock_step"
    assert row.stream != old.stream


def test_a_streams_name_says_how_often_the_clock_had_stepped_back(tmp_path: Path) -> None:
    path, steps = tmp_path / "outbox.db", []
    for back in range(3):
        file = open_at(path)
        append(file.outbox, telemetry("A", EPOCH_MS - back * 3_600_000))
        steps.append(clock_steps(file.outbox.stream))
        with transaction(file.outbox.connection):
            assert clock_steps(file.outbox.new_stream()) == back  # a stream that begins for another reason
        append(file.outbox, telemetry("A", EPOCH_MS - back * 3_600_000))
        file.close()
    assert steps == [0, 1, 2]
    assert [clock_steps(name) for name in ("edge-1.8f3c", "edge+2.8f3c", "edge-1.8f3c+", "edge-1.8f3c+x", "", "a.b+12")] == [
        0,
        0,
        0,
        0,
        0,
        12,
    ]


def test_message_without_device_has_no_clock(outbox: Outbox) -> None:
    rows = append(outbox, telemetry(None, EPOCH_MS), telemetry(None, EPOCH_MS - DAY_MS))
    assert [stamp["timestamp_ms"] for stamp in stamps(rows)] == [EPOCH_MS, EPOCH_MS - DAY_MS]


# Encoding


def test_numbered_message_carries_its_stamp(outbox: Outbox) -> None:
    event = WithdrawalEntry(id="e1", timestamp="2025-10-15T13:45:02.123Z", version=2)
    row = append(outbox, Draft("factory/line1/A/context/event", None, EPOCH_MS, numbered(event)))[0]
    assert decode_entry(row.payload).seq == 1
    assert decode_entry(row.payload).stream == outbox.stream


def test_message_too_large_to_be_sent_goes_to_the_ledger(outbox: Outbox) -> None:
    rows = append(outbox, telemetry("A"), telemetry("A", EPOCH_MS + 1, "x" * 300_000), telemetry("A", EPOCH_MS + 2))
    assert [(row.seq, row.is_ledger) for row in rows] == [(1, False), (3, True), (4, False)]
    told = decode(Ledger, rows[1].payload)
    assert (told.cause, told.count, told.lost_seqs, told.device_id) == ("too_large", 1, [(2, 2)], "A")
    assert outbox.depth == 3


# Limits and ledger


def measured(device: str, event_ms: int, *, is_copy: bool = False) -> Draft:
    return telemetry(device)._replace(event_ms=event_ms, is_copy=is_copy)


def test_what_a_sensor_measured_stands_at_its_own_time_and_late_ones_outside_the_chain(outbox: Outbox) -> None:
    rows = append(outbox, *(measured("A", EPOCH_MS - ago) for ago in (5000, 9000, 4000, 4000)), telemetry("A"))
    found = [(stamp["seq"], stamp["prev"], EPOCH_MS - stamp["timestamp_ms"]) for stamp in stamps(rows)]
    assert found == [(1, None, 5000), (2, None, 9000), (3, 1, 4000), (4, None, 4000), (5, 3, 0)]


def test_a_copy_counts_only_where_it_is_later_than_all_that_the_chain_has(outbox: Outbox) -> None:
    append(outbox, measured("A", EPOCH_MS - 5000))
    rows = append(outbox, measured("A", EPOCH_MS - 5000, is_copy=True), measured("A", EPOCH_MS - 4000, is_copy=True))
    assert [stamp["seq"] for stamp in stamps(rows)] == [2]


def test_a_clock_of_a_sensor_makes_nothing_too_old_to_be_kept(outbox: Outbox) -> None:
    (now, late, ancient) = append(
        outbox, measured("A", EPOCH_MS - 9000), measured("B", EPOCH_MS - 120_000), measured("C", EPOCH_MS - 99 * DAY_MS)
    )
    assert [EPOCH_MS - row.created_ms for row in (now, late, ancient)] == [0, 120_000, 3_600_000]
    assert prune(outbox) == []
