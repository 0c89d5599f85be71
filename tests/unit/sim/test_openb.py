"""Reading Alibaba's GPU cluster trace: what lines mean, and what is said of bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.config.documents import BadDocument
from hrm.model.errors import InvalidInput
from hrm.model.resources import Resources
from hrm.sim.traces.openb import Pod, read_nodes, read_pods

NODES = "sn,cpu_milli,memory_mib,gpu,model\n"
PODS = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.csv"


def findings(read: object, file: Path, text: str) -> list[str]:
    file.write_text(text)
    with pytest.raises(BadDocument) as caught:
        read(file)  # type: ignore[operator]
    return [str(finding).removeprefix(f"{file}:") for finding in caught.value.findings]


def test_a_node_has_devices_of_its_model(file: Path) -> None:
    file.write_text(NODES + "n1,64000,262144,2,P100\nn2,8000,1024,0,\n")

    first, second = read_nodes(file)

    assert first.total == Resources(262144, 64000, 2000)
    assert [(device.device_id, device.model) for device in first.devices] == [("n1/0", "P100"), ("n1/1", "P100")]
    assert (second.total, second.devices) == (Resources(1024, 8000), ())


def test_a_pod_asks_for_a_part_of_a_gpu_for_whole_ones_or_for_none(file: Path) -> None:
    file.write_text(PODS + "a,6000,12288,1,460\nb,88000,65536,8,1000\n\nc,1000,512,0,0\n")

    assert [pod.resources for pod in read_pods(file)] == [
        Resources(12288, 6000, 460),
        Resources(65536, 88000, 8000),
        Resources(512, 1000, 0),
    ]


def test_times_and_models_are_read_where_there_are_such_columns(file: Path) -> None:
    header = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time\n"
    file.write_text(header + "a,1000,1,1,1000,T4,LS,Running,5,90\nb,1000,1,1,1000,,BE,Pending,7,\n")

    assert read_pods(file) == [
        Pod(name="a", resources=Resources(1, 1000, 1000), gpu_model="T4", created_s=5, deleted_s=90),
        Pod(name="b", resources=Resources(1, 1000, 1000), created_s=7),
    ]


def test_every_wrong_cell_is_told_at_once_with_line_and_column(file: Path) -> None:
    text = "n1,64k,1,2,P100\nn2,1000,-5,0,\n,1000,1,0,\nn4,1000,1,1,\nn4,1000,1,0,\nn 5,1000,1,0,\nn6,1,1,300,T4\n"

    assert findings(read_nodes, file, NODES + text) == [
        "2: cpu_milli: not a whole number: '64k'",
        "3: memory_mib: must be at least 0: -5",
        "4: sn: is empty",
        *[
            line
            for line in findings(read_nodes, file, NODES + text)
            if line.startswith("4: sn: ") and "empty" not in line
        ],
        "5: model: a node with GPUs has a model",
        "6: sn: 'n4' is there already",
        "7: sn: not a node id: 'n 5'",
        "8: gpu: must be between 0 and 256: 300",
    ]


def test_what_no_task_can_be_is_told(file: Path) -> None:
    times = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,creation_time,deletion_time\n"
    text = "a,1,1,2,500,,,\nb,1,1,1,0,,,\nc,0,0,0,0,,,\nd,1,1,1,1001,,,\ne,1,1,1,1000,A|B,,\nf,1,1,0,0,,9,8\n"

    assert findings(read_pods, file, times + text) == [
        "2: gpu_milli: 2 GPUs are whole ones, 1000 each: 500",
        "3: gpu_milli: must be above 0 where num_gpu is 1",
        "4: cpu_milli: the task asks for nothing",
        "5: gpu_milli: must be above 0 where num_gpu is 1",
        "5: gpu_milli: must be between 0 and 1000: 1001",
        "6: gpu_spec: several models for one task are not supported: 'A|B'",
        "7: deletion_time: 8 is before creation_time, 9",
    ]


def test_a_file_that_was_cut_off_is_told_where(file: Path) -> None:
    assert findings(read_pods, file, PODS + "a,1000,1,0,0\nb,1000") == [
        "3: cpu_milli: ends here: 2 cells under 5 columns"
    ]


def test_a_file_of_another_kind_is_told_by_its_header(file: Path) -> None:
    (finding,) = findings(read_nodes, file, PODS + "a,1000,1,0,0\n")

    assert finding.startswith("1: has no column sn, gpu, model; it begins with")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "has no column"),
        (PODS.encode(), "has no line below its header"),
        (b"\xff\xfe\x00", "is no text in UTF-8"),
    ],
)
def test_what_is_no_such_file_is_refused(file: Path, content: bytes, problem: str) -> None:
    file.write_bytes(content)

    with pytest.raises(InvalidInput) as caught:
        read_pods(file)

    assert problem in str(caught.value)


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(InvalidInput, match=r"cannot read .*some\.csv: No such file"):
        read_nodes(file)


def test_findings_without_end_are_cut_short(file: Path) -> None:
    assert len(findings(read_pods, file, PODS + "a,x,1,0,0\n" * 5000)) == 100
