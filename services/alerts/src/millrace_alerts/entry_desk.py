"""Takes what people and MES enter: checks it, keeps it, and hands it over to be sent, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import msgspec

from millrace_contract.language.entries import (
    CHAIN,
    Entry,
    OrderEntry,
    PlacedEntry,
    ReasonEntry,
    ReworkEntry,
    ScrapEntry,
    StepEntry,
    WithdrawalEntry,
    decode_entry,
    kind_of,
    span_of,
)
from millrace_contract.language.messages import ContextState
from millrace_contract.language.streams import Stamp
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.topics import Topics
from millrace_contract.language.words import ContextKind
from millrace_contract.plant import PlantModel, ReasonPath
from millrace_contract.runtime.clock import Now
from millrace_contract.store_forward.numbering import Draft, Row
from millrace_contract.store_forward.outbox import Outbox
from millrace_contract.store_forward.sqlite import Connection

from . import entry_tables as tables
from .entry_rules import (
    EntryRefused,
    check_count,
    check_product,
    check_reason,
    check_stop,
    check_time,
    context_state,
    order_at,
    order_problem,
)
from .entry_tables import EnteredVersion

Asset = tuple[str, str | None]
"""A line, and a device of it or None for the line itself."""
STOPS_LOOKED_AT = 1_000


@dataclass(frozen=True, slots=True)
class EntryCommand:
    """An entry on its way to the worker; its timestamp is given there. `via` names the API token.

    `answer` gets what is kept, or EntryRefused.
    """

    placed: PlacedEntry
    via: str
    answer: Future[Receipt] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class Receipt:
    """`is_new` is False for a repeat of what was entered before. `rows` are to be sent."""

    version: EnteredVersion
    is_new: bool
    rows: tuple[Row, ...] = ()

    @property
    def ordered(self) -> Asset | None:
        """The asset whose order in force may have changed."""
        is_order = self.is_new and self.version.of_kind is ContextKind.ORDER
        return (self.version.placed.line, self.version.placed.device) if is_order else None


class EntryDesk:
    """For the worker's thread, inside its transaction."""

    def __init__(
        self,
        plant: PlantModel,
        reasons: Mapping[str, ReasonPath],
        connection: Connection,
        outbox: Outbox,
        products: Collection[str] = (),
    ) -> None:
        """`products`: those of products.yaml; none where there is no such file."""
        self._plant = plant
        self._products = products
        self._reasons = reasons
        self._connection = connection
        self._outbox = outbox
        self._topics = Topics(plant.root)

    def take(self, command: EntryCommand, now: Now) -> Receipt:
        """Raises EntryRefused, and keeps nothing then."""
        placed, entry = command.placed, command.placed.entry
        earlier = tables.versions(self._connection, entry.id)
        for version in earlier:
            if version.entry.version == entry.version and _same(version.placed, placed):
                return Receipt(version, is_new=False)
        self._check_version(placed, earlier)
        of_kind = earlier[0].of_kind if earlier else kind_of(entry)
        self._check(placed, of_kind, now.epoch_ms)
        rows = self._outbox.append(
            [Draft(self._topics.context_event(placed.line, placed.device), CHAIN, now.epoch_ms, _numbered(entry))]
        )
        sent = decode_entry(rows[0].payload)
        kept = PlacedEntry(placed.line, placed.device, sent)
        tables.save_version(self._connection, kept, of_kind, command.via)
        return Receipt(EnteredVersion(kept, of_kind, command.via, is_last=True), is_new=True, rows=tuple(rows))

    def state(self, asset: Asset, now_ms: int) -> ContextState:
        """What is in force for a machine or line."""
        return context_state(order_at(self._orders(asset), now_ms), now_ms)

    def assets(self) -> list[Asset]:
        """Everything that an order was ever entered for and that is in the plant."""
        return [asset for asset in tables.ordered_assets(self._connection) if self._plant.has_asset(*asset)]

    def _check_version(self, placed: PlacedEntry, earlier: list[EnteredVersion]) -> None:
        entry, last = placed.entry, earlier[-1] if earlier else None
        if last is None:
            if isinstance(entry, WithdrawalEntry):
                raise EntryRefused("not-found", f"there is no entry {entry.id}")
            if entry.version != 1:
                raise EntryRefused("entry-changed", f"there is no entry {entry.id} yet: its first version is 1", version=0)
            return
        if entry.version != last.entry.version + 1:
            detail = (
                f"entry {entry.id} is at version {last.entry.version} and says something else; to replace it send version "
                f"{last.entry.version + 1}"
            )
            raise EntryRefused("entry-changed", detail, version=last.entry.version)
        if (placed.line, placed.device) != (last.placed.line, last.placed.device):
            where = last.placed.device or f"line {last.placed.line}"
            raise EntryRefused("illegal-transition", f"entry {entry.id} is of {where}; take it back and enter it anew elsewhere")
        if not isinstance(entry, WithdrawalEntry) and kind_of(entry) is not earlier[0].of_kind:
            raise EntryRefused(
                "illegal-transition", f"entry {entry.id} is of kind {earlier[0].of_kind}; enter this under another id"
            )

    def _check(self, placed: PlacedEntry, of_kind: ContextKind, now_ms: int) -> None:
        entry = placed.entry
        if of_kind is ContextKind.ORDER:
            orders = [each for each in self._orders((placed.line, placed.device)) if each.id != entry.id]
            if isinstance(entry, OrderEntry):
                check_time(entry, now_ms)
                orders.append(entry)
                check_product(entry, self._products)
            if (problem := order_problem(orders) or self._problem_beside(placed, orders)) is not None:
                raise EntryRefused("illegal-transition", problem)
        match entry:
            case ReasonEntry():
                check_time(entry, now_ms)
                check_reason(entry, self._reasons, self._plant.devices)
                self._check_stop(placed, entry)
            case ScrapEntry() | ReworkEntry():
                check_time(entry, now_ms)
                if placed.device is not None and (time := span_of(entry)) is not None:
                    check_count(entry, tables.figures_of(self._connection, placed.line, placed.device, *time))
            case OrderEntry() | StepEntry() | WithdrawalEntry():
                pass

    def _check_stop(self, placed: PlacedEntry, entry: ReasonEntry) -> None:
        time = span_of(entry)
        if time is None:
            return
        stop_id = getattr(entry.values, "stop", None)
        named = None if stop_id is None else tables.stop_of(self._connection, stop_id)
        if named is not None and named.device_id != placed.device:
            raise EntryRefused("invalid", f"stop {stop_id} is of {named.device_id}")
        span = range(time.start_ms, max(time.start_ms + 1, time.end_ms))
        check_stop(entry, tables.stops_within(self._connection, placed.line, placed.device, span, STOPS_LOOKED_AT), named)

    def _problem_beside(self, placed: PlacedEntry, orders: list[OrderEntry]) -> str | None:
        """Why the orders of a machine cannot be beside those of its line, or the other way round: a machine has one at a time."""
        line = self._plant.lines[placed.line]
        for device in line.devices if placed.device is None else [placed.device]:
            other = self._orders((placed.line, device if placed.device is None else None))
            before = [*self._orders((placed.line, placed.device)), *other]
            # What is impossible already must not keep anybody from mending it.
            if other and order_problem(before) is None and (problem := order_problem([*orders, *other])) is not None:
                return f"{device}: {problem}"
        return None

    def _orders(self, asset: Asset) -> list[OrderEntry]:
        found = tables.in_force(self._connection, ContextKind.ORDER, *asset)
        return [entry for entry in found if isinstance(entry, OrderEntry)]


def _numbered(entry: Entry) -> Callable[[Stamp], bytes]:
    def encode_with_number(stamp: Stamp) -> bytes:
        return msgspec.json.encode(
            msgspec.structs.replace(
                entry, timestamp=format_timestamp(stamp.timestamp_ms), stream=stamp.stream, seq=stamp.seq, prev=stamp.prev
            )
        )

    return encode_with_number


def _same(one: PlacedEntry, other: PlacedEntry) -> bool:
    """Do both say the same of the same? When it was entered, and under which number it was sent, aside."""
    plain = [msgspec.structs.replace(each.entry, timestamp="", stream=None, seq=None, prev=None) for each in (one, other)]
    return (one.line, one.device) == (other.line, other.device) and plain[0] == plain[1]
