"""What tests of outboxes share: drafts whose payload says what the outbox stamped, and a ledger that can be read back."""

import json
from collections.abc import Iterable
from pathlib import Path

from ..language.streams import Stamp
from ..store_forward.losses import Loss, ledger_encoder
from ..store_forward.numbering import Draft
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


def numbers(ranges: Iterable[tuple[int, int]]) -> set[int]:
    """Every number of inclusive ranges."""
    return {number for first, last in ranges for number in range(first, last + 1)}


def lost_numbers(losses: Iterable[Loss]) -> dict[str, set[int]]:
    """What a list of losses says is gone, by stream."""
    lost: dict[str, set[int]] = {}
    for loss in losses:
        lost.setdefault(loss.stream, set()).update(numbers(loss.seqs))
    return lost
