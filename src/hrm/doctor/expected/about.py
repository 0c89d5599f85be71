"""Fields of what is expected, with what they are for."""

from __future__ import annotations

from dataclasses import MISSING, field
from typing import Any

ABOUT = "about"


def about(text: str, default: Any = MISSING) -> Any:
    """A field of a dataclass of expectations; ``text`` says in ``hrm.yaml``'s documentation what it is for.

    One without a default must be given.
    """
    return field(default=default, metadata={ABOUT: text})


def about_each(text: str) -> Any:
    """The same for a mapping, by hostname for instance; it is empty by default."""
    return field(default_factory=dict, metadata={ABOUT: text})
