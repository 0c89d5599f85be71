"""Templates to HTML. Everything that is filled in is escaped; what a template does not know is an error."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from hrm import __version__
from hrm.model.ids import short_id
from hrm.model.reports import Amounts
from hrm.model.resources import GPUS, MEMORY, VCORES
from hrm.model.units import LARGEST, format_duration, format_milli, short_memory
from hrm.web import charts
from hrm.web.moments import hour, iso, moment
from hrm.web.page import ROOT, Page, Visit

#: Of a page's template: what is drawn anew while it is open.
LIVE_BLOCK = "main"
#: Sections of the site and where they begin, in the order of the menu.
MENU = (
    ("overview", ""),
    ("gpus", "/gpus"),
    ("queues", "/queues"),
    ("applications", "/applications"),
    ("nodes", "/nodes"),
    ("history", "/history"),
    ("submit", "/submit"),
)


@cache
def environment() -> Environment:
    """One for the process; templates are compiled once."""
    made = Environment(
        loader=PackageLoader("hrm.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(root=ROOT, version=__version__, charts=charts, menu=MENU)
    made.filters.update(
        amount=amount,
        amounts=amounts,
        duration=_duration,
        hour=hour,
        iso=iso,
        memory=short_memory,
        milli=format_milli,
        moment=moment,
        short=short_id,
    )
    # Not imported by each page: what is drawn anew is a block alone, without what stands above it.
    made.globals["macros"] = made.get_template("macros.html").module
    return made


def render(page: Page, visit: Visit, found: Mapping[str, Any]) -> str:
    """The whole document."""
    return environment().get_template(page.template).render(_context(page, visit, found))


def render_live(page: Page, visit: Visit, found: Mapping[str, Any]) -> str:
    """Only what changes by itself."""
    template = environment().get_template(page.template)
    context = template.new_context(_context(page, visit, found))
    return "".join(template.blocks[LIVE_BLOCK](context))


def _context(page: Page, visit: Visit, found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "t": visit.language,
        "visit": visit,
        "identity": visit.identity,
        "section": page.section,
        "live": page.period_s > 0,
        **found,
    }


def _duration(seconds: float | None) -> str:
    return "–" if seconds is None else format_duration(max(0.0, seconds))


def amount(value: int, name: str) -> str:
    """One resource in the words of people: ``1.5``, ``113.8``, ``4G``; three figures are enough for a look."""
    if name == MEMORY:
        return short_memory(value)
    return format_milli(round(value, -2 if value >= 10_000 else -1)) if name.endswith("_milli") else str(value)


def amounts(given: Amounts | None) -> str:
    """``2 CPU · 4G · 1 GPU``; what is zero is left out. "–" for none and for no limit."""
    if given is None:
        return "–"
    # Spaces at which no line is broken.
    units = {VCORES: "\N{NO-BREAK SPACE}CPU", MEMORY: "", GPUS: "\N{NO-BREAK SPACE}GPU"}
    order = sorted(given, key=lambda name: (*units, name).index(name))
    parts = [f"{amount(given[name], name)}{units.get(name, f' {name}')}" for name in order if 0 < given[name] < LARGEST]
    return " · ".join(parts) or "–"
