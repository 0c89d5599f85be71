"""Pictures as SVG made of figures: no script, no library, and colours that the style sheet gives by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

#: Of every drawing's own coordinates; how large it appears is the style sheet's business.
_WIDTH, _HEIGHT = 600.0, 120.0


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: its values (0 to 1, None where nothing is known), its class and what it is called."""

    values: Sequence[float | None]
    css: str
    title: str


@dataclass(frozen=True, slots=True)
class Layer:
    """One of several that lie on one another: how thick it is at each moment."""

    values: Sequence[float]
    css: str
    title: str


def stack(layers: Sequence[Layer], *, label: str) -> Markup:
    """Layers over time, the first at the bottom, up to 1 or, where they are more together, to the most."""
    count = max((len(layer.values) for layer in layers), default=0)
    whole = scale(layers)
    below, drawn = [0.0] * count, []
    for layer in layers:
        above = [low + value for low, value in zip(below, layer.values, strict=True)]
        if above != below:
            edge = [*enumerate(above), *reversed([*enumerate(below)])]
            points = " ".join(
                f"{_WIDTH * at / max(1, count - 1):.0f},{_HEIGHT * (1 - v / whole):.1f}" for at, v in edge
            )
            drawn.append(
                Markup('<polygon class="layer {}" points="{}"><title>{}</title></polygon>').format(
                    layer.css, points, layer.title
                )
            )
        below = above
    return _picture(Markup("").join(drawn) + _grid(1 / whole), label)


def scale(layers: Sequence[Layer]) -> float:
    """What the upper edge of a stack stands for: 1, or more."""
    sums = (float(sum(values)) for values in zip(*(layer.values for layer in layers), strict=True))
    return max(1.0, max(sums, default=1.0))


def curves(lines: Sequence[Line], *, label: str, points: int) -> Markup:
    """Curves over the last ``points`` moments, the latest at the right edge."""
    drawn = [
        Markup('<polyline class="curve {}" points="{}"><title>{}</title></polyline>').format(
            line.css, _points(line.values, points), line.title
        )
        for line in lines
    ]
    return _picture(_grid(1.0) + Markup("").join(drawn), label)


def _grid(whole: float) -> Markup:
    """Lines at quarters of 1, which stands ``whole`` high."""
    return Markup("").join(
        Markup('<line class="grid" x1="0" x2="{0}" y1="{1:.1f}" y2="{1:.1f}"/>').format(
            f"{_WIDTH:g}", _HEIGHT * (1 - whole * part)
        )
        for part in (0.0, 0.25, 0.5, 0.75, 1.0)
    )


def _picture(drawn: Markup, label: str) -> Markup:
    return Markup(
        '<svg class="curves" viewBox="0 -2 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(f"{_WIDTH:g}", f"{_HEIGHT + 4:g}", label, drawn)


def _points(values: Sequence[float | None], points: int) -> str:
    first = points - len(values)
    return " ".join(
        f"{_WIDTH * (first + index) / max(1, points - 1):.1f},{_HEIGHT * (1 - min(1.0, max(0.0, value))):.1f}"
        for index, value in enumerate(values)
        if value is not None
    )


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar: its length (in the bar's own unit), its class and what it says."""

    value: float
    css: str
    title: str


def bar(parts: Sequence[Part], whole: float, *, label: str, marks: Sequence[Part] = ()) -> Markup:
    """Parts side by side out of ``whole``; ``marks`` are lines across it (``value`` is where)."""
    begin, pieces = 0.0, []
    for part in parts:
        width = 100 * part.value / whole if whole > 0 else 0.0
        width = min(width, 100 - begin)
        if width > 0:
            pieces.append(
                Markup('<rect class="{}" x="{}%" width="{}%" height="100%"><title>{}</title></rect>').format(
                    part.css, f"{begin:.2f}", f"{width:.2f}", part.title
                )
            )
        begin += width
    lines = [
        Markup('<line class="mark {0}" x1="{1}%" x2="{1}%" y1="0" y2="100%"><title>{2}</title></line>').format(
            mark.css, f"{100 * min(1.0, mark.value / whole):.2f}", mark.title
        )
        for mark in marks
        if whole > 0
    ]
    return Markup('<svg class="bar" role="img" aria-label="{}">{}{}</svg>').format(
        label, Markup("").join(pieces), Markup("").join(lines)
    )
