"""What tests of the outbox do with it."""

import json
from typing import Any

from millrace_contract.language.messages import Ledger, decode
from millrace_contract.store_forward.limits import Limits
from millrace_contract.store_forward.losses import Loss
from millrace_contract.store_forward.numbering import Draft, Row
from millrace_contract.store_forward.outbox import Outbox
from millrace_contract.store_forward.sqlite import transaction
from millrace_contract.testing.outboxes import EPOCH_MS, long_after_start

DAY_MS = 86_400_000


def append(outbox: Outbox, *drafts: Draft) -> list[Row]:
    with transaction(outbox.connection):
        return outbox.append(drafts)


def stamps(rows: list[Row]) -> list[dict[str, Any]]:
    return [json.loads(row.payload) for row in rows]


def prune(outbox: Outbox, *, max_bytes: int = 10**9, max_age_ms: int = DAY_MS, now_ms: int = EPOCH_MS) -> list[Loss]:
    with transaction(outbox.connection):
        return outbox.prune(Limits(max_bytes, max_age_ms), long_after_start(outbox, now_ms))


def ledger(outbox: Outbox) -> list[Ledger]:
    return [decode(Ledger, row.payload) for row in outbox.peek(0, 100_000) if row.is_ledger]
