"""Which requests read a set of signals: the poll planner. Pure; tested by property.

A *piece* is what one request must read as a whole: one signal, or a group of counters that the profile names together. A *block*
is one request: neighbouring pieces of one table, merged while the gap between them is small and the device's limits allow it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from millrace_contract.plant import Limits, Signal

from .decoder import BIT_TABLES

FUNCTION_CODES: Final[dict[str, int]] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
"""The function that reads each table. There are no others in this package."""


class UnreadableSignals(ValueError):
    """Signals that no request can read within the device's limits, in words for the person who wrote the profile."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Signals that must come from one answer. `address` and `count` span them, in registers or bits."""

    table: str
    address: int
    count: int
    signals: tuple[Signal, ...]

    @property
    def end(self) -> int:
        return self.address + self.count


@dataclass(frozen=True, slots=True)
class Block:
    """One read request and the pieces that its answer holds, in ascending order."""

    table: str
    address: int
    count: int
    pieces: tuple[Piece, ...]

    @property
    def function_code(self) -> int:
        return FUNCTION_CODES[self.table]

    @property
    def signals(self) -> tuple[Signal, ...]:
        return tuple(signal for piece in self.pieces for signal in piece.signals)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(signal.name for signal in self.signals)

    @property
    def payload_bytes(self) -> int:
        """Length of a right answer's data."""
        return (self.count + 7) // 8 if self.table in BIT_TABLES else 2 * self.count

    def __str__(self) -> str:
        last = self.address + self.count - 1
        return f"{self.table} {self.address}" if self.count == 1 else f"{self.table} {self.address} to {last}"


def plan_blocks(signals: Iterable[Signal], atomic: Iterable[Sequence[str]], limits: Limits) -> tuple[Block, ...]:
    """Few requests that read every signal exactly once, in order of table and address.

    Atomic groups count only with the members that are among `signals`. Raises UnreadableSignals for a piece beyond the limits.
    """
    pieces = sorted(_pieces(list(signals), atomic), key=lambda piece: (FUNCTION_CODES[piece.table], piece.address, piece.count))
    blocks: list[Block] = []
    run: list[Piece] = []
    reach = 0  # The end of what the run covers; an atomic piece may reach beyond the ones after it.
    for piece in pieces:
        largest, gap = _table_limits(piece.table, limits)
        if piece.count > largest:
            names = ", ".join(signal.name for signal in piece.signals)
            raise UnreadableSignals(f"{names}: needs {piece.count} in one request, the device allows {largest}")
        if run and not (
            piece.table == run[0].table and piece.address - reach <= gap and max(reach, piece.end) - run[0].address <= largest
        ):
            blocks.append(_block(run))
            run = []
        reach = max(reach, piece.end) if run else piece.end
        run.append(piece)
    if run:
        blocks.append(_block(run))
    return tuple(blocks)


def split_block(block: Block) -> tuple[Block, Block] | None:
    """The block in two, cut at its widest gap (the middle one where gaps are equal), or None for a single piece.

    For a request that the device refuses because of an address in it: the refused part gets smaller with each cut.
    """
    if len(block.pieces) < 2:
        return None
    middle = len(block.pieces) / 2

    def width(cut: int) -> tuple[int, float]:
        reach = max(piece.end for piece in block.pieces[:cut])
        return block.pieces[cut].address - reach, -abs(cut - middle)

    cut = max(range(1, len(block.pieces)), key=width)
    return _block(block.pieces[:cut]), _block(block.pieces[cut:])


def _pieces(signals: list[Signal], atomic: Iterable[Sequence[str]]) -> list[Piece]:
    loose = {signal.name: signal for signal in signals}
    pieces: list[Piece] = []
    for group in atomic:
        members = [loose.pop(name) for name in group if name in loose]
        if members:
            pieces.append(_piece(members))
    return pieces + [_piece([signal]) for signal in loose.values()]


def _piece(members: list[Signal]) -> Piece:
    table = members[0].table
    if any(signal.table != table for signal in members):
        names = ", ".join(signal.name for signal in members)
        raise UnreadableSignals(f"{names}: are to be read in one request, but lie in different tables")
    start = min(signal.address for signal in members)
    end = max(signal.address + signal.registers for signal in members)
    return Piece(table, start, end - start, tuple(sorted(members, key=lambda s: (s.address, s.name))))


def _table_limits(table: str, limits: Limits) -> tuple[int, int]:
    """The largest request and the widest gap to read across. A gap is given in registers; as many bits cost the same bytes."""
    if table in BIT_TABLES:
        return limits.max_bits, 16 * limits.max_gap
    return limits.max_registers, limits.max_gap


def _block(pieces: Sequence[Piece]) -> Block:
    start = min(piece.address for piece in pieces)
    end = max(piece.end for piece in pieces)
    return Block(pieces[0].table, start, end - start, tuple(pieces))
