"""Charts for rendered pages, as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

from training.data.page_words import Words

WIDTH = 420
HEIGHT = 240
# Space for labels at the left and at the bottom.
LEFT = 44
BOTTOM = 28
TOP = 12
GRID_LINES = 4
Chart = Callable[[Random, Words, Sequence[str]], str]


def chart(random: Random, words: Words, colours: Sequence[str]) -> str:
    """Draw a chart of a random kind.

    Args:
        random: The source of all random choices.
        words: Draws the labels.
        colours: CSS colours of the series.

    Returns:
        An SVG element as wide as its container. Text and axes have the container's text colour.
    """
    draw = random.choice(CHARTS)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" xmlns="http://www.w3.org/2000/svg">'
        f"{draw(random, words, colours)}</svg>"
    )


def _axes(random: Random, words: Words, ticks: int) -> str:
    return _levels(random) + _ticks(words, ticks)


def _levels(random: Random) -> str:
    step = random.choice((1, 2, 5, 10, 25, 50, 250))
    parts = []
    for line in range(GRID_LINES + 1):
        y = HEIGHT - BOTTOM - line * (HEIGHT - BOTTOM - TOP) / GRID_LINES
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" '
            f'stroke-opacity="{0.7 if line == 0 else 0.15}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{line * step}</text>'
        )
    return "".join(parts)


def _ticks(words: Words, ticks: int) -> str:
    width = (WIDTH - LEFT) / ticks
    return "".join(
        f'<text x="{LEFT + (tick + 0.5) * width:.1f}" y="{HEIGHT - 8}" text-anchor="middle">'
        f"{words.word()[:6]}</text>"
        for tick in range(ticks)
    )


def _y(value: float) -> float:
    """The y coordinate of a value in 0..1, in the chart's units from the top."""
    return TOP + (1 - value) * (HEIGHT - BOTTOM - TOP)


def _bars(random: Random, words: Words, colours: Sequence[str]) -> str:
    groups = random.randint(3, 8)
    series = random.randint(1, 3)
    width = (WIDTH - LEFT) / groups
    bar = 0.75 * width / series
    parts = [_axes(random, words, groups)]
    for place in range(groups * series):
        group, one = divmod(place, series)
        y = _y(random.uniform(0.08, 1))
        x = LEFT + group * width + 0.12 * width + one * bar
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{bar:.1f}" height="{_y(0) - y:.1f}" '
            f'fill="{colours[one % len(colours)]}"/>'
        )
    return "".join(parts)


def _walk(random: Random, count: int) -> list[float]:
    """`count` values in 0..1, each close to the previous one."""
    value = random.uniform(0.2, 0.8)
    values = []
    for _ in range(count):
        value = min(max(value + random.uniform(-0.15, 0.15), 0.03), 1.0)
        values.append(value)
    return values


def _lines(random: Random, words: Words, colours: Sequence[str]) -> str:
    count = random.choice((8, 16, 40, 90))
    filled = random.random() < 0.4
    parts = [_axes(random, words, random.randint(3, 6))]
    for one in range(random.randint(1, 4)):
        colour = colours[one % len(colours)]
        points = [
            f"{LEFT + place * (WIDTH - LEFT) / (count - 1):.1f},{_y(value):.1f}"
            for place, value in enumerate(_walk(random, count))
        ]
        line = " ".join(points)
        if filled:
            parts.append(
                f'<polygon points="{LEFT},{_y(0):.1f} {line} {WIDTH},{_y(0):.1f}" '
                f'fill="{colour}" fill-opacity="0.25"/>'
            )
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return "".join(parts)


def _scatter(random: Random, words: Words, colours: Sequence[str]) -> str:
    parts = [_axes(random, words, random.randint(3, 6))]
    for one in range(random.randint(1, 3)):
        x, y = random.uniform(0.25, 0.75), random.uniform(0.25, 0.75)
        for _ in range(random.randint(15, 60)):
            at = LEFT + (WIDTH - LEFT) * min(max(random.gauss(x, 0.13), 0.01), 0.99)
            height = _y(min(max(random.gauss(y, 0.13), 0.02), 1.0))
            parts.append(
                f'<circle cx="{at:.1f}" cy="{height:.1f}" r="4" fill-opacity="0.7" '
                f'fill="{colours[one % len(colours)]}"/>'
            )
    return "".join(parts)


def _donut(random: Random, words: Words, colours: Sequence[str]) -> str:
    shares = [random.uniform(0.3, 1) for _ in range(random.randint(3, 6))]
    radius = HEIGHT / 2 - 32
    round_about = 2 * math.pi * radius
    start = 0.0
    parts = []
    for one, share in enumerate(shares):
        # Each slice is a dash of a circle's outline, moved to where the previous slice ends.
        length = share / sum(shares) * round_about
        colour = colours[one % len(colours)]
        parts.append(
            f'<circle cx="{HEIGHT / 2}" cy="{HEIGHT / 2}" r="{radius}" fill="none" '
            f'stroke="{colour}" stroke-width="38" stroke-dashoffset="{-start:.1f}" '
            f'stroke-dasharray="{length:.1f} {round_about - length:.1f}"/>'
            f'<rect x="{HEIGHT + 20}" y="{30 + 30 * one}" width="12" height="12" fill="{colour}"/>'
            f'<text x="{HEIGHT + 40}" y="{41 + 30 * one}">{words.word()} '
            f"{share / sum(shares):.0%}</text>"
        )
        start += length
    return "".join(parts)


CHARTS: tuple[Chart, ...] = (_bars, _lines, _scatter, _donut)
