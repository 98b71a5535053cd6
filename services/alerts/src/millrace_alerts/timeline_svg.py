"""When alerts stood, one row each, drawn for any browser. Pure: the same rows give the same text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from millrace_contract.language.times import format_timestamp

WIDTH, ROW, TOP, LEFT, RIGHT = 1000, 24, 48, 250, 190
TICKS = 5
MOST_ROWS = 200
LEAST_WIDTH = 2.0
"""An alert of seconds in a month is seen, too."""

Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """Whose alerts, from when to when they stood (ms), and what the figures of the row say."""

    name: str
    spans: Spans
    figures: str


def timeline_svg(title: str, rows: Sequence[TimelineRow], from_ms: int, to_ms: int) -> str:
    """An SVG image; rows beyond MOST_ROWS are counted in the last line."""
    shown = rows[:MOST_ROWS]
    height = TOP + ROW * (len(shown) + 1) + 30
    left_out = f"and {len(rows) - len(shown)} more rows" if len(rows) > len(shown) else ""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
            f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
            f'<text x="16" y="26" font-size="16">{escape(title)}</text>',
            *_axis(from_ms, to_ms, TOP + ROW * len(shown)),
            *(line for number, row in enumerate(shown) for line in _row(row, TOP + number * ROW, from_ms, to_ms)),
            f'<text x="16" y="{height - 10}" fill="#555">{left_out}</text>',
            "</svg>",
            "",
        ]
    )


def _axis(from_ms: int, to_ms: int, bottom: int) -> Iterator[str]:
    for tick in range(TICKS):
        at_ms = from_ms + (to_ms - from_ms) * tick // (TICKS - 1)
        x = LEFT + (WIDTH - LEFT - RIGHT) * tick / (TICKS - 1)
        yield f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>'
        text = format_timestamp(at_ms)[:16].replace("T", " ")
        yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#555" font-size="11">{text}</text>'


def _row(row: TimelineRow, y: int, from_ms: int, to_ms: int) -> Iterator[str]:
    scale = (WIDTH - LEFT - RIGHT) / max(to_ms - from_ms, 1)
    yield f'<text x="{LEFT - 10}" y="{y + 16}" text-anchor="end">{escape(row.name)}</text>'
    yield f'<line x1="{LEFT}" y1="{y + 12}" x2="{WIDTH - RIGHT}" y2="{y + 12}" stroke="#bbb"/>'
    for start_ms, end_ms in row.spans:
        x, width = LEFT + (start_ms - from_ms) * scale, max((end_ms - start_ms) * scale, LEAST_WIDTH)
        yield f'<rect x="{x:.1f}" y="{y + 4}" width="{width:.1f}" height="{ROW - 8}" fill="#e0752d"/>'
    yield f'<text x="{WIDTH - 16}" y="{y + 16}" text-anchor="end" fill="#555">{escape(row.figures)}</text>'
