"""Who speaks as a device that is not his: what became a dead letter for it lately, in words for the status. Pure."""

from __future__ import annotations

from dataclasses import dataclass

SAID_S = 600.0
"""So long after the last such message it is still said."""
SHOWN = 5
MOST = 1_000


@dataclass(frozen=True, slots=True)
class _Voice:
    reason: str
    last_s: float
    messages: int


class Voices:
    """Changed by the writer thread. Beyond MOST devices the one heard longest ago is forgotten: names may be invented."""

    def __init__(self) -> None:
        self.messages = 0
        """Since the start."""
        self._voices: dict[str, _Voice] = {}

    def note(self, device: str, reason: str, now_s: float) -> bool:
        """A message that may not be of the device was refused; whether that is new of this device."""
        self.messages += 1
        known = self._voices.pop(device, None)
        if known is not None and now_s - known.last_s > SAID_S:
            known = None
        self._voices[device] = _Voice(reason, now_s, 1 if known is None else known.messages + 1)
        if len(self._voices) > MOST:
            del self._voices[next(iter(self._voices))]
        return known is None

    def devices(self, now_s: float) -> int:
        """Devices as which somebody else spoke lately."""
        return len(self._lately(now_s))

    def problems(self, now_s: float) -> list[str]:
        """One for each of these devices. Read by any thread."""
        lately = self._lately(now_s)
        said = [
            f"something publishes as {device} that may not: {voice.reason}; {voice.messages} messages are kept as dead letters "
            "(dead-letters list --reason foreign)"
            for device, voice in lately[:SHOWN]
        ]
        return said + ([f"something publishes as {len(lately) - SHOWN} more devices that may not"] if len(lately) > SHOWN else [])

    def _lately(self, now_s: float) -> list[tuple[str, _Voice]]:
        return [(device, voice) for device, voice in list(self._voices.items()) if now_s - voice.last_s <= SAID_S]
