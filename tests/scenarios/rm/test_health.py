"""What the doctor finds on nodes, and what the scheduler makes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hrm.doctor.expected.rounds import Rounds
from hrm.model.devices import DeviceState
from hrm.model.findings import Finding, Severity, Text
from hrm.model.nodes import DeviceSpec, NodeSpec
from hrm.model.resources import Resources
from hrm.model.states import NodeState
from hrm.testing.builders import node
from hrm.testing.lives import Life, Lives, tasks

CARDS = tuple(
    DeviceSpec(device_id=f"GPU-{name}", index=i, model="RTX 2080 Ti", pci_bus_id=f"00000000:{bus}:00.0")
    for i, (name, bus) in enumerate((("a", "3D"), ("b", "41")))
)
BOX = NodeSpec(node_id="box", total=Resources(8192, 4000)).with_devices(CARDS)


def fault(severity: Severity, *, gpu: str | None = None, code: str = "HRM-TEST-001") -> Finding:
    text = Text("the fan stands still", "风扇停转")
    return Finding(code=code, check="test.fan", severity=severity, title=text, why=text, gpu=gpu)


SICK = fault(Severity.CRITICAL)
SICK_GPU = fault(Severity.ERROR, gpu="0")


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Life]:
    """A server over one machine of 4 vcores, 8 GiB and two GPUs."""
    async with Lives(tmp_path, [BOX]) as lives:
        yield await lives.begin()


@pytest.fixture
async def four(tmp_path: Path) -> AsyncIterator[Life]:
    """A server over four machines, of which none has been looked at for the first time yet."""
    async with Lives(tmp_path, [node(f"n{number}", cpus=2, memory="4G") for number in range(1, 5)]) as lives:
        life = await lives.begin()
        for number in range(1, 5):
            await rounds(life, f"n{number}")
        yield life


async def rounds(life: Life, node_id: str, *findings: Finding, count: int = 1) -> None:
    for _ in range(count):
        life.engine.examine_node(node_id, *findings)
        await life.settle()


def drained(life: Life) -> dict[str, str]:
    """Who drained, by node."""
    return {report.node_id: report.drained_by for report in life.service.nodes() if report.drained_at is not None}


def gpu_task(number: float = 1, *, count: int = 1):
    return tasks(count=count, resources=Resources.parse(cpus=0.5, memory="1G", gpus=number))


async def devices_of(life: Life, app: str) -> list[list[str]]:
    return [report.device_ids for report in life.service.containers(app)]


# --- nodes


async def test_a_node_that_is_found_sick_twice_in_a_row_is_drained_with_the_reason(four: Life) -> None:
    await rounds(four, "n2", SICK)
    assert drained(four) == {}
    await rounds(four, "n2", SICK)

    report = next(report for report in four.service.nodes() if report.node_id == "n2")
    assert (report.state, report.drained_by) == (NodeState.DRAINING, "doctor")
    assert report.drain_reason == "HRM-TEST-001: the fan stands still"


async def test_what_is_sick_one_round_and_well_the_next_never_leaves(four: Life) -> None:
    for _ in range(5):
        await rounds(four, "n2", SICK)
        await rounds(four, "n2")

    assert drained(four) == {}


async def test_a_drained_node_is_back_after_three_rounds_in_which_it_was_well(four: Life) -> None:
    await rounds(four, "n2", SICK, count=2)
    await rounds(four, "n2", count=2)
    assert drained(four) == {"n2": "doctor"}
    await rounds(four, "n2")

    assert drained(four) == {}


async def test_a_relapse_begins_the_count_of_well_rounds_anew(four: Life) -> None:
    await rounds(four, "n2", SICK, count=2)
    await rounds(four, "n2", count=2)
    await rounds(four, "n2", SICK)
    await rounds(four, "n2", count=2)

    assert drained(four) == {"n2": "doctor"}


async def test_a_node_that_is_sick_when_it_is_first_looked_at_takes_nothing(box: Life) -> None:
    await rounds(box, "box", SICK)

    assert drained(box) == {"box": "doctor"}


async def test_what_runs_on_a_drained_node_goes_on_and_what_waits_goes_elsewhere(four: Life) -> None:
    app = await four.submit(tasks(count=1, cpus=2))
    await four.settle()
    where = four.service.containers(app)[0].node_id
    await rounds(four, where, SICK, count=2)
    more = await four.submit(tasks(count=3, cpus=2))
    await four.settle()

    assert [report.node_id for report in four.service.containers(app)] == [where]
    assert where not in {report.node_id for report in four.service.containers(more)}
    assert len(four.service.containers(more)) == 3


@pytest.mark.parametrize("severity", [Severity.INFO, Severity.WARNING, Severity.ERROR])
async def test_what_is_less_than_critical_is_shown_and_drains_nothing(four: Life, severity: Severity) -> None:
    await rounds(four, "n2", fault(severity), count=5)

    assert drained(four) == {}
    report = next(report for report in four.service.nodes() if report.node_id == "n2")
    assert [finding.code for finding in report.findings] == ["HRM-TEST-001"]


async def test_no_more_than_a_quarter_of_the_nodes_is_out_at_once(four: Life) -> None:
    for name in ("n1", "n2", "n3"):
        await rounds(four, name, SICK, count=3)
    assert drained(four) == {"n1": "doctor"}

    await rounds(four, "n1", count=3)
    await rounds(four, "n2", SICK)

    assert drained(four) == {"n2": "doctor"}


async def test_a_node_that_an_operator_has_drained_stays_drained_when_it_is_well(four: Life) -> None:
    await four.service.drain_node("n2", by="ada", reason="new disk")
    await rounds(four, "n2", SICK, count=2)
    await rounds(four, "n2", count=5)

    assert drained(four) == {"n2": "ada"}


async def test_an_operator_who_uses_a_node_again_is_not_contradicted_until_the_fault_has_gone(four: Life) -> None:
    await rounds(four, "n2", SICK, count=2)
    await four.service.undrain_node("n2", by="ada")
    await rounds(four, "n2", SICK, count=4)
    assert drained(four) == {}

    await rounds(four, "n2")
    await rounds(four, "n2", SICK, count=2)

    assert drained(four) == {"n2": "doctor"}


async def test_another_fault_than_the_one_that_was_overruled_drains(four: Life) -> None:
    await rounds(four, "n2", SICK, count=2)
    await four.service.undrain_node("n2", by="ada")
    await rounds(four, "n2", SICK, fault(Severity.CRITICAL, code="HRM-TEST-002"), count=2)

    assert drained(four) == {"n2": "doctor"}


async def test_a_drain_outlives_the_server_and_ends_when_the_node_is_well(tmp_path: Path) -> None:
    async with Lives(tmp_path, [BOX]) as lives:
        life = await lives.begin()
        await rounds(life, "box", SICK)
        await life.close()

        life = await lives.begin()
        assert drained(life) == {"box": "doctor"}
        await rounds(life, "box", count=3)

        assert drained(life) == {}


async def test_who_wants_no_drains_has_none_and_sees_the_findings(tmp_path: Path) -> None:
    async with Lives(tmp_path, [BOX]) as lives:
        lives.rounds = Rounds(drain=False)
        life = await lives.begin()
        await rounds(life, "box", SICK, SICK_GPU, count=3)

        assert drained(life) == {}
        assert [one.state for one in life.service.nodes()[0].devices] == [DeviceState.LENT, DeviceState.LENT]
        assert len(life.service.nodes()[0].findings) == 2


# --- GPUs


@pytest.mark.parametrize("name", ["0", "GPU-a", "0000:3d:00.0"])
async def test_a_sick_gpu_is_taken_out_alone_and_what_runs_on_it_goes_on(box: Life, name: str) -> None:
    app = await box.submit(gpu_task())
    await box.settle()
    await rounds(box, "box", fault(Severity.ERROR, gpu=name))
    second = await box.submit(gpu_task())
    third = await box.submit(gpu_task())
    await box.settle()

    assert await devices_of(box, app) == [["GPU-a"]]
    assert await devices_of(box, second) == [["GPU-b"]]
    assert await devices_of(box, third) == []
    sick, well = box.service.nodes()[0].devices
    assert (sick.device_id, sick.state) == ("GPU-a", DeviceState.SICK)
    assert sick.message == "HRM-TEST-001: the fan stands still"
    assert (well.device_id, well.state) == ("GPU-b", DeviceState.LENT)
    assert drained(box) == {}


async def test_what_runs_on_a_gpu_with_a_critical_fault_goes_to_another_at_no_cost(box: Life) -> None:
    app = await box.submit(gpu_task())
    await box.settle()
    await rounds(box, "box", fault(Severity.CRITICAL, gpu="GPU-a"))
    await box.settle()

    first, second = await box.service.history(app)
    assert (first.device_ids, first.state) == (["GPU-a"], "LOST")
    assert first.message == "HRM-TEST-001: the fan stands still"
    assert (second.device_ids, second.state) == (["GPU-b"], "RUNNING")


async def test_a_gpu_is_back_after_three_rounds_in_which_it_was_well(box: Life) -> None:
    await rounds(box, "box", SICK_GPU)
    app = await box.submit(gpu_task(2))
    await rounds(box, "box", count=2)
    assert await devices_of(box, app) == []

    await rounds(box, "box")

    assert await devices_of(box, app) == [["GPU-a", "GPU-b"]]


async def test_a_gpu_that_is_out_stays_out_when_its_node_comes_back(box: Life) -> None:
    await rounds(box, "box", SICK_GPU)
    box.engine.lose_node("box")
    await box.settle()
    box.engine.return_node("box")
    await box.settle()

    assert box.service.nodes()[0].total["gpus_milli"] == 1000


async def test_no_second_gpu_goes_out_where_that_were_more_than_a_quarter(box: Life) -> None:
    await rounds(box, "box", SICK_GPU, fault(Severity.ERROR, gpu="1"), count=3)

    assert box.service.nodes()[0].total["gpus_milli"] == 1000


async def test_a_gpu_that_the_node_does_not_lend_is_nobodys_business(box: Life) -> None:
    await rounds(box, "box", fault(Severity.ERROR, gpu="7"), count=3)

    assert box.service.nodes()[0].total["gpus_milli"] == 2000


# --- what is told


async def test_a_fault_is_an_event_when_it_is_found_and_when_it_has_gone_and_not_in_between(box: Life) -> None:
    await rounds(box, "box", fault(Severity.WARNING), count=3)
    await rounds(box, "box", count=2)

    rows = [row for row in await box.store.events() if row.kind in ("fault_found", "fault_gone")]
    assert [(row.kind, row.detail["code"]) for row in rows] == [
        ("fault_found", "HRM-TEST-001"),
        ("fault_gone", "HRM-TEST-001"),
    ]


async def test_who_waits_is_told_which_gpu_is_out_and_why(box: Life) -> None:
    await rounds(box, "box", SICK_GPU)
    app = await box.submit(gpu_task(2))
    await box.settle()

    explanation = await box.service.explain(app)

    reason = "HRM-TEST-001: the fan stands still"
    assert {"kind": "gpu_out", "node_id": "box", "device_id": "GPU-a", "reason": reason} in explanation.evidence


async def test_who_waits_is_told_which_node_is_drained_by_whom_and_why(box: Life) -> None:
    await rounds(box, "box", SICK)
    app = await box.submit(tasks())
    await box.settle()

    explanation = await box.service.explain(app)

    reason = "HRM-TEST-001: the fan stands still"
    assert {"kind": "drained", "node_id": "box", "by": "doctor", "reason": reason} in explanation.evidence
    assert explanation.reason == "nodes_not_schedulable"
