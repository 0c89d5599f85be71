"""Files that containers of YARN's bring along, from real stores: an FTP server, and S3's interface."""

from __future__ import annotations

import json
import logging
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.launch_contexts import LaunchContext, LocalResource, ResourceKind
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.testing import eventually, started
from tests.acceptance.conftest import Hrm, server_up
from tests.acceptance.test_yarn_rest import CONFIGURATION, ask, submission

pytestmark = [pytest.mark.real, pytest.mark.yarn]

NODE = NodeSpec(node_id="node1", total=Resources(4096, 4000))
APPLICATION = "application_1763900000000_0001"


@dataclass
class Store:
    """A store of files: the address of one by its name, and its time of change in milliseconds."""

    base: str
    #: What a container's user has configured for fsspec.
    config: dict[str, Any]
    put: Any
    changed_ms: Any


@pytest.fixture
def ftp(tmp_path: Path) -> Iterator[Store]:
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import ThreadedFTPServer

    folder = tmp_path / "ftp"
    folder.mkdir()
    authorizer = DummyAuthorizer()
    authorizer.add_user("ada", "lovelace", str(folder), perm="elr")

    class Handler(FTPHandler):
        pass

    Handler.authorizer = authorizer
    logging.getLogger("pyftpdlib").setLevel(logging.WARNING)
    server = ThreadedFTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"handle_exit": False})
    thread.start()
    try:
        yield Store(
            base=f"ftp://ada:lovelace@127.0.0.1:{server.address[1]}/",
            config={},
            put=lambda name, data: (folder / name).write_bytes(data),
            changed_ms=lambda name: int((folder / name).stat().st_mtime) * 1000,
        )
    finally:
        server.close_all()
        thread.join(60)


@pytest.fixture
def s3() -> Iterator[Store]:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    account = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **account)
    client.create_bucket(Bucket="files")
    try:
        yield Store(
            base="s3://files/",
            config={"s3": {"endpoint_url": f"http://{host}:{port}", "key": "key", "secret": "secret"}},
            put=lambda name, data: client.put_object(Bucket="files", Key=name, Body=data),
            changed_ms=lambda name: int(
                client.head_object(Bucket="files", Key=name)["LastModified"].timestamp() * 1000
            ),
        )
    finally:
        server.stop()


@pytest.fixture(params=["ftp", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


async def printed(tmp_path: Path, store: Store, command: str, resource: LocalResource) -> str:
    """What the container prints, or why it could not be prepared."""
    settings = tmp_path / "fsspec"
    settings.mkdir()
    (settings / "conf.json").write_text(json.dumps(store.config))
    context = LaunchContext(commands=(command,), local_resources={"file": resource})
    async with started(EmbeddedEngine(NODE, tmp_path / "node")) as run:
        env = {**context.variables(), "FSSPEC_CONFIG_DIR": str(settings)}
        container_id = run.launch(*context.command, env=env, application_id=APPLICATION)
        record = await run.ended(container_id, timeout_s=120)
        return await run.log(container_id) or record.detail


async def test_a_file_of_the_store_is_there(tmp_path: Path, store: Store) -> None:
    store.put("data.txt", b"from the store\n")
    resource = LocalResource(url=f"{store.base}data.txt", timestamp_ms=store.changed_ms("data.txt"))

    assert await printed(tmp_path, store, "cat file", resource) == "from the store\n"


async def test_an_archive_of_the_store_is_unpacked(tmp_path: Path, store: Store) -> None:
    with zipfile.ZipFile(tmp_path / "conf.zip", "w") as archive:
        archive.writestr("deep/inside.txt", "unpacked\n")
    store.put("conf.zip", (tmp_path / "conf.zip").read_bytes())
    resource = LocalResource(
        url=f"{store.base}conf.zip", timestamp_ms=store.changed_ms("conf.zip"), kind=ResourceKind.ARCHIVE
    )

    assert await printed(tmp_path, store, "cat file/deep/inside.txt", resource) == "unpacked\n"


async def test_another_version_than_that_submitted_is_refused(tmp_path: Path, store: Store) -> None:
    store.put("data.txt", b"newer\n")
    resource = LocalResource(url=f"{store.base}data.txt", timestamp_ms=store.changed_ms("data.txt") - 60_000)

    assert "changed on src filesystem" in await printed(tmp_path, store, "cat file", resource)


async def test_what_is_not_there_is_said(tmp_path: Path, store: Store) -> None:
    resource = LocalResource(url=f"{store.base}nothing.txt", timestamp_ms=1)

    assert "nothing.txt cannot be had" in await printed(tmp_path, store, "cat file", resource)


@pytest.fixture(scope="module")
def hrm() -> Iterator[Hrm]:
    with server_up(CONFIGURATION) as hrm:
        yield hrm


def test_what_is_submitted_over_rest_brings_a_file_of_a_store(hrm: Hrm, ftp: Store) -> None:
    ftp.put("app.txt", b"for the master\n")
    web = f"http://{hrm('status', '-o', 'json').json['yarn']['web']}"
    app = json.loads(ask(f"{web}/ws/v1/cluster/apps/new-application", method="POST")[1])["application-id"]
    body = submission(app, "cat app.txt; sleep 1000")
    changed_ms = ftp.changed_ms("app.txt")
    file = {"resource": f"{ftp.base}app.txt", "type": "FILE", "visibility": "PRIVATE", "timestamp": changed_ms}
    body["am-container-spec"]["local-resources"] = {"entry": [{"key": "app.txt", "value": file}]}
    assert ask(f"{web}/ws/v1/cluster/apps", method="POST", body=body)[0] == 202

    eventually(lambda: "for the master" in hrm("logs", app).out, 120)
    hrm("kill", app)
