"""What can go wrong before a container's program runs."""

from __future__ import annotations


class PrepareError(Exception):
    """The container cannot be what it is to be. The text is told to whoever asked for it."""
