"""`hrm nodes gpus`, and how other tables speak of GPUs."""

from __future__ import annotations

from hrm.model.devices import DeviceProcess, DeviceState
from hrm.model.reports import DeviceReport
from tests.unit.cli.cli_fakes import FakeClient, attempt, node_report

CARD = "GeForce RTX 2080 Ti"
DOCKER = DeviceProcess(pid=12786, name="python", user="ada", memory_mib=1249, within="docker 534917b1443a")
OURS = DeviceProcess(pid=4321, name="python", user="me", memory_mib=512, container_id="container_1")
UNSEEN = DeviceProcess(pid=77)


def device(index: int, **fields: object) -> DeviceReport:
    known = {"device_id": f"GPU-{index}", "index": index, "model": CARD, "virtual": False, "free_milli": 1000}
    return DeviceReport(**{**known, **fields})  # type: ignore[arg-type]


def with_gpus(*devices: DeviceReport):
    lent = sum(one.state is DeviceState.LENT for one in devices)
    total = {"memory_mib": 8192, "vcores_milli": 4000, "gpus_milli": 1000 * lent}
    return node_report(devices=list(devices), total=total)


def test_each_gpu_is_a_line_with_how_it_does_and_the_foreign_processes_on_it(hrm, server: FakeClient) -> None:
    server.node_reports = [
        with_gpus(
            device(0, free_milli=500, memory_mib=10989, memory_used_mib=1259, utilisation_percent=37, temperature_c=54,
                   processes=[DOCKER, OURS, UNSEEN]),
            device(1, free_milli=0, state=DeviceState.SICK, message="broken memory"),
        )
    ]  # fmt: skip

    result = hrm("nodes", "gpus")

    assert result.code == 0
    first, second = result.out.splitlines()[1:]
    assert first.split()[:8] == ["box", "0", "GeForce", "RTX", "2080", "Ti", "lent", "0.5"]
    assert "1.2G/10.7G   37%  54 °C" in first
    assert "python 12786 of ada in docker 534917b1443a: 1.2G, 77" in first
    assert "4321" not in first, "what HRM runs there is not foreign"
    assert "sick" in second
    assert second.endswith("broken memory")


def test_a_node_names_the_models_that_it_lends(hrm, server: FakeClient) -> None:
    server.node_reports = [
        with_gpus(device(0), device(1, model="H100"), device(2, state=DeviceState.UNLENT, model="K80"))
    ]

    out = hrm("nodes").out

    assert f"0/2 {CARD}, H100" in out
    assert "K80" not in out


def test_virtual_gpus_are_called_virtual_in_every_table(hrm, server: FakeClient) -> None:
    server.node_reports = [with_gpus(device(0, model="virtual", virtual=True, device_id="VGPU-box-0"))]
    amounts = {"memory_mib": 1024, "vcores_milli": 1000, "gpus_milli": 500}
    server.attempts = [
        attempt(1, 0, device_ids=["VGPU-box-0"], resources=amounts),
        attempt(2, 0, device_ids=["GPU-0"], resources=amounts),
    ]

    assert "0/1 virtual" in hrm("nodes").out
    assert " virtual " in hrm("nodes", "gpus").out
    virtual, real = hrm("history").out.splitlines()[1:]
    assert virtual.endswith("0.5 virtual gpu")
    assert real.endswith("0.5 gpu")


def test_the_model_may_be_named_by_either_option(hrm, server: FakeClient) -> None:
    hrm("submit", "--gpus", "RTX*:2", "--", "true")
    hrm("submit", "--gpus", 2, "--gpu-model", "RTX*", "--", "true")
    hrm("submit", "--gpus", "RTX*:2", "--gpu-model", "RTX*", "--", "true")

    groups = [job.groups[0] for job, *_ in server.submitted]
    assert [(group.gpu_model, group.resources.gpus_milli) for group in groups] == [("RTX*", 2000)] * 3


def test_two_models_are_one_too_many(hrm, server: FakeClient) -> None:
    result = hrm("submit", "--gpus", "H100:1", "--gpu-model", "RTX*", "--", "true")

    assert (result.code, server.submitted) == (2, [])
    assert "--gpu-model: 'RTX*', but --gpus says 'H100'" in result.err


def test_a_model_without_gpus_is_refused(hrm, server: FakeClient) -> None:
    result = hrm("submit", "--gpu-model", "RTX*", "--", "true")

    assert (result.code, server.submitted) == (2, [])
    assert "no GPU is asked for" in result.err


def test_virtual_gpus_of_run_must_be_those_of_the_server_that_is_up(hrm, server: FakeClient) -> None:
    result = hrm("run", "--virtual-gpus", 2, "--detach", "--", "true")

    assert (result.code, server.submitted) == (2, [])
    assert "it has 0 virtual GPUs, not 2" in result.err
    assert hrm("run", "--virtual-gpus", 0, "--detach", "--", "true").code == 0
