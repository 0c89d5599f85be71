"""Uploads and results over the REST door, as a client of ours and as one that means ill."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hrm.files.scan import Scan
from hrm.model.errors import Conflict, Forbidden, InvalidInput, NotFound, TooLarge
from hrm.model.files import FileSettings
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.reports import UploadReport
from hrm.sdk.client import Client
from hrm.testing.facade import FakeFacade
from hrm.testing.fake_files import FakeFiles
from tests.scenarios.api.running_server import RunningServer

DIGEST = hashlib.sha256(b"one").hexdigest()
MANIFEST = {"entries": [["f", "a", 3, DIGEST, False]]}
PACKED = bytes.fromhex(DIGEST) + (3).to_bytes(8, "big") + b"one"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "sub").mkdir(parents=True)
    (folder / "main.py").write_text("print(1)\n")
    (folder / "sub" / "data").write_bytes(b"d" * 5_000_000)
    return folder


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with server.client("ada") as client:
        yield client


def test_an_upload_sends_each_content_once(client: Client, source: Path) -> None:
    told: list[UploadReport] = []

    first = client.upload(source, told=told.append)
    (source / "copy.py").write_text("print(1)\n")
    second = client.upload(source, told=told.append)
    again = client.upload(source, told=told.append)

    assert [len(report.missing) for report in told] == [2]
    assert first == told[0].upload_id
    assert second == again != first


def test_a_job_names_its_upload(client: Client, facade: FakeFacade, source: Path) -> None:
    upload_id = client.upload(source)

    submitted = client.submit(JobSpec(groups=(TaskGroupSpec(command=("true",)),), upload=upload_id))

    assert facade.apps[submitted.application_id].job.upload == upload_id


def test_an_upload_that_is_too_large_is_refused_with_size_and_limit_before_it_is_sent(
    client: Client, facade: FakeFacade, source: Path
) -> None:
    facade.files = FakeFiles(FileSettings(max_upload_bytes=4 << 20))

    with pytest.raises(TooLarge, match=r"has 4\.8 MiB, and files\.max_upload is 4\.0 MiB"):
        client.upload(source)


def test_a_user_over_the_quota_is_told_what_is_held_and_what_is_added(
    client: Client, facade: FakeFacade, source: Path
) -> None:
    facade.files = FakeFiles(FileSettings(upload_quota_bytes=6 << 20))
    client.upload(source)
    (source / "sub" / "data").write_bytes(b"e" * 5_000_000)

    with pytest.raises(TooLarge, match=r"ada's uploads hold 4\.8 MiB, this one adds 4\.8 MiB"):
        client.upload(source)


def test_a_file_that_changes_while_it_is_sent_is_refused_by_its_name_and_the_upload_is_not_there(
    client: Client, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[UploadReport] = []

    def change(report: UploadReport) -> None:
        told.append(report)
        (source / "main.py").write_text("print(2)\n")

    with pytest.raises(InvalidInput, match=r"main\.py changed while it was uploaded"):
        client.upload(source, told=change)
    with pytest.raises(InvalidInput, match="no upload"):
        _run(client, told[0].upload_id)


def _run(client: Client, upload_id: str) -> None:
    client.submit(JobSpec(groups=(TaskGroupSpec(command=("true",)),), upload=upload_id))


async def begin(http: httpx.AsyncClient, manifest: Any = MANIFEST, **more: Any) -> httpx.Response:
    return await http.post("/api/v1/uploads", json={"manifest": manifest}, **more)


async def test_what_another_user_has_is_missing_to_me(
    http: httpx.AsyncClient, bearer: Callable[..., dict[str, str]]
) -> None:
    upload_id = (await begin(http)).json()["upload_id"]
    done = await http.post(f"/api/v1/uploads/{upload_id}/content", content=PACKED)

    mine, others = await begin(http), await begin(http, headers=bearer("bob"))

    assert done.json()["missing"] == mine.json()["missing"] == []
    assert others.json()["missing"] == [DIGEST]


@pytest.mark.parametrize(
    "manifest",
    [
        {"entries": [["f", "../evil", 3, DIGEST, False]]},
        {"entries": [["l", "a", "/etc"], ["f", "a/evil", 3, DIGEST, False]]},
        {"entries": [["l", "a", "../.."]]},
        {"entries": 3},
        [],
        {"entries": [], "more": 1},
    ],
)
async def test_a_manifest_that_leads_elsewhere_is_refused(http: httpx.AsyncClient, manifest: Any) -> None:
    assert (await begin(http, manifest)).status_code == 422


@pytest.mark.parametrize("content", [b"", PACKED[:-1], PACKED[:-1] + b"x", b"\0" * 50])
async def test_content_that_is_not_what_was_asked_for_makes_no_upload(http: httpx.AsyncClient, content: bytes) -> None:
    upload_id = (await begin(http)).json()["upload_id"]

    answer = await http.post(f"/api/v1/uploads/{upload_id}/content", content=content)

    assert answer.status_code == 422 or answer.json()["missing"] == [DIGEST]
    assert (await begin(http)).json()["missing"] == [DIGEST]


@pytest.mark.parametrize("upload_id", ["0" * 64, "..%2f..%2fetc", "x"])
async def test_content_of_an_upload_that_was_not_begun_is_refused(http: httpx.AsyncClient, upload_id: str) -> None:
    assert (await http.post(f"/api/v1/uploads/{upload_id}/content", content=PACKED)).status_code == 404


def test_what_a_task_left_is_fetched(client: Client, facade: FakeFacade, tmp_path: Path) -> None:
    application_id = client.submit(JobSpec(groups=(TaskGroupSpec(command=("true",)),))).application_id
    facade.files.left[application_id, 0] = {"out/a": b"a" * 3_000_000, "out/b": b"b"}

    done = client.fetch(application_id, tmp_path / "here", path="out")

    assert (done.files, done.size_bytes) == (2, 3_000_001)
    assert (tmp_path / "here" / "out" / "a").read_bytes() == b"a" * 3_000_000
    with pytest.raises(Conflict, match="is there already"):
        client.fetch(application_id, tmp_path / "here", path="out")
    with pytest.raises(NotFound):
        client.fetch(application_id, tmp_path / "here", path="missing")
    with pytest.raises(InvalidInput, match="not a path within"):
        client.fetch(application_id, tmp_path / "here", path="../other")
    with pytest.raises(NotFound):
        client.fetch(application_id, tmp_path / "here", task=1)


def test_others_may_not_fetch_it(client: Client, facade: FakeFacade, server: RunningServer, tmp_path: Path) -> None:
    application_id = client.submit(JobSpec(groups=(TaskGroupSpec(command=("true",)),))).application_id
    facade.files.left[application_id, 0] = {"secret": b"s"}

    with server.client("bob") as other, pytest.raises(Forbidden, match="belongs to ada"):
        other.fetch(application_id, tmp_path / "here")

    assert not (tmp_path / "here").exists()


def test_the_id_that_was_begun_is_that_of_the_manifest(client: Client, source: Path) -> None:
    assert client.upload(source) == Scan(source).manifest.upload_id


def test_what_no_application_needs_makes_room_for_what_is_new(
    client: Client, facade: FakeFacade, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facade.files = FakeFiles(FileSettings(upload_quota_bytes=6 << 20))
    needed = client.upload(source)
    facade.files.uploads.in_use = lambda: [("ada", needed)]
    (source / "sub" / "data").write_bytes(b"e" * 5_000_000)
    monkeypatch.setattr("hrm.rm.uploads._GRACE_S", 0.0)

    with pytest.raises(TooLarge):
        client.upload(source)
    facade.files.uploads.in_use = lambda: ()
    client.upload(source)

    with pytest.raises(InvalidInput, match="no upload"):
        _run(client, needed)
