"""The storm on a terminal: what is broken now, what happened last, how much time is left. The only use of rich."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from .report import Report
from .ride import Weather


class StormScreen:
    """A bar with what is broken beside it, and the timeline above it; without a terminal the timeline alone."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        columns = (TextColumn("{task.fields[left]}"), BarColumn(20), TextColumn("{task.description}", markup=False))
        self._progress = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task: TaskID | None = None

    @contextmanager
    def open(self, seconds: float) -> Iterator[None]:
        with self._progress:
            self._task = self._progress.add_task("", total=seconds, left="")
            yield
            self._task = None

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def show(self, weather: Weather) -> None:
        if self._task is None:
            return
        left_s = max(0.0, weather.storm.seconds - weather.elapsed_s)
        left = f"{int(left_s // 60)}:{int(left_s % 60):02} left" if left_s else "healing"
        backlog = "backlog unknown" if weather.backlog is None else f"backlog {weather.backlog}"
        text = "; ".join([backlog, *weather.now])
        self._progress.update(self._task, completed=weather.elapsed_s, left=left, description=text)


def show_report(report: Report) -> None:
    """The end of a storm for a person, on standard output."""
    console = Console()
    table = Table(title=f"seed {report.seed}, {report.minutes:g} minutes", title_justify="left", show_header=False)
    rows = {
        "lost, duplicated, wrong": f"{report.lost}, {report.duplicated}, {report.wrong}",
        "reads served, stored": f"{report.served:,}, {report.stored:,} ({report.values_compared:,} values compared)",
        "served, never committed": _counts(report.never_committed),
        "ledger entries": _counts(report.ledger_entries),
        "messages in the ledger": f"{report.in_ledger}, of them stored {report.in_ledger_and_stored}",
        "windows of OEE computed again": f"{report.windows}, events of alerts {report.alert_events}; wrong {report.figures_wrong}",
        "kill -9": f"{_counts(report.kills)}; {report.pairs} times two at once",
        "hangs, full disks, clocks off": f"{report.hangs}, {report.full_disks}, {report.clocks_off}",
        "away, seconds": _counts(report.outages),
        "faults of devices": _counts(report.faults),
        "biggest backlog": f"{report.biggest_backlog:,} messages; the longest drain took {report.longest_drain_s:.0f} s",
        "drained at the end": _seconds(report.drained_after_s),
        "everything well": _seconds(report.healed_after_s),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    for line in [*report.surprises, *report.examples[:20]]:
        console.print(line, markup=False, highlight=False)
    console.print("clean" if report.clean else "NOT CLEAN", style="bold green" if report.clean else "bold red")


def _counts(counts: dict[str, int] | dict[str, float]) -> str:
    return ", ".join(f"{count:g} {name}" for name, count in sorted(counts.items())) or "0"


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.0f} s after the last trouble"
