"""Which requests read a set of signals: the poll planner. Pure; tested by property.

A *piece* is what one request must read as a whole: one signal, or a group of counters that the profile names together. A *block*
is one request: neighbouring pieces of one table, merged across the gaps between them where that is cheaper than another request
and the device allows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, product
from typing import Final, NamedTuple

from millrace_contract.plant import AddressRange, Barrier, DeviceLimits, Profile, RegisterSignal

from .decoder import BIT_TABLES
from .request_cost import TCP_COST, RequestCost

Place = tuple[int, int, int] | tuple[int, int, int, int]
"""What to ask for: function code, address, count; and the bytes of a register where these are not two."""

NARROW: Final = 2
WIDE: Final = 4
FUNCTION_CODES: Final[dict[str, int]] = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
"""The function that reads each table. There are no others in this package."""


class UnreadableSignals(ValueError):
    """Signals that no request can read within the device's limits, in words for the person who wrote the profile."""


class RegisterGap(NamedTuple):
    """Addresses that no request reads across: from `start` to before `end`, which are equal for a border between two registers."""

    table: str
    start: int
    end: int

    @property
    def profile_entry(self) -> str:
        """As `must_not_cross` of a profile says it."""
        if self.start == self.end:
            return f"{{table: {self.table}, at: {self.start}}}"
        return f"{{table: {self.table}, first: {self.start}, last: {self.end - 1}}}"

    def lies_between(self, table: str, reach: int, address: int) -> bool:
        return self.table == table and reach <= self.start and self.end <= address


