"""Whose a GPU is and how a queue stands, as the pages show it."""

from __future__ import annotations

from hrm.model.devices import DeviceProcess
from hrm.model.reports import ContainerReport, DeviceReport
from hrm.web.owners import GRACE_S, HUES, held_by_device, hues_of, unused


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


def test_no_two_users_have_one_colour_while_there_are_enough() -> None:
    users = [f"user{number}" for number in range(HUES)]

    assert sorted(hues_of(users).values()) == list(range(HUES))
    assert len(hues_of([*users, "one", "more"])) == HUES + 2


def gpu(device_id: str, *processes: DeviceProcess, utilisation: int | None = 0) -> DeviceReport:
    return DeviceReport(
        device_id=device_id,
        index=0,
        model="m",
        virtual=False,
        free_milli=0,
        utilisation_percent=utilisation,
        processes=list(processes),
    )


def test_a_gpu_that_is_held_for_a_while_without_a_process_is_told() -> None:
    containers = [container(f"c{name}", "a", 1000, name) for name in ("idle", "busy", "foreign", "untold")]
    held = held_by_device(containers, {"a": "ada"})
    devices = [
        gpu("idle"),
        gpu("busy", DeviceProcess(pid=1, container_id="cbusy")),
        gpu("foreign", DeviceProcess(pid=1)),
        gpu("untold", utilisation=None),
        gpu("free"),
    ]

    assert unused(devices, held, now=GRACE_S + 1) == {"idle", "foreign"}
    assert unused(devices, held, now=GRACE_S - 1) == set()
