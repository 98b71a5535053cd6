"""What tests of outboxes share: drafts whose payload says what the outbox stamped, and a ledger that can be read back."""

import json
from collections.abc import Iterable
from pathlib import Path

from ..language.streams import Stamp
from ..runtime.clock import Now
from ..store_forward.age_guard import HOLD_S
from ..store_forward.losses import Loss, ledger_encoder
from ..store_forward.numbering import Draft
from ..store_forward.outbox import Outbox
from ..store_forward.outbox_file import OutboxFile, open_outbox

SENDER = "gateway-1"
LEDGER = "factory/_platform/gateway/1/ledger"
EPOCH_MS = 1_760_000_000_000


def telemetry(device: str | None, created_ms: int = EPOCH_MS, filler: str = "") -> Draft:
    """A draft that encodes its stamp, and `filler` to make it large."""

    def encode(stamp: Stamp) -> bytes:
        return json.dumps({**stamp._asdict(), "filler": filler}).encode()

    return Draft(f"factory/line1/{device}/telemetry", device, created_ms, encode)


def open_at(path: Path, now_ms: int = EPOCH_MS, sender: str = SENDER, distrust: str | None = None) -> OutboxFile:
    """Open the outbox of SENDER, whose ledger goes to LEDGER."""
    return open_outbox(
        path,
        sender,
        ledger_topic=LEDGER,
        encode_loss=ledger_encoder("gateway", "1"),
        now_ms=now_ms,
        distrust=distrust,
    )


def long_after_start(outbox: Outbox, now_ms: int) -> Now:
    """A moment at which the outbox believes its clock."""
    hour_s = int(HOLD_S)
    outbox.are_ages_known(Now(0.0, now_ms - hour_s * 1000))
    return Now(float(hour_s), now_ms)


def numbers(ranges: Iterable[tuple[int, int]]) -> set[int]:
    """Every number of inclusive ranges."""
    return {number for first, last in ranges for number in range(first, last + 1)}


def lost_numbers(losses: Iterable[Loss]) -> dict[str, set[int]]:
    """What a list of losses says is gone, by stream."""
    lost: dict[str, set[int]] = {}
    for loss in losses:
        lost.setdefault(loss.stream, set()).update(numbers(loss.seqs))
    return lost
