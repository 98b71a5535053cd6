"""Outboxes of version 1, from before what was confirmed was kept: two streams, with messages that wait between confirmed ones.

`version-1.tar.xz` holds them as a kill left them, a log beside each. In the first stream (1 to 40) 31, 32 and 36 to 40 wait, in the
second (1 to 20) 1 to 5.
"""

import tarfile
from pathlib import Path

import pytest

from millrace_alerts.store import ALERTS_STORE
from millrace_contract.store_forward.losses import ledger_encoder
from millrace_contract.store_forward.outbox_file import OUTBOX_STORE, outbox_in
from millrace_contract.store_forward.sqlite import transaction
from millrace_contract.store_forward.store_file import open_store
from millrace_contract.testing.outboxes import EPOCH_MS, telemetry
from millrace_oee.store import OEE_STORE

KINDS = {
    "outbox.sqlite": (OUTBOX_STORE, "edge-1"),
    "oee.db": (OEE_STORE, "oee-1"),
    "alerts.db": (ALERTS_STORE, "alerts-1"),
}
WAIT = [31, 32, 36, 37, 38, 39, 40, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", KINDS)
def test_the_same_messages_wait_and_what_is_confirmed_from_now_on_is_kept(tmp_path: Path, name: str) -> None:
    with tarfile.open(Path(__file__).parent / "fixtures" / "version-1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    kind, sender = KINDS[name]
    store = open_store(kind, tmp_path / name, EPOCH_MS)
    assert store.set_aside is None
    assert (tmp_path / f"{name}.copy-of-version-1").exists()
    outbox, _ = outbox_in(store, sender, ledger_topic="l", encode_loss=ledger_encoder("s", "1"), now_ms=EPOCH_MS)
    waiting = outbox.peek(0, 1_000)
    assert [row.seq for row in waiting] == WAIT
    assert (outbox.depth, outbox.kept) == (len(WAIT), 0)
    with transaction(store.connection):
        [row] = outbox.append([telemetry("CNC-01", EPOCH_MS + 10**6)])
        assert outbox.confirm(waiting[0].stream, [(1, 40)], EPOCH_MS) == 7
    assert (row.stream, row.seq) == (waiting[-1].stream, 21)
    assert (outbox.depth, outbox.kept) == (6, 7)
    store.close()
