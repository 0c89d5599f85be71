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


def curves(lines: Sequence[Line], *, label: str, points: int) -> Markup:
    """Curves over the last ``points`` moments, the latest at the right edge."""
    drawn = [
        Markup('<polyline class="curve {}" points="{}"><title>{}</title></polyline>').format(
            line.css, _points(line.values, points), line.title
        )
        for line in lines
    ]
    grid = Markup("").join(
        Markup('<line class="grid" x1="0" x2="{0}" y1="{1}" y2="{1}"/>').format(f"{_WIDTH:g}", f"{_HEIGHT * part:g}")
        for part in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    return Markup(
        '<svg class="curves" viewBox="0 -2 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}{}</svg>'
    ).format(f"{_WIDTH:g}", f"{_HEIGHT + 4:g}", label, grid, Markup("").join(drawn))


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
