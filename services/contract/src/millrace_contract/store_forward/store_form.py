"""What a store holds: its kind, and whether the tables of a file are those that the kind's steps make."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..errors import CannotStart
from .sqlite import Connection, connect_in_memory

PENDING = "store_set_aside"
"""A table that a file has only until the ledger tells what became of its predecessor: a kill in between must not hide it."""


@dataclass(frozen=True, slots=True)
class StoreKind:
    """What a file of one kind holds. `name` is for a person: "the store of alerts".

    steps: the statements that make each version out of the one before, the first out of nothing. Once released a step never
    changes, for there are files that it made. The first says IF NOT EXISTS: its tables stand in files that carry no version,
    from before versions were counted.
    """

    name: str
    steps: Sequence[Sequence[str]]

    @property
    def version(self) -> int:
        """The version that this program works with."""
        return len(self.steps)


class StoreRefused(CannotStart):
    """The file is not one that this program can work with; it was left as it is."""


def check_form(connection: Connection, kind: StoreKind, path: Path, version: int, *, may_lack_tables: bool = False) -> None:
    """Raises StoreRefused where the tables are not those that the steps up to this version make."""
    found = described(connection)
    with closing(connect_in_memory()) as model:
        take_steps(model, kind.steps[:version])
        wanted = described(model)
    if may_lack_tables:
        wanted = {table: columns for table, columns in wanted.items() if table in found}
    difference = _difference(wanted, found)
    if difference is not None:
        raise StoreRefused(
            str(path),
            f"this is not {kind.name} as version {version} of it is: {difference}; start the program that wrote it, or move the "
            "file away to begin a new one",
        )


def take_steps(connection: Connection, steps: Sequence[Sequence[str]]) -> None:
    for statements in steps:
        for statement in statements:
            connection.execute(statement)


_Columns = list[tuple[str, str, int, int, int]]
"""Name, type, NOT NULL, place in the primary key, generated or not."""


def described(connection: Connection) -> dict[str, _Columns]:
    """The tables as they are, without SQLite's own."""
    names = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~' AND name != ?", (PENDING,)
    ).fetchall()
    columns = 'SELECT name, upper(type), "notnull", pk, hidden FROM pragma_table_xinfo(?) ORDER BY cid'
    return {name: connection.execute(columns, (name,)).fetchall() for (name,) in names}


def _difference(wanted: dict[str, _Columns], found: dict[str, _Columns]) -> str | None:
    """The first thing that is not as it should be, in words."""
    for table in sorted(wanted.keys() | found.keys()):
        if table not in found:
            return f"it has no table {table}"
        if table not in wanted:
            return f"it has a table {table} that does not belong there"
        names, found_names = ([column[0] for column in each[table]] for each in (wanted, found))
        for name in names:
            if name not in found_names:
                return f"table {table} has no column {name}"
        for name in found_names:
            if name not in names:
                return f"table {table} has a column {name} that does not belong there"
        if wanted[table] != found[table]:
            return f"the columns of table {table} are in another order or of other types"
    return None
