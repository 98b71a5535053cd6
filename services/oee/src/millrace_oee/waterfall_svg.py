"""The waterfall of a document drawn, from all time down to good time, for any browser. Pure: same document, same text."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from millrace_contract.figures.losses import Step, waterfall
from millrace_contract.language.oee_messages import OeeDocument

WIDTH, ROW, TOP, LEFT, RIGHT = 860, 24, 64, 190, 170
TIME_COLOR, LOSS_COLOR, GAIN_COLOR = "#3274d9", "#e0752d", "#56a64b"
HOUR_MS = 3_600_000


def waterfall_svg(document: OeeDocument) -> str:
    """An SVG image. A step without time is left out."""
    steps = [step for step in waterfall(document) if step.ms or not step.is_loss]
    height = TOP + ROW * len(steps) + 30
    device = document.device_id if isinstance(document.device_id, str) else None
    title = f"{document.line}{'' if device is None else ' / ' + device}: {document.window.start} to {document.window.end}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
            f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
            f'<text x="16" y="24" font-size="16">{escape(title)}</text>',
            f'<text x="16" y="46" fill="#555">{escape(_subtitle(document))}</text>',
            *_bars(steps, document.ms["all"]),
            "</svg>",
            "",
        ]
    )


def _bars(steps: list[Step], all_ms: int) -> Iterator[str]:
    scale = (WIDTH - LEFT - RIGHT) / all_ms if all_ms else 0.0
    left_ms = all_ms
    for number, step in enumerate(steps):
        y = TOP + number * ROW
        from_ms, until_ms = (left_ms - step.ms, left_ms) if step.is_loss else (0, step.ms)
        left_ms = from_ms if step.is_loss else step.ms
        low, high = min(from_ms, until_ms), max(from_ms, until_ms)
        color = TIME_COLOR if not step.is_loss else GAIN_COLOR if step.ms < 0 else LOSS_COLOR
        yield f'<text x="{LEFT - 10}" y="{y + 16}" text-anchor="end">{escape(step.name.replace("_", " "))}</text>'
        x, width = LEFT + low * scale, (high - low) * scale
        yield f'<rect x="{x:.1f}" y="{y + 3}" width="{width:.1f}" height="{ROW - 7}" fill="{color}"/>'
        share = f"{100 * step.ms / all_ms:.1f} %" if all_ms else ""
        yield f'<text x="{WIDTH - 90}" y="{y + 16}" text-anchor="end">{step.ms / HOUR_MS:.2f} h</text>'
        yield f'<text x="{WIDTH - 16}" y="{y + 16}" text-anchor="end" fill="#555">{share}</text>'


def _subtitle(document: OeeDocument) -> str:
    named = {name: getattr(document, name) for name in ("oee", "availability", "performance", "quality")}
    figures = ", ".join(f"{name} {'-' if value is None else f'{100 * value:.1f} %'}" for name, value in named.items())
    outside = f", outside: {', '.join(document.basis.outside)}" if document.basis.outside else ""
    known = "" if document.coverage is None else f"; known {100 * document.coverage:.1f} %"
    return f"{figures} ({document.basis.method}{outside}{known})"
