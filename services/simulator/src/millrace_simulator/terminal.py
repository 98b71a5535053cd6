"""What a person sees on the terminal: the score as tables, the progress of a history as a bar. The only use of rich."""

from __future__ import annotations

from types import TracebackType

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from millrace_contract.language.times import format_timestamp
from millrace_contract.runtime.tables import aligned

from .score import Score


def score_text(score: Score) -> str:
    """The score for a person."""
    devices = []
    for name, device in sorted(score.devices.items()):
        causes = ", ".join(f"{count} {cause}" for cause, count in sorted(device.never_committed.items())) or "0"
        devices.append((name, device.served, device.stored, device.values, device.duplicated, device.wrong, causes))
    streams = [
        (name, f"{stream.first} to {stream.last}", stream.stored, stream.in_ledger, stream.lost)
        for name, stream in score.streams.items()
    ]
    texts = [
        f"{format_timestamp(score.since_ms)} to {format_timestamp(score.until_ms)}\n",
        aligned(("device", "served", "stored", "values", "duplicated", "wrong", "never committed"), devices) + "\n",
        aligned(("stream", "numbers", "stored", "in the ledger", "lost"), streams) + "\n",
    ]
    if score.figures:
        texts.append(f"OEE against the truth\n{_figures(score)}\n")
    for burst in score.bursts:
        length_s = (burst.last_ms - burst.first_ms) / 1000
        texts.append(
            f"served, never committed: {burst.reads} reads of {burst.devices} devices "
            f"at {format_timestamp(burst.first_ms)}, within {length_s:.1f} s"
        )
    texts += score.examples[:20]
    texts.append(f"lost {score.lost}   duplicated {score.duplicated}   wrong {score.wrong}")
    return "\n".join(texts)


def _figures(score: Score) -> str:
    counted = ("changes of state", "seen", "unknown", "missed", "worst", "whole hours", "parts made", "parts counted")
    rows = []
    for name, figure in score.figures.items():
        parts = (figure.windows, figure.parts_served, figure.parts_counted)
        worst = f"{figure.worst_ms / 1000:.2f} s"
        rows.append((name, figure.changes, figure.seen, figure.unknown, figure.missed, worst, *parts))
    return aligned(("device", *counted), rows)


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
