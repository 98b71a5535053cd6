"""Why a read failed, sorted by what to do about it. Every failure of a device or its wire becomes one of these, in plain words."""

from __future__ import annotations

from typing import Final

EXCEPTION_WORDS: Final[dict[int, str]] = {
    1: "the device does not know this function",
    2: "the device has no such address",
    3: "the device refuses this request, often for its length",
    4: "the device failed while it answered",
    5: "the device accepted the request but needs longer",
    6: "the device is busy",
    8: "the device found its memory damaged",
    10: "the Modbus gateway on the way has no path to this unit",
    11: "the Modbus gateway on the way got no answer from this unit",
}
"""The exception codes of the Modbus application protocol 1.1b3, section 7."""

UNKNOWN_FUNCTION: Final = 1
DEVICE_FAILED: Final = 4
ACKNOWLEDGED: Final = 5
BUSY: Final = 6
ILLEGAL_ADDRESS: Final = 2
ILLEGAL_VALUE: Final = 3
UNIT_BEHIND_GATEWAY_SILENT: Final = frozenset({10, 11})


OURS: Final = frozenset({"held", "serial", "closed", "unknown_host", "tls", "no_network", "refused_topic"})
"""Kinds of faults that lie on our side of the wire: they say nothing of the device."""


class ReadFault(Exception):
    """A request that brought no data. `kind` is one word for counting, `reason` a sentence for a person."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason

    @property
    def is_ours(self) -> bool:
        """Whether the device may well be there: it was never asked."""
        return self.kind in OURS


class NotConnected(ReadFault):
    """There is no connection (nothing listens, unknown name, no such port): every unit behind it is unreachable."""


class ConnectionDropped(ReadFault):
    """The other side closed the connection before it answered. Worth one immediate second try: idle connections get closed."""


class NoAnswer(ReadFault):
    """The unit is silent, or the Modbus gateway before it says so."""


class RequestRefused(ReadFault):
    """The device answered with a Modbus exception."""

    def __init__(self, code: int) -> None:
        words = EXCEPTION_WORDS.get(code, "a code that the Modbus specification does not define")
        super().__init__(f"exception_{code}", f"Modbus exception {code}: {words}")
        self.code = code

    @property
    def is_about_addresses(self) -> bool:
        """A smaller request may pass: some of the registers do not exist, or the device limits what one request spans."""
        return self.code in (ILLEGAL_ADDRESS, ILLEGAL_VALUE)

    @property
    def is_for_now(self) -> bool:
        """The same request may pass in a moment."""
        return self.code in (ACKNOWLEDGED, BUSY)


class AnswerOwed(ReadFault):
    """The request was not sent: on this RTU line an answer is owed that would pass for its own. No fault of the device."""

    def __init__(self, reason: str) -> None:
        super().__init__("owed", reason)


class WrongAnswer(ReadFault):
    """Bytes came, but not the answer to this request: another function, unit, transaction or length. Its data is not used."""


class MisnumberedAnswer(WrongAnswer):
    """An answer under another transaction number or unit than was asked. `what`: which of them, as a profile tolerates it."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__("mismatched", f"{reason}; if it always does so, `tolerate: [{what}]` in its profile accepts it")
        self.what = what
