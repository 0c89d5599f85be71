"""Whose a GPU is and how a queue stands, as the pages show it."""

from __future__ import annotations

from hrm.model.reports import ContainerReport
from hrm.web.owners import held_by_device


def container(name: str, app: str, gpus_milli: int, *devices: str) -> ContainerReport:
    return ContainerReport(
        container_id=name,
        application_id=app,
        task_index=0,
        node_id="n",
        state="RUNNING",
        resources={"gpus_milli": gpus_milli},
        device_ids=list(devices),
        pid=1,
        allocated_at=0,
        started_at=0,
        memory_used_mib=None,
        cpu_used_milli=None,
        read_bytes=None,
        written_bytes=None,
        disk_mib=None,
    )


def test_each_part_of_a_device_has_its_owner() -> None:
    containers = [
        container("c1", "a", 500, "g0"),
        container("c2", "b", 250, "g0"),
        container("c3", "a", 2000, "g1", "g2"),
    ]
    held = held_by_device(containers, {"a": "ada", "b": "bob"})
    assert [(part.user, part.milli) for part in held["g0"]] == [("ada", 500), ("bob", 250)]
    assert [(part.user, part.milli) for part in held["g2"]] == [("ada", 1000)]


def test_a_user_has_one_colour() -> None:
    held = held_by_device([container("c1", "a", 1000, "g0"), container("c2", "a", 1000, "g1")], {"a": "ada"})
    assert held["g0"][0].hue == held["g1"][0].hue
