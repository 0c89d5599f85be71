"""What is expected of Docker."""

from __future__ import annotations

from dataclasses import dataclass

from hrm.doctor.expected.about import about


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerExpected:
    """The section `doctor.docker` of ``hrm.yaml``."""

    host: str | None = about(
        "The daemon's address as in DOCKER_HOST, if it is not what the docker command takes.", None
    )
    required: bool = about("Jobs on nodes run in Docker: a node whose daemon cannot be used is drained.", False)
    full_part: float = about("Part of the disk with Docker's data from which it counts as nearly full.", 0.9)
