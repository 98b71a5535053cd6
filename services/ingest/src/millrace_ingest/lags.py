"""How long after their event time live messages arrive, by device: a wrong clock shows itself here. Pure.

A gateway stamps the readings of all its devices with one clock; a third party's sensor has a clock of its own. What comes from
a backlog says nothing of a clock and is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from millrace_contract.language.points import device_lag_line

INTERVAL_S = 30.0
UNDECLARED = "undeclared"
"""Stands for the sender where plant.yaml does not know the device, or not this sender for it."""
MOST_STRANGERS = 1_000
"""Undeclared devices in one interval; of more of them nothing is said, because anybody may invent names."""
AHEAD_MS = 5_000
BEHIND_MS = 60_000
SHOWN = 10


@dataclass(slots=True)
class Lag:
    """Arrival minus event time, in ms, of one device's messages from one sender in one interval."""

    line: str
    device: str
    sender: str
    last_ms: int
    least_ms: int
    most_ms: int
    messages: int = 1


@dataclass
class Lags:
    """Of the interval in progress and of the one before. Changed by the writer thread; what it says may be asked by any."""

    _closed: list[Lag] = field(default_factory=list, repr=False)
    _open: dict[tuple[str, str, str], Lag] = field(default_factory=dict, repr=False)
    _strangers: int = 0
    _closes_s: float | None = None

    def note(self, line: str, device: str, sender: str, lag_ms: int) -> None:
        """A message of a device came. `sender`: a gateway, or UNDECLARED."""
        key = (line, device, sender)
        lag = self._open.get(key)
        if lag is not None:
            lag.last_ms = lag_ms
            lag.messages += 1
            if lag_ms < lag.least_ms:
                lag.least_ms = lag_ms
            elif lag_ms > lag.most_ms:
                lag.most_ms = lag_ms
            return
        if sender == UNDECLARED:
            if self._strangers >= MOST_STRANGERS:
                return
            self._strangers += 1
        self._open[key] = Lag(line, device, sender, lag_ms, lag_ms, lag_ms)

    def close_if_due(self, now_s: float) -> bool:
        """Ends the interval when its time has come; whether it did."""
        if self._closes_s is None:
            self._closes_s = now_s + INTERVAL_S
        if now_s < self._closes_s:
            return False
        self._closes_s = now_s + INTERVAL_S
        self._closed, self._open, self._strangers = list(self._open.values()), {}, 0
        return True

    def lines(self, now_ms: int) -> list[bytes]:
        """The closed interval as points, one a device and sender."""
        return [
            device_lag_line((one.line, one.device, one.sender), now_ms, one.last_ms, one.least_ms, one.most_ms, one.messages)
            for one in self._closed
        ]

    def figures(self) -> dict[str, float]:
        """Over all devices: the median of the latest, the slowest and the fastest, in ms."""
        known = self._known()
        lags = sorted(one.last_ms for one in known)
        return {
            "lag_p50_ms": lags[len(lags) // 2] if lags else 0,
            "lag_max_ms": max((one.most_ms for one in known), default=0),
            "lag_min_ms": min((one.least_ms for one in known), default=0),
        }

    def notes(self) -> list[str]:
        """What a person may want to know of each sender, and of each device that plant.yaml does not know."""
        return _shown([_note(group) for group in _groups(self._known())], "senders")

    def problems(self) -> list[str]:
        """Clocks that must be wrong, ours or theirs."""
        return _shown([problem for group in _groups(self._known()) if (problem := _problem(group))], "clocks")

    def _known(self) -> list[Lag]:
        """The latest whole interval; at first the one in progress."""
        return self._closed or list(self._open.values())


def _groups(lags: Iterable[Lag]) -> list[list[Lag]]:
    """Lags that come of one clock."""
    groups: dict[tuple[str, str], list[Lag]] = defaultdict(list)
    for one in lags:
        groups[one.sender, one.device if one.sender == UNDECLARED else ""].append(one)
    return [groups[key] for key in sorted(groups)]


def _name(group: list[Lag]) -> str:
    one = group[0]
    if one.sender == UNDECLARED:
        return f"undeclared publisher {one.line}/{one.device}"
    return f"gateway {one.sender}"


def _note(group: list[Lag]) -> str:
    slowest = max(group, key=lambda one: one.most_ms)
    least_ms = min(one.least_ms for one in group)
    devices = f" (slowest of {len(group)} devices: {slowest.device})" if len(group) > 1 else ""
    messages = sum(one.messages for one in group)
    return f"{_name(group)}: {messages} messages, {_seconds(least_ms)} to {_seconds(slowest.most_ms)} after their time{devices}"


def _problem(group: list[Lag]) -> str | None:
    least_ms = min(one.least_ms for one in group)
    if least_ms < -AHEAD_MS:
        return f"{_name(group)} dates its readings {_seconds(-least_ms)} ahead of this server's clock: one of the two is wrong"
    if least_ms > BEHIND_MS:
        return (
            f"{_name(group)} dates its readings {_seconds(least_ms)} ago: its clock is wrong, or its messages are long on their way"
        )
    return None


def _seconds(ms: int) -> str:
    return f"{ms / 1000:,.1f} s"


def _shown(texts: list[str], what: str) -> list[str]:
    more = [f"and {len(texts) - SHOWN} more {what}"] if len(texts) > SHOWN else []
    return [*texts[:SHOWN], *more]
