"""What is in force around a machine: its order and product, and the shift of its line. Pure.

Orders are told by the retained `context` of a device or line, of which the later one holds; shifts by the documents of oee, which
alone reckons with the calendar. What nobody says is no order; which shift it is without oee nobody knows.
"""

from __future__ import annotations

from dataclasses import dataclass

from millrace_contract.language.messages import ContextState
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.times import parse_timestamp
from millrace_contract.language.words import OrderState, WindowKind
from millrace_contract.plant.holds import FOREVER_MS

ORDER, PRODUCT, SHIFT = "@order", "@product", "@shift"
"""What a gate or a table of limits may ask for in place of a signal; no signal has such a name."""
FIGURES_HOLD_MS = 60_000
"""The figures of a shift in progress come every five seconds."""


@dataclass(frozen=True, slots=True)
class HeldAround:
    """`value` empty: there is none. None: nobody knows. `hold_ms`: how long that counts if nothing follows."""

    value: str | None
    hold_ms: int = FOREVER_MS


class AroundMachines:
    """Of the whole plant; owned by one thread."""

    def __init__(self) -> None:
        self._orders: dict[tuple[str, str | None], ContextState] = {}
        self._shifts: dict[str, tuple[str, int, int]] = {}

    def ordered(self, line: str, device: str | None, state: ContextState | None) -> None:
        """None: what was said of it was cleared."""
        self._orders.pop((line, device), None)
        if state is not None and state.order is not None and state.state is not OrderState.PAUSED:
            self._orders[line, device] = state

    def shift_told(self, document: OeeDocument, now_ms: int) -> None:
        """The window in progress of a line or of one of its machines."""
        name = document.window.id.partition("/")[2] if document.window.kind is WindowKind.SHIFT else ""
        self._shifts[document.line] = name, parse_timestamp(document.window.end), now_ms

    def at(self, line: str, device: str, now_ms: int) -> dict[str, HeldAround]:
        """By what may be asked for."""
        found = [each for each in (self._orders.get((line, device)), self._orders.get((line, None))) if each is not None]
        order = max(found, key=lambda each: parse_timestamp(each.since) if each.since else 0, default=None)
        shift = HeldAround(None)
        if line in self._shifts:
            name, end_ms, heard_ms = self._shifts[line]
            hold_ms = min(FIGURES_HOLD_MS, max(end_ms - heard_ms, 0))
            shift = HeldAround(name if now_ms <= heard_ms + hold_ms else None, hold_ms)
        return {
            ORDER: HeldAround("" if order is None else order.order or ""),
            PRODUCT: HeldAround("" if order is None else order.product or ""),
            SHIFT: shift,
        }