@dataclass(frozen=True, slots=True)
class ReadRules:
    """How a device may be read, and what that costs. `gaps`: those it has refused; a signal in one is read all the same."""

    limits: DeviceLimits = field(default_factory=DeviceLimits)
    atomic: tuple[Sequence[str], ...] = ()
    read_as_one: tuple[AddressRange, ...] = ()
    must_not_cross: tuple[Barrier, ...] = ()
    cost: RequestCost = TCP_COST
    gaps: frozenset[RegisterGap] = frozenset()

    @classmethod
    def of(cls, profile: Profile, cost: RequestCost = TCP_COST, gaps: Iterable[RegisterGap] = ()) -> ReadRules:
        return cls(profile.limits, profile.atomic, profile.read_as_one, profile.must_not_cross, cost, frozenset(gaps))

    def largest(self, table: str, register_bytes: int = NARROW) -> int:
        """The largest request, in registers or bits. An answer holds 250 bytes."""
        if table in BIT_TABLES:
            return self.limits.max_bits
        return min(self.limits.max_registers, 250 // register_bytes)

    def may_merge(self, table: str, reach: int, address: int) -> bool:
        """May a request that ends before `reach` go on to `address`? 16 bits cost the same bytes as a register."""
        widest = 16 * self.limits.widest_gap if table in BIT_TABLES else self.limits.widest_gap
        if address - reach > widest:
            return False
        barriers = (RegisterGap(each.table, each.start, each.end) for each in self.must_not_cross)
        return not any(gap.lies_between(table, reach, address) for gap in (*barriers, *self.gaps))


@dataclass(frozen=True, slots=True)
class Piece:
    """Signals that must come from one answer. `address` and `count` span them, in registers or bits."""

    table: str
    address: int
    count: int
    signals: tuple[RegisterSignal, ...]
    register_bytes: int = NARROW

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
    def register_bytes(self) -> int:
        return self.pieces[0].register_bytes

    @property
    def function_code(self) -> int:
        return FUNCTION_CODES[self.table]

    @property
    def place(self) -> Place:
        """What to ask for."""
        place = FUNCTION_CODES[self.table], self.address, self.count
        return place if self.register_bytes == NARROW else (*place, self.register_bytes)

    @property
    def signals(self) -> tuple[RegisterSignal, ...]:
        return tuple(signal for piece in self.pieces for signal in piece.signals)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(signal.name for signal in self.signals)

    @property
    def payload_bytes(self) -> int:
        """Length of a right answer's data."""
        return (self.count + 7) // 8 if self.table in BIT_TABLES else self.register_bytes * self.count

    @property
    def cost_registers(self) -> float:
        """Its length for the cost: 16 bits are as long as a register."""
        return self.payload_bytes / 2

    def is_part_of(self, other: Block) -> bool:
        """Whether all that it asks for stands in the other, too."""
        is_alike = self.table == other.table and self.register_bytes == other.register_bytes
        return is_alike and other.address <= self.address and self.address + self.count <= other.address + other.count

    def __str__(self) -> str:
        last = self.address + self.count - 1
        return f"{self.table} {self.address}" if self.count == 1 else f"{self.table} {self.address} to {last}"


def plan_blocks(signals: Iterable[RegisterSignal], rules: ReadRules) -> tuple[Block, ...]:
    """The cheapest requests that read every signal exactly once, in order of table and address.

    Atomic groups count only with the members that are among `signals`. Raises UnreadableSignals for a piece beyond the rules.
    """
    pieces = _pieces(list(signals), rules)
    blocks: list[Block] = []
    for table, register_bytes in product(FUNCTION_CODES, (NARROW, WIDE)):
        alike = (piece for piece in pieces if piece.table == table and piece.register_bytes == register_bytes)
        of_table = sorted(alike, key=lambda piece: (piece.address, piece.count))
        for piece in of_table:
            _require_readable(piece, rules)
        blocks += _cheapest(of_table, rules)
    return tuple(blocks)


def _require_readable(piece: Piece, rules: ReadRules) -> None:
    names = ", ".join(signal.name for signal in piece.signals)
    largest = rules.largest(piece.table, piece.register_bytes)
    if piece.count > largest:
        raise UnreadableSignals(f"{names}: needs {piece.count} in one request, the device allows {largest}")
    for barrier in rules.must_not_cross:
        if barrier.table == piece.table and piece.address < barrier.end and barrier.start < piece.end:
            entry = RegisterGap(barrier.table, barrier.start, barrier.end).profile_entry
            raise UnreadableSignals(
                f"{names}: {piece.table} {piece.address} to {piece.end - 1} cannot be read: must_not_cross {entry}"
            )


def _cheapest(pieces: Sequence[Piece], rules: ReadRules) -> list[Block]:
    """Pieces of one table, ascending, cut into requests so that the sum of their costs is least (then: fewest requests, registers).

    best[n] is the cheapest way to read the first n pieces: (cost in ns, requests, registers, where the last request begins). Costs
    are whole numbers, so that equal ways are equal.
    """
    if not pieces:
        return []
    table, register_bytes = pieces[0].table, pieces[0].register_bytes
    largest = rules.largest(table, register_bytes)
    is_bits = table in BIT_TABLES
    round_trip_ns, register_ns = round(rules.cost.round_trip_ms * 1e6), round(rules.cost.register_ms * 1e6)
    reaches = list(accumulate((piece.end for piece in pieces), max))
    merges = [False, *(rules.may_merge(table, reach, piece.address) for reach, piece in zip(reaches, pieces[1:], strict=False))]
    best: list[tuple[int, int, int, int]] = [(0, 0, 0, 0)]
    unread = (1 << 62, 0, 0, 0)
    best += [unread] * len(pieces)
    for first, piece in enumerate(pieces):
        before_ns, before_requests, before_registers, _ = best[first]
        start, reach = piece.address, piece.end
        for last in range(first, len(pieces)):
            if last > first:
                # What reaches furthest may be a piece before this request, which then does not shorten the gap.
                is_known = reach == reaches[last - 1]
                if not (merges[last] if is_known else rules.may_merge(table, reach, pieces[last].address)):
                    break
                reach = max(reach, pieces[last].end)
            count = reach - start
            if count > largest:
                break
            registers = (count + 15) // 16 if is_bits else count * register_bytes // NARROW
            cost_ns = before_ns + round_trip_ns + registers * register_ns
            if cost_ns <= best[last + 1][0]:
                best[last + 1] = min(best[last + 1], (cost_ns, before_requests + 1, before_registers + registers, first))
    blocks: list[Block] = []
    end = len(pieces)
    while end > 0:
        first = best[end][3]
        blocks.append(_block(pieces[first:end]))
        end = first
    return blocks[::-1]


def split_block(block: Block) -> tuple[Block, Block, RegisterGap] | None:
    """The block in two, and what lies between: cut at its widest gap (the middle one of equals), or None for a single piece.

    For a request that the device refuses because of an address in it: the refused part gets smaller with each cut.
    """
    if len(block.pieces) < 2:
        return None
    middle = len(block.pieces) / 2

    def width(cut: int) -> tuple[int, float]:
        reach = max(piece.end for piece in block.pieces[:cut])
        return block.pieces[cut].address - reach, -abs(cut - middle)

    cut = max(range(1, len(block.pieces)), key=width)
    low, high = _block(block.pieces[:cut]), _block(block.pieces[cut:])
    return low, high, RegisterGap(block.table, min(low.address + low.count, high.address), high.address)


def _pieces(signals: list[RegisterSignal], rules: ReadRules) -> list[Piece]:
    loose = {signal.name: signal for signal in signals}
    pieces: list[Piece] = []
    for group in rules.atomic:
        members = [loose.pop(name) for name in group if name in loose]
        if members:
            pieces.append(_piece(members))
    pieces += [_piece([signal]) for signal in loose.values()]
    for whole in rules.read_as_one:
        touched = [p for p in pieces if p.table == whole.table and p.address <= whole.last and whole.first < p.end]
        if len({piece.register_bytes for piece in touched}) > 1:
            names = ", ".join(signal.name for piece in touched for signal in piece.signals)
            raise UnreadableSignals(f"{names}: are to be read as one, but in registers of 16 and of 32 bits")
        if touched:
            start = min(whole.first, *(piece.address for piece in touched))
            end = max(whole.last + 1, *(piece.end for piece in touched))
            members = sorted((s for piece in touched for s in piece.signals), key=lambda s: (s.address, s.name))
            pieces = [piece for piece in pieces if piece not in touched]
            pieces.append(Piece(whole.table, start, end - start, tuple(members), touched[0].register_bytes))
    return pieces


def _piece(members: list[RegisterSignal]) -> Piece:
    table = members[0].table
    is_wide = members[0].wide
    if any(signal.table != table or signal.wide != is_wide for signal in members):
        names = ", ".join(signal.name for signal in members)
        where = "different tables" if any(signal.table != table for signal in members) else "registers of 16 and of 32 bits"
        raise UnreadableSignals(f"{names}: are to be read in one request, but lie in {where}")
    start = min(signal.first for signal in members)
    end = max(signal.end for signal in members)
    in_order = tuple(sorted(members, key=lambda s: (s.address, s.name)))
    return Piece(table, start, end - start, in_order, WIDE if is_wide else NARROW)


def _block(pieces: Sequence[Piece]) -> Block:
    start = min(piece.address for piece in pieces)
    end = max(piece.end for piece in pieces)
    return Block(pieces[0].table, start, end - start, tuple(pieces))
