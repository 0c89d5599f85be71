"""What a site checks by itself: its health script."""

from __future__ import annotations

from dataclasses import dataclass

from hrm.doctor.expected.about import about


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthScript:
    """The section `doctor.health_script` of ``hrm.yaml``: a script as YARN's NodeManagers run it."""

    path: str | None = about(
        "A program that prints a line beginning with ERROR where the node is sick (yarn.nodemanager.health-checker."
        "script.path).",
        None,
    )
    arguments: tuple[str, ...] = about("What it is started with (script.opts).", ())
    timeout_s: float = about("It counts as sick where it takes longer; at most 12s.", 10.0)
