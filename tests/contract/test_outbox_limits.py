"""What goes when the outbox is at a limit, and the ledger that tells it exactly."""

from contextlib import suppress

import pytest

from millrace_contract.store_forward.limits import Limits
from millrace_contract.store_forward.losses import Loss
from millrace_contract.store_forward.outbox import Outbox
from millrace_contract.store_forward.sqlite import transaction
from millrace_contract.testing.outboxes import EPOCH_MS, long_after_start, lost_numbers, numbers, telemetry

from .outbox_helpers import append, ledger, prune

DAY_MS = 86_400_000


class _Undo(Exception):
    """Makes a transaction roll back."""


def test_nothing_is_dropped_within_the_limits(outbox: Outbox) -> None:
    append(outbox, telemetry("A"))
    assert prune(outbox) == []
    assert ledger(outbox) == []


def test_limit_in_bytes_drops_the_oldest_and_tells_each_device(outbox: Outbox) -> None:
    drafts = [telemetry("AB"[n % 2], EPOCH_MS + n, "x" * 1000) for n in range(100)]
    rows = append(outbox, *drafts)
    losses = prune(outbox, max_bytes=outbox.bytes // 2, now_ms=EPOCH_MS + 5_000)
    kept = [row.seq for row in outbox.peek(0, 1000) if not row.is_ledger]
    assert kept == list(range(kept[0], 101))
    assert outbox.bytes <= sum(len(row.payload) + 200 for row in rows) // 2
    gone = kept[0] - 1
    assert lost_numbers(losses) == {outbox.stream: set(range(1, gone + 1))}
    told = {entry.device_id: entry for entry in ledger(outbox)}
    assert {device: entry.count for device, entry in told.items()} == {"A": (gone + 1) // 2, "B": gone // 2}
    assert {entry.cause for entry in told.values()} == {"limit_bytes"}
    assert told["A"].lost_seqs == told["B"].lost_seqs == [(1, gone)]
    assert told["A"].first == "2025-10-09T08:53:20.000Z"


def test_limit_in_age_drops_what_is_older(outbox: Outbox) -> None:
    append(outbox, *(telemetry("A", EPOCH_MS + n * 1000) for n in range(10)))
    losses = prune(outbox, max_age_ms=5_000, now_ms=EPOCH_MS + 9_000)
    assert [(loss.seqs, loss.count, loss.cause) for loss in losses] == [([(1, 4)], 4, "limit_age")]
    assert [row.seq for row in outbox.peek(0, 100)] == [5, 6, 7, 8, 9, 10, 11]


def test_ledger_tells_only_what_was_still_held(outbox: Outbox) -> None:
    stream = append(outbox, *(telemetry("A", EPOCH_MS + n) for n in range(10)))[0].stream
    with transaction(outbox.connection):
        outbox.confirm(stream, [(3, 5)], EPOCH_MS)
    losses = prune(outbox, max_age_ms=0, now_ms=EPOCH_MS + 8)
    assert [(loss.seqs, loss.count) for loss in losses] == [([(1, 2), (6, 8)], 5)]


def test_losses_of_two_streams_are_told_apart(outbox: Outbox) -> None:
    one = append(outbox, telemetry("A"), telemetry("A", EPOCH_MS + 1))[0].stream
    with transaction(outbox.connection):
        outbox.new_stream()
    two = append(outbox, telemetry("A", EPOCH_MS + 2))[0].stream
    losses = prune(outbox, max_age_ms=0, now_ms=EPOCH_MS + 10)
    assert [(loss.stream, loss.seqs) for loss in losses] == [(one, [(1, 2)]), (two, [(1, 1)])]


@pytest.mark.long
def test_long_outage_ends_with_one_entry_a_device(outbox: Outbox) -> None:
    told: list[Loss] = []
    for n in range(200):
        append(outbox, telemetry("A", EPOCH_MS + 2 * n, "x" * 100), telemetry("B", EPOCH_MS + 2 * n, "x" * 100))
        told += prune(outbox, max_bytes=4_000, now_ms=EPOCH_MS + 2 * n)
    entries = ledger(outbox)
    assert sorted(entry.device_id or "" for entry in entries) == ["A", "B"]
    kept = {row.seq for row in outbox.peek(0, 1000)}
    lost = set().union(*(numbers(entry.lost_seqs) for entry in entries))
    assert len(kept) > 4
    assert lost == lost_numbers(told)[outbox.stream]
    assert lost | kept == set(range(1, max(kept) + 1))
    assert not lost & kept
    assert sum(entry.count for entry in entries) == len(lost)


def test_entry_that_was_sent_is_not_changed_any_more(outbox: Outbox) -> None:
    append(outbox, *(telemetry("A", EPOCH_MS + n) for n in range(4)))
    prune(outbox, max_age_ms=0, now_ms=EPOCH_MS + 2)
    outbox.seal(outbox.peek(0, 100)[-1].id)
    prune(outbox, max_age_ms=0, now_ms=EPOCH_MS + 4)
    assert [(entry.lost_seqs, entry.count) for entry in ledger(outbox)] == [([(1, 2)], 2), ([(3, 4)], 2)]


def test_widened_entry_survives_a_rollback_unchanged(outbox: Outbox) -> None:
    append(outbox, *(telemetry("A", EPOCH_MS + n) for n in range(4)))
    prune(outbox, max_age_ms=0, now_ms=EPOCH_MS + 2)
    with suppress(_Undo), transaction(outbox.connection):
        outbox.prune(Limits(max_age_ms=0), long_after_start(outbox, EPOCH_MS + 4))
        raise _Undo
    assert [entry.lost_seqs for entry in ledger(outbox)] == [[(1, 2)]]
    prune(outbox, max_age_ms=0, now_ms=EPOCH_MS + 4)
    assert sorted(numbers(pair for entry in ledger(outbox) for pair in entry.lost_seqs)) == [1, 2, 3, 4]
    assert sum(entry.count for entry in ledger(outbox)) == 4


def test_ledger_entries_go_last_and_then_are_told_themselves(outbox: Outbox) -> None:
    for n in range(50):
        losses = [Loss("gone.1", f"D{n}", [(1, 5)], EPOCH_MS, EPOCH_MS, 5, "memory_full")]
        with transaction(outbox.connection):
            outbox.append_losses(losses, EPOCH_MS + n)
    append(outbox, *(telemetry("A", EPOCH_MS + n) for n in range(50)))
    first = prune(outbox, max_bytes=outbox.bytes - 1_000)
    assert {loss.cause for loss in first} == {"limit_bytes"}
    assert len(ledger(outbox)) == 51
    causes: list[str] = []
    while outbox.bytes > 3_000:
        causes += [loss.cause for loss in prune(outbox, max_bytes=3_000)]
    assert causes[-1] == "limit_bytes_ledger"
    assert not [row for row in outbox.peek(0, 1000) if not row.is_ledger]


# Files
