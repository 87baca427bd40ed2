"""Plots: SVG that the server draws, without scripts or styles of its own; the figures stand in a table beside it."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from mucs.text import for_terminal

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 200, 44, 24, 12
SHOWN = 60  # characters of a text in a plot


def _svg(width: float, height: float, title: str, parts: Sequence[Markup]) -> Markup:
    head = Markup('<svg class="plot" viewBox="0 0 {:.0f} {:.0f}" role="img" aria-label="{}"><title>{}</title>').format(
        width, height, for_terminal(title), for_terminal(title)
    )
    return head + Markup("").join(parts) + Markup("</svg>")


def _text(x: float, y: float, text: str, kind: str = "") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" class="{}">{}</text>').format(x, y, kind, for_terminal(text, SHOWN))


def _line(x1: float, y1: float, x2: float, y2: float, kind: str = "axis") -> Markup:
    return Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>').format(x1, y1, x2, y2, kind)


def bars(title: str, bars: Sequence[tuple[str, float]]) -> Markup:
    """Shares, a bar each, from nought to the largest."""
    most = max((value for _, value in bars), default=0) or 1
    step = (WIDTH - LEFT) / max(len(bars), 1)
    wide = min(48.0, step * 0.7)
    down = HEIGHT - BOTTOM
    parts = [
        _line(LEFT, down, WIDTH, down),
        _text(LEFT - 6, TOP + 4, f"{100 * most:.0f} %", "end"),
        _text(LEFT - 6, down, "0", "end"),
    ]
    for place, (name, value) in enumerate(bars):
        x, high = LEFT + place * step + (step - wide) / 2, (down - TOP) * value / most
        tip = f"{name}: {100 * value:.1f} %"
        parts.append(
            Markup(
                '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="bar"><title>{}</title></rect>'
            ).format(x, down - high, wide, high, for_terminal(tip))
        )
        if place % max(1, len(bars) // 12) == 0:
            parts.append(_text(x + wide / 2, HEIGHT - 6, name, "middle"))
    return _svg(WIDTH, HEIGHT, title, parts)


def scatter(title: str, points: Sequence[tuple[float, float]], across: str, up: str) -> Markup:
    """Points from −1 to 1, with the line on which both are the same."""
    side, edge = 360, 40
    inner = side - 2 * edge

    def at(x: float, y: float) -> tuple[float, float]:
        x, y = (max(-1.0, min(1.0, value)) for value in (x, y))
        return edge + (x + 1) / 2 * inner, edge + (1 - y) / 2 * inner

    parts = [
        Markup('<rect x="{}" y="{}" width="{}" height="{}" class="frame"/>').format(edge, edge, inner, inner),
        _line(*at(-1, -1), *at(1, 1), "same"),
        _line(*at(0, -1), *at(0, 1)),
        _line(*at(-1, 0), *at(1, 0)),
        _text(side / 2, side - 10, across, "middle"),
        Markup('<text x="{}" y="{}" class="middle" transform="rotate(-90 14 {})">{}</text>').format(
            14, side / 2, side / 2, for_terminal(up, SHOWN)
        ),
    ]
    parts += [Markup('<circle cx="{:.1f}" cy="{:.1f}" r="2.5" class="point"/>').format(*at(*point)) for point in points]
    return _svg(side, side, title, parts)


def strip(title: str, rows: Sequence[dict[str, Any]], today: datetime.date) -> Markup:
    """Rights in two times: across, the days that a row holds for; down, when it was recorded. The lowest that covers a day counts."""
    days = [row["valid_from"] for row in rows] + [row["valid_to"] for row in rows if row["valid_to"]] + [today]
    first, last = min(days), max(days)
    room = max(30, (last - first).days // 10)
    first, last = first - datetime.timedelta(days=room), last + datetime.timedelta(days=room)
    left, high = 150, 26
    height = TOP + high * len(rows) + 40

    def at(day: datetime.date) -> float:
        return left + (WIDTH - left - 8) * float((day - first) / (last - first))

    parts: list[Markup] = []
    for place, row in enumerate(rows):
        y = TOP + place * high
        x, end = at(row["valid_from"]), at(row["valid_to"] or last)
        told = f"{row['standing']} to {row['rights_holder']}, {row['licence']}, from {row['valid_from']}" + (
            f" until {row['valid_to']}" if row["valid_to"] else ""
        )
        kind = "right" if row["standing"] == "granted" else "right no"
        parts.append(_text(left - 8, y + 16, f"known {row['recorded_at']:%Y-%m-%d}", "end"))
        parts.append(
            Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{}" class="{}"><title>{}</title></rect>').format(
                x, y + 3, max(2.0, end - x), high - 8, kind, for_terminal(told)
            )
        )
        parts.append(_text(x + 5, y + 16, row["standing"], "in"))
    bottom = TOP + high * len(rows) + 6
    parts += [_line(left, bottom, WIDTH - 8, bottom), _line(at(today), TOP - 6, at(today), bottom, "today")]
    parts.append(_text(at(today), bottom + 28, "today", "middle"))
    for year in range(first.year + 1, last.year + 1):
        if (year - first.year) % max(1, (last.year - first.year) // 8) == 0:
            parts.append(_text(at(datetime.date(year, 1, 1)), bottom + 15, str(year), "middle"))
    return _svg(WIDTH, height, title, parts)
