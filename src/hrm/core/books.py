"""All state of the scheduler, for those within the core that only read it: checks, explanations, reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hrm.core.applications import App
from hrm.core.nodes import Node
from hrm.core.queues import Queue
from hrm.model.ids import ApplicationId


@dataclass(frozen=True, slots=True)
class Books:
    """The live objects, not copies: whoever changes one breaks the books."""

    root: Queue
    nodes: Mapping[str, Node]
    apps: Mapping[ApplicationId, App]
