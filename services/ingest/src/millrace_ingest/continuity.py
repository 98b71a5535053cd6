"""What a device's telemetry is to what it sent before, and to the clock. Gaps, repeats, conflicts and lags go to the figures."""

from __future__ import annotations

from millrace_contract.language.streams import sender_of

from .decoder import Accepted
from .figures import Figures
from .lags import UNDECLARED
from .sequences import Sequences, SequenceStep


class Continuity:
    """Owned by the writer thread."""

    def __init__(self, figures: Figures, *, whole: bool) -> None:
        """`whole`: every message comes here; else gaps mean nothing."""
        self.sequences = Sequences(whole=whole)
        self._figures = figures

    def take(self, received_ms: int, message: Accepted, now_s: float, *, is_stored: bool) -> None:
        """Takes note of telemetry. What was not stored comes again, and is no repeat then."""
        device = message.topic.device or ""
        figures = self._figures
        if not message.declared or message.doubted or message.unknown_keys:
            figures.undeclared += not message.declared
            figures.doubted += message.doubted
            figures.unknown_keys += message.unknown_keys
        if not message.backfill:
            figures.lags.note(message.topic.line or "", device, _sender(message), received_ms - message.time_ms)
        if not is_stored:
            return
        content = hash(message.line)
        if message.identity is None:
            step = self.sequences.recognise(device, message.time_ms, message.signals, content, now_s)
        else:
            stream, seq = message.identity
            step = self.sequences.follow(device, stream, seq, message.prev, content, now_s)
        if step is not SequenceStep.NEXT:
            figures.step(step.value)


def _sender(message: Accepted) -> str:
    """Whose clock dated this telemetry."""
    return (sender_of(message.identity.stream) if message.identity is not None else None) or UNDECLARED
