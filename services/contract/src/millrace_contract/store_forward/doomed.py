"""Which ledger entries tell of messages that an outbox drops: one a stream and device, exact to the message. Pure."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from .losses import Loss
from .ranges import Range


class Doomed(NamedTuple):
    """A message that is dropped."""

    id: int
    device: str | None
    created_ms: int
    bytes: int


def losses_of(doomed: Iterable[Doomed], runs: list[Range], cause: str, stream_of: Callable[[int], tuple[int, str]]) -> list[Loss]:
    """One loss a stream and device, in the order of their first message. `runs`: the ids of all, as ranges."""
    streams: dict[tuple[int, str], list[Doomed]] = {}
    for message in doomed:
        streams.setdefault(stream_of(message.id), []).append(message)
    losses: list[Loss] = []
    for (first_id, stream), messages in streams.items():
        lowest, highest = messages[0].id, messages[-1].id
        seqs = [
            (max(first, lowest) - first_id + 1, min(last, highest) - first_id + 1)
            for first, last in runs
            if first <= highest and last >= lowest
        ]
        for device, times in _times_by_device(messages).items():
            losses.append(Loss(stream, device, seqs, min(times), max(times), len(times), cause))
    return losses


def _times_by_device(messages: Iterable[Doomed]) -> dict[str | None, list[int]]:
    times: dict[str | None, list[int]] = {}
    for message in messages:
        times.setdefault(message.device, []).append(message.created_ms)
    return times
