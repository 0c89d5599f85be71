"""Reading traces: what lines mean, and what is said of bad ones."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from hrm.config.documents import BadDocument
from hrm.model.errors import InvalidInput
from hrm.model.resources import Resources
from hrm.sim.traces.formats import Format, detect, parse_format, read_nodes, read_trace

JOBS = "job,submit_s,run_s,queue,tasks,cpus,memory,gpus,gpu_model,checkpoint_s\n"


def write(folder: Path, text: str, name: str = "trace.csv") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def findings(file: Path, form: Format | None = None) -> list[str]:
    with pytest.raises(BadDocument) as caught:
        read_trace(file, form)
    return [str(finding).removeprefix(f"{file}:") for finding in caught.value.findings]


def test_a_line_of_ones_own_form_is_a_group_of_equal_tasks(tmp_path: Path) -> None:
    text = JOBS + "train,5,3600,research,4,2,8G,0.5,A100,600\nother,0,inf,,,1,1G,,,\ntrain,5,60,research,1,1,512M,0,,\n"
    other, train = read_trace(write(tmp_path, text))
    assert (other.name, other.queue, other.tasks, other.groups[0].run_s) == ("other", "default", 1, (math.inf,))
    assert (train.submit_s, train.queue, train.tasks, train.checkpoint_s) == (5, "research", 5, 600)
    first, second = train.groups
    assert (first.resources, first.gpu_model, first.tasks) == (Resources(8192, 2000, 500), "A100", 4)
    assert second.resources == Resources(512, 1000)


def test_every_wrong_cell_is_told_with_file_line_and_column(tmp_path: Path) -> None:
    text = JOBS + "a,-5,60,,1,1,1G,,,\nb,0,soon,,0,many,1G,1.5,,\nc,0,1,,1,,,,,\nd,0,1,,1,1\n"
    assert findings(write(tmp_path, text)) == [
        "2: submit_s: cannot be negative: -5",
        "3: cpus: not a number: 'many'",
        "3: gpus: a fraction of a GPU lies on one device: 1.5",
        "3: run_s: not a number: 'soon'",
        "3: tasks: must be between 1 and 10000000: 0",
        "4: cpus: the line asks for nothing",
        "5: cpus: ends here: 6 cells under 10 columns",
    ]


def test_a_job_in_two_queues_is_refused(tmp_path: Path) -> None:
    text = JOBS + "a,0,1,x,1,1,1G,,,\na,0,1,y,1,1,1G,,,\n"
    with pytest.raises(InvalidInput, match="a name of its own"):
        read_trace(write(tmp_path, text))


def test_the_same_is_read_from_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"job": ["x"], "submit_s": [3], "run_s": [1.5], "cpus": ["2"], "memory": ["1G"], "queue": [None]}
    file = tmp_path / "jobs.parquet"
    parquet.write_table(pyarrow.table(columns), file)
    (job,) = read_trace(file)
    assert (job.submit_s, job.groups[0].run_s, job.queue) == (3, (1.5,), "default")


def test_a_broken_parquet_file_is_told(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(InvalidInput, match="cannot be read as Parquet"):
        read_trace(write(tmp_path, "PAR1 but no more", "jobs.parquet"))


def test_lists_of_gpu_jobs_come_at_their_distance_from_the_first(tmp_path: Path) -> None:
    text = (
        "job_id,user,vc,num_gpu,submit_time,duration\nj1,ada,prod,1,1000,60\nj2,bob,prod,20,1600,600\nj3,,,0,1700,5\n"
    )
    one, twenty, none = read_trace(write(tmp_path, text))
    assert [job.submit_s for job in (one, twenty, none)] == [0, 600, 700]
    assert (one.queue, one.user, one.groups[0].resources.gpus_milli) == ("prod", "ada", 1000)
    # Two nodes of eight, and four more.
    assert [(group.tasks, group.resources.gpus_milli) for group in twenty.groups] == [(2, 8000), (1, 4000)]
    assert none.groups[0].resources.gpus_milli == 0


SLS = {
    "job.start.ms": 2000,
    "job.queue.name": "sls_queue_1",
    "job.id": "job_1",
    "job.tasks": [
        {"container.host": "/rack/node1", "container.start.ms": 10, "container.end.ms": 3010, "container.priority": 20},
        {"count": 3, "duration.ms": 500, "container.memory": 2048, "container.vcores": 2},
    ],
}


def test_input_of_hadoops_simulator_is_read(tmp_path: Path) -> None:
    later = {**SLS, "job.id": "job_2", "job.start.ms": 5000, "job.count": 2}
    text = json.dumps({"num.nodes": 3}) + json.dumps(SLS, indent=1) + "\n" + json.dumps(later)
    first, *copies = read_trace(write(tmp_path, text, "sls.json"))
    assert (first.submit_s, first.queue, [group.tasks for group in first.groups]) == (0, "sls_queue_1", [1, 3])
    assert (first.groups[0].host, first.groups[0].run_s, first.groups[0].resources) == (
        "node1",
        (3.0,),
        Resources(1024, 1000),
    )
    assert (first.groups[1].run_s, first.groups[1].resources) == ((0.5,), Resources(2048, 2000))
    assert [(job.name, job.submit_s) for job in copies] == [("job_2.0", 3), ("job_2.1", 3)]


def test_what_is_wrong_in_it_is_told_with_line_and_key(tmp_path: Path) -> None:
    backwards = {"job.tasks": [{"container.start.ms": 5, "container.end.ms": 1}]}
    text = json.dumps(SLS) + "\n" + json.dumps(backwards)
    expected = "2: job.tasks[0].container.end.ms: is before container.start.ms: 1 < 5"
    assert findings(write(tmp_path, text, "a.json")) == [expected]
    assert findings(write(tmp_path, json.dumps(SLS, indent=1)[:-5], "b.json"))[0].endswith(
        "no JSON: is the file whole?"
    )


HISTORY = (
    "application_id,user,queue,submitted_at,task_index,attempt,memory_mib,vcores_milli,"
    "allocated_at,started_at,ended_at\n"
)


def test_history_becomes_jobs_with_the_times_that_their_tasks_took(tmp_path: Path) -> None:
    text = HISTORY + (
        "application_1_0001,ada,a,100,0,1,1024,1000,101,102,112\n"
        "application_1_0001,ada,a,100,1,1,1024,1000,101,102,107\n"
        "application_1_0001,ada,a,100,1,2,1024,1000,108,109,139\n"
        "application_1_0002,bob,b,150,0,1,2048,2000,160,,\n"
    )
    one, two = read_trace(write(tmp_path, text))
    # The second task was tried twice: only its last attempt counts.
    assert (one.submit_s, one.groups[0].run_s, one.queue, one.user) == (0, (10, 30), "a", "ada")
    # Granted at 160, the last time that is named: it has run for no time yet.
    assert (two.submit_s, two.groups[0].run_s) == (50, (0,))


def test_history_may_be_json_in_lines(tmp_path: Path) -> None:
    line = dict(
        zip(HISTORY.strip().split(","), ["application_1_0001", "ada", "a", 5, 0, 1, 1024, 0, 6, 7, 9], strict=True)
    )
    (job,) = read_trace(write(tmp_path, json.dumps(line) + "\n", "history.jsonl"))
    assert job.groups[0].run_s == (2,)
    assert findings(write(tmp_path, json.dumps(line) + "\n{broken", "cut.jsonl")) == ["2: no JSON: is the file whole?"]


def test_pods_of_openb_run_from_creation_to_deletion(tmp_path: Path) -> None:
    text = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,creation_time,deletion_time\np,1000,512,1,300,40,100\n"
    (job,) = read_trace(write(tmp_path, text))
    assert (job.submit_s, job.groups[0].run_s) == (40, (60,))


def test_forms_are_known_by_their_columns(tmp_path: Path) -> None:
    assert detect(write(tmp_path, JOBS)) is Format.JOBS
    assert detect(write(tmp_path, "{}", "x.json")) is Format.SLS
    with pytest.raises(InvalidInput) as caught:
        detect(write(tmp_path, "when,what\n1,2\n"))
    for form in Format:
        assert str(form) in str(caught.value)


def test_an_unknown_form_names_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="there are jobs, history, gpu_jobs, openb, sls"):
        parse_format("swf")


def test_nodes_are_read_from_a_list_of_ones_own(tmp_path: Path) -> None:
    text = "node,cpus,memory,gpus,gpu_model,rack\nbox,8,32G,2,V100,/r1\nplain,4,8G,,,\n"
    box, plain = read_nodes(write(tmp_path, text, "nodes.csv"))
    assert (box.total, [device.model for device in box.devices], box.rack) == (
        Resources(32768, 8000, 2000),
        ["V100"] * 2,
        "/r1",
    )
    assert plain.devices == ()


@pytest.mark.parametrize(
    ("name", "text", "finding"),
    [
        ("jobs.csv", JOBS + "a,0,-60,,1,1,1G,,,\n", "2: run_s: cannot be negative: -60"),
        ("gpus.csv", "submit_time,num_gpu,duration\n0,1,-4\n", "2: duration: cannot be negative: -4"),
        ("a.json", '{"job.tasks": [{"duration.ms": -5}]}', "1: job.tasks[0].duration.ms: must be at least 0: -5"),
        (
            "pods.csv",
            "name,cpu_milli,memory_mib,num_gpu,gpu_milli,creation_time,deletion_time\na,1,1,0,0,9,5\n",
            "2: deletion_time: 5 is before creation_time, 9",
        ),
        (
            "history.csv",
            "application_id,queue,task_index,attempt,memory_mib,allocated_at,started_at,ended_at\n"
            "application_1_0001,a,0,1,1024,100,110,50\n",
            "2: ended_at: is before it began: 50.000",
        ),
    ],
)
def test_time_that_would_run_backwards_is_told_in_every_form(
    tmp_path: Path, name: str, text: str, finding: str
) -> None:
    assert finding in findings(write(tmp_path, text, name))


@pytest.mark.parametrize(
    ("name", "text", "finding"),
    [
        ("jobs.csv", JOBS + "a,0,6", "2: run_s: ends here: 3 cells under 10 columns"),
        ("gpus.csv", "submit_time,num_gpu,duration\n0,1,4\n3,", "3: num_gpu: ends here: 2 cells under 3 columns"),
        (
            "jobs.jsonl",
            '{"job":"a","submit_s":0,"run_s":5,"cpus":1}\n{"job":"b","sub',
            "2: no JSON: is the file whole?",
        ),
    ],
)
def test_a_file_that_was_cut_off_is_told_where(tmp_path: Path, name: str, text: str, finding: str) -> None:
    assert finding in findings(write(tmp_path, text, name))


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is empty"):
        read_trace(write(tmp_path, ""))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot read"):
        read_trace(tmp_path / "nowhere.csv")
