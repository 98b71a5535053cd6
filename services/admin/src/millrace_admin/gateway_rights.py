"""Which topics of devices a gateway may write: its own devices', below their lines, and those of no other sender. Pure.

The broker looks through the rules of an account one by one, for each message. So a line of many devices is one rule with a
wildcard, and what of that line is another sender's is refused by name; elsewhere each device is named (decision 0016).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from millrace_contract.language.topics import PLATFORM

NAMED_MOST = 32
"""So many devices of a line are named one by one: half a microsecond a message. A thousand would double the broker's work."""

_ANY_LINE = "+"
"""Where rights were kept before lines were, a past device may have stood below any."""


@dataclass(frozen=True, slots=True)
class AssetTopics:
    """Pairs (line, device), `+` for any: what may be written, and what of it may not after all."""

    allowed: tuple[tuple[str, str], ...]
    refused: tuple[tuple[str, str], ...]


def gateway_topics(
    instance: str,
    gateways: dict[str, tuple[str, ...]],
    places: dict[str, tuple[str, ...]],
    publishers: Iterable[tuple[str, str]],
) -> AssetTopics:
    """`gateways`, `places`: the gateways and the lines of each device, past ones included. `publishers`: pairs (line, device)."""
    mine: dict[str, list[str]] = {}
    others: dict[str, set[str]] = {}
    for device, readers in sorted(gateways.items()):
        for line in places.get(device, (_ANY_LINE,)):
            if instance in readers:
                mine.setdefault(line, []).append(device)
            else:
                others.setdefault(line, set()).add(device)
    for line, device in publishers:
        others.setdefault(line, set()).add(device)
    allowed: list[tuple[str, str]] = []
    refused = [(PLATFORM, "+")] if _ANY_LINE in mine else []
    for line, devices in sorted(mine.items()):
        strangers = others.get(line, set()) - set(devices)
        if line == _ANY_LINE or len(devices) <= NAMED_MOST + 2 * len(strangers):
            allowed += [(line, device) for device in devices]
        else:
            allowed.append((line, "+"))
            refused += [(line, device) for device in sorted(strangers)]
    return AssetTopics(tuple(allowed), tuple(refused))
