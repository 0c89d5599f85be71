"""Files that jobs bring along and leave, by the commands, with a real server and real containers."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.resources import Resources
from hrm.sdk.client import Client
from hrm.testing import eventually
from hrm.testing.other_user import OtherUser
from tests.acceptance.conftest import Hrm, hrm_home

SCRIPT = "#!/bin/sh\ncat data/numbers\necho mine >>data/numbers\nmkdir out; echo $HRM_TASK_INDEX >out/result\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "numbers").write_text("1 2 3\n")
    (folder / "main").write_text(SCRIPT)
    (folder / "main").chmod(0o755)
    (folder / "notes.log").write_text("not needed\n")
    (folder / ".hrmignore").write_text("*.log\n")
    return folder


def test_a_job_runs_in_a_copy_of_what_was_uploaded_and_its_results_are_fetched(
    hrm: Hrm, source: Path, tmp_path: Path
) -> None:
    first = hrm("run", "--upload", source, "--", "sh", "-c", "ls; ./main")
    again = hrm("run", "--upload", source, "--", "./main")
    got = hrm("get", "last", "out", "-o", tmp_path / "here")
    twice = hrm("get", "last", "out", "-o", tmp_path / "here")

    assert (first.code, first.out) == (0, "data\nmain\n1 2 3\n")
    assert "uploading 3 of 3 files" in first.err
    # The first one changed its own copy, and nothing was uploaded again.
    assert (again.code, again.out, again.err) == (0, "1 2 3\n", "")
    assert (source / "data" / "numbers").read_text() == "1 2 3\n"
    assert (tmp_path / "here" / "out" / "result").read_text() == "0\n"
    assert got.out == f"1 files, 2 B, in {tmp_path / 'here'}\n"
    assert twice.code == 2 and "is there already" in twice.err


def test_of_several_tasks_each_has_a_directory_of_its_own(hrm: Hrm, source: Path, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("command: [./main]\ntasks: 3\nupload: source\n")

    submitted = hrm("submit", "--wait", tmp_path / "job.yaml")
    got = hrm("get", "1", "out/result", "-o", tmp_path / "here")
    one = hrm("get", "1", "--task", "2", "-o", tmp_path / "one")

    assert (submitted.code, got.code, one.code) == (0, 0, 0)
    assert [(tmp_path / "here" / f"task-{index}" / "result").read_text() for index in range(3)] == ["0\n", "1\n", "2\n"]
    assert (tmp_path / "one" / "data" / "numbers").read_text() == "1 2 3\nmine\n"


def test_what_cannot_be_uploaded_or_fetched_is_refused_with_what_and_why(hrm: Hrm, source: Path) -> None:
    hrm.configure("files: {max_upload: 1M}\nserver: {port: 0}\n")
    (source / "big").write_bytes(b"b" * 2_000_000)

    large = hrm("run", "--upload", source, "--", "true")
    missing = hrm("run", "--upload", source / "nowhere", "--", "true")
    out = hrm("submit", "--wait", "--", "true")
    outside = hrm("get", "last", "../../hrm.db")
    nothing = hrm("get", "last", "results")

    assert large.code == 2
    assert "the upload has 1.9 MiB, and files.max_upload is 1.0 MiB" in large.err
    assert missing.code == 2 and "is not there" in missing.err
    assert out.code == 0
    assert outside.code == 2 and "not a path within the container's directory" in outside.err
    assert nothing.code == 2 and "'results' is not in the container's directory" in nothing.err


def test_results_are_fetched_while_the_job_runs_and_until_they_are_cleared_away(
    hrm: Hrm, source: Path, tmp_path: Path
) -> None:
    hrm("up", "--detach")
    hrm("submit", "--upload", source, "--", "sh", "-c", "./main; exec sleep 600")
    eventually(lambda: hrm("get", "1", "out/result", "-f", "-o", tmp_path / "early").code == 0, timeout_s=30)

    kept = hrm("clean", "--uploads", "--older-than", "0", "--yes", "-o", "json").json
    hrm("kill", "1")
    hrm("wait", "1")
    late = hrm("get", "1", "out", "-o", tmp_path / "late")
    gone = hrm("clean", "--uploads", "--scratch", "--older-than", "0", "--yes", "-o", "json").json
    after = hrm("get", "1", "out", "-o", tmp_path / "after")

    assert (kept["uploads"], gone["uploads"], gone["scratch"]) == (0, 1, 1)
    assert late.code == 0 and (tmp_path / "late" / "out" / "result").read_text() == "0\n"
    assert after.code == 2 and "cleared away" in after.err


def test_a_job_waits_for_the_shared_path_that_it_needs_and_explain_says_where_it_is_missing(
    hrm: Hrm, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    (data / "run").mkdir(parents=True)
    hrm.configure(
        f"""\
        node: {{node_id: node3}}
        files: {{shared_paths: [{{path: {data}, marker: .this-is-data}}], shared_check_interval: 1s}}
        server: {{port: 0}}
        """
    )
    hrm("up", "--detach")

    hrm("submit", "--shared", data / "run", "--", "true")
    hrm("submit", "--workdir", data / "run", "--", "true")
    free = hrm("run", "--", "true")
    unknown = hrm("submit", "--shared", "/elsewhere", "--", "true")
    explained = hrm("explain", "1")
    node = hrm("nodes", "-o", "json").json[0]
    (data / ".this-is-data").write_text("")
    waited = hrm("wait", "1,2")

    assert free.code == 0
    assert unknown.code == 2 and f"/elsewhere is in no shared path; declared are {data}" in unknown.err
    assert f"shared path {data} is missing on node3" in " ".join(explained.out.split())
    assert (node["offers"], node["message"][: len(f"shared path {data} has no")]) == ([], f"shared path {data} has no")
    assert waited.code == 0
    assert hrm("nodes", "-o", "json").json[0]["offers"] == [f"shared path {data}"]


def submit_of(home: Path, folder: str) -> str:
    """As another user: whose the files are that the job finds, and whether it may change them."""
    command = ("sh", "-c", "stat -c %U main . data; echo more >>data/numbers; cat data/numbers; ls /proc/self/cwd/..")
    with Client(home=home) as client:
        group = TaskGroupSpec(command=command, resources=Resources(memory_mib=32, vcores_milli=100))
        job = JobSpec(groups=(group,), upload=client.upload(folder))
        report = client.wait(client.submit(job).application_id, timeout_s=60)
        return b"".join(client.logs(report.application_id)).decode()


@pytest.mark.root
def test_what_another_user_uploads_is_that_users_in_the_container(nobody: OtherUser, tmp_path: Path) -> None:
    with hrm_home() as root:
        root("up", "--detach")
        folder = nobody.do(_made)

        said = nobody.do(submit_of, root.home, folder).splitlines()

        assert said[:3] == [nobody.account.pw_name] * 3
        assert said[3:5] == ["1 2 3", "more"]
        # Nothing beside its own directory can be listed.
        assert said[5:] == []
        assert (root.home / "uploads").stat().st_mode & 0o777 == 0o700
        assert (root.home / "node" / "uploads").stat().st_mode & 0o777 == 0o700


def _made() -> str:
    folder = Path(tempfile.mkdtemp(prefix="hrm-upload-"))
    (folder / "data").mkdir()
    (folder / "data" / "numbers").write_text("1 2 3\n")
    (folder / "main").write_text("true\n")
    return str(folder)
