"""YARN's Fair Scheduler files as HRM's configuration: ``fair-scheduler.xml`` and ``yarn-site.xml``."""

from __future__ import annotations

from pathlib import Path

from hrm.model.queues import QueueSpec
from hrm.model.scheduling import SchedulerOptions


def read_fair_scheduler(path: Path, yarn_site: Path | None = None) -> tuple[QueueSpec, SchedulerOptions]:
    """The tree of queues (its root) and the options of a scheduler that behaves as YARN's would with these files.

    What `hrm config import` would write, read back; nothing is written. Without ``yarn_site`` YARN's defaults hold.
    `hrm.config.yarn.importer.import_fair_scheduler` gives also the text and what became of each property.
    Raises InvalidInput where a file cannot be read, BadDocument (an InvalidInput) with every finding, each with file
    and line, where one is wrong.
    """
    from hrm.config.yarn.importer import import_fair_scheduler

    config = import_fair_scheduler(Path(path), None if yarn_site is None else Path(yarn_site)).config
    return config.queues, config.scheduler.options
