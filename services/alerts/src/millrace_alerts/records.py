"""What was last heard of devices and gateways: what an evaluation over a restart goes on from."""

from dataclasses import dataclass, field

import msgspec

from millrace_contract.language.messages import Comms
from millrace_contract.language.telemetry import Value
from millrace_contract.language.words import Quality

from .alert import Alert


class Latest(msgspec.Struct, frozen=True, array_like=True):
    """The newest reading of a signal; `value` None where the quality is bad. `hold_ms`: what its sender promised."""

    at_ms: int
    value: Value | None
    quality: Quality
    hold_ms: int | None = None


class DeviceRecord(msgspec.Struct, kw_only=True):
    """What was last heard of a device. `comms` None: its gateway has not said anything yet.

    Line, title and profile are those of the plant model that knew it last, `version` the profile's; empty in a record of before
    they were kept. gone_ms: since when the plant model does not know it any more.
    stream, seq: of its newest live message; `streams`: where those ended in which it spoke before.
    """

    readings: dict[str, Latest] = {}
    comms: Comms | None = None
    heard_ms: int = 0
    line: str = ""
    title: str = ""
    profile: str = ""
    version: str = ""
    gone_ms: int | None = None
    stream: str = ""
    seq: int = 0
    streams: dict[str, int] = {}

    def newest_good_ms(self, signal: str | None) -> int:
        """When the signal (any, when None) was last good; 0 where it never was."""
        chosen = self.readings.values() if signal is None else [self.readings[signal]] if signal in self.readings else []
        return max((latest.at_ms for latest in chosen if latest.value is not None), default=0)


class Gateway(msgspec.Struct, frozen=True):
    alive: bool
    changed_ms: int


@dataclass
class Saved:
    """What survives a restart."""

    alerts: dict[str, Alert] = field(default_factory=dict)
    devices: dict[str, DeviceRecord] = field(default_factory=dict)
    gateways: dict[str, Gateway] = field(default_factory=dict)
