"""Pictures on the terminal: the score as tables, the progress of a history as a bar. The only use of rich."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from millrace_contract.language.times import format_timestamp

from .score import Score


def show_score(score: Score) -> None:
    """The score for a person, on standard output."""
    console = Console()
    table = Table(title=f"{format_timestamp(score.since_ms)} to {format_timestamp(score.until_ms)}", title_justify="left")
    table.add_column("device")
    for heading in ("served", "stored", "values", "duplicated", "wrong", "never committed"):
        table.add_column(heading, justify="right")
    for name, device in sorted(score.devices.items()):
        causes = ", ".join(f"{count} {cause}" for cause, count in sorted(device.never_committed.items())) or "0"
        figures = (device.served, device.stored, device.values, device.duplicated, device.wrong)
        table.add_row(name, *(str(figure) for figure in figures), causes)
    console.print(table)
    table = Table()
    table.add_column("stream")
    for heading in ("numbers", "stored", "in the ledger", "lost"):
        table.add_column(heading, justify="right")
    for name, stream in score.streams.items():
        span = f"{stream.first} to {stream.last}"
        table.add_row(name, span, str(stream.stored), str(stream.in_ledger), str(stream.lost))
    console.print(table)
    if score.figures:
        console.print(_figures(score))
    for burst in score.bursts:
        length_s = (burst.last_ms - burst.first_ms) / 1000
        console.print(
            f"served, never committed: {burst.reads} reads of {burst.devices} devices "
            f"at {format_timestamp(burst.first_ms)}, within {length_s:.1f} s"
        )
    for example in score.examples[:20]:
        console.print(example, markup=False, highlight=False)
    console.print(f"lost {score.lost}   duplicated {score.duplicated}   wrong {score.wrong}", style="bold")


def _figures(score: Score) -> Table:
    table = Table(title="OEE against the truth", title_justify="left")
    table.add_column("device")
    for heading in ("changes of state", "seen", "unknown", "missed", "worst", "whole hours", "parts made", "parts counted"):
        table.add_column(heading, justify="right")
    for name, figure in score.figures.items():
        counts = (figure.changes, figure.seen, figure.unknown, figure.missed)
        parts = (figure.windows, figure.parts_served, figure.parts_counted)
        table.add_row(name, *map(str, counts), f"{figure.worst_ms / 1000:.2f} s", *map(str, parts))
    return table


class Bar:
    """A bar that fills up to `whole`, with a text beside it."""

    def __init__(self, title: str, whole: float, *, is_shown: bool) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[beside]}"), TimeElapsedColumn())
        self._progress = Progress(*columns, TimeRemainingColumn(), disable=not is_shown)
        self._task = self._progress.add_task(title, total=whole, beside="")

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def reach(self, done: float, beside: str) -> None:
        self._progress.update(self._task, completed=done, beside=beside)
