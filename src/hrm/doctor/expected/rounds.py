"""How nodes are looked at again and again, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass

from hrm.doctor.expected.about import about


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """The section `doctor.rounds` of ``hrm.yaml``: rounds of quick checks, and how the scheduler goes by them."""

    every_s: float = about("How often each node looks at itself; 0s: never.", 60.0)
    drain: bool = about("What is critical drains the node, and a sick GPU is taken out; false: it is only shown.", True)
    sick: int = about("Rounds in a row that must find it before a node is drained.", 2)
    well: int = about("Rounds in a row that must find nothing before it is taken back.", 3)
    max_drained_part: float = about(
        "Part of all nodes, and of all GPUs, that may be out for this; one always may.", 0.25
    )
