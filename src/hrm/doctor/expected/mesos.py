"""What is expected of Mesos."""

from __future__ import annotations

from dataclasses import dataclass

from hrm.doctor.expected.about import about


@dataclass(frozen=True, slots=True, kw_only=True)
class MesosExpected:
    """The section `doctor.mesos` of ``hrm.yaml``."""

    directories: tuple[str, ...] = about(
        "Directories with mesos-agent-env.sh, masters and slaves, where they are not found by themselves.", ()
    )
    scripts: tuple[str, ...] = about("Scripts of your own that start masters or agents, to be looked at too.", ())
    gpus: tuple[int, ...] | None = about("GPUs that the agent of every node is to lend, by index.", None)
