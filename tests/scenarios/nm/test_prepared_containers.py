"""Containers with a launch context: their files, tokens and variables, on a real node."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.containers import ExitRecord, LogStream
from hrm.model.hadoop_tokens import merged
from hrm.model.launch_contexts import LaunchContext, LocalResource, ResourceKind, Visibility
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.testing import EngineHarness, started
from hrm.yarn.proto.security_pb2 import TokenProto
from hrm.yarn.tokens.credentials import Credentials

NODE = NodeSpec(node_id="node1", total=Resources(4096, 4000))
APPLICATION = "application_1763900000000_0001"


def local(path: Path, **fields: object) -> LocalResource:
    timestamp_ms = path.stat().st_mtime_ns // 1_000_000
    return LocalResource(**{"url": path.as_uri(), "timestamp_ms": timestamp_ms, **fields})  # type: ignore[arg-type]


def launch(run: EngineHarness, context: LaunchContext, **fields: object) -> str:
    env = context.variables() | {"NM_HOST": "node1"}
    return run.launch(*context.command, env=env, application_id=APPLICATION, **fields)


async def ended(run: EngineHarness, container_id: str) -> ExitRecord:
    return await run.ended(container_id, timeout_s=60)


async def test_files_and_archives_are_there_under_the_names_that_were_asked_for(
    engine: EmbeddedEngine, tmp_path: Path
) -> None:
    (tmp_path / "a file").write_text("plain\n")
    with zipfile.ZipFile(tmp_path / "conf.zip", "w") as archive:
        archive.writestr("deep/inside.txt", "unpacked\n")
    context = LaunchContext(
        commands=("cat", "plain.txt", "lib/conf/deep/inside.txt"),
        local_resources={
            "plain.txt": local(tmp_path / "a file"),
            "lib/conf": local(tmp_path / "conf.zip", kind=ResourceKind.ARCHIVE),
        },
    )
    async with started(engine) as run:
        container_id = launch(run, context)
        assert (await ended(run, container_id)).exit_code == 0
        assert await run.log(container_id) == "plain\nunpacked\n"


async def test_what_goes_to_the_log_folder_is_shown_as_the_containers_output(engine: EmbeddedEngine) -> None:
    context = LaunchContext(commands=("{ echo out; echo err >&2; }", "1><LOG_DIR>/stdout", "2><LOG_DIR>/stderr"))
    async with started(engine) as run:
        container_id = launch(run, context)
        await ended(run, container_id)
        assert await run.log(container_id) == "out\n"
        assert await run.log(container_id, LogStream.STDERR) == "err\n"


async def test_variables_are_those_of_the_node_and_of_the_context_and_each_may_use_others(
    engine: EmbeddedEngine, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", "/opt/java")
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "1")
    context = LaunchContext(
        commands=("env",),
        environment={
            "CLASSPATH": "{{PWD}}<CPS>$LIB/*<CPS>{{JAVA_HOME}}/lib",
            "LIB": "$PWD/lib",
            "CONTAINER_ID": "a lie",
            "SAID": 'so "they" say',
        },
    )
    async with started(engine) as run:
        container_id = launch(run, context)
        await ended(run, container_id)
        env = dict(line.split("=", 1) for line in (await run.log(container_id)).splitlines() if "=" in line)
    home = str(state_dir / "containers" / container_id)
    assert env["CLASSPATH"] == f"{home}:{home}/lib/*:/opt/java/lib"
    assert env["SAID"] == 'so "they" say'
    assert env["CONTAINER_ID"] == container_id
    assert env["NM_HOST"] == "node1"
    assert env["LOCAL_DIRS"] == str(state_dir / "applications" / APPLICATION)
    assert env["LOG_DIRS"] == f"{home}/logs"
    assert not [name for name in env if name.startswith(("HRM_LAUNCH", "SECRET", "HRM_TOKENS"))]


async def test_a_container_finds_the_server_by_files_where_its_machine_has_none(
    engine: EmbeddedEngine, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HADOOP_CONF_DIR", raising=False)
    context = LaunchContext(commands=("cat $HADOOP_CONF_DIR/yarn-site.xml",))
    env = context.variables() | {"HRM_HADOOP_CONF": json.dumps({"yarn-site.xml": "<here/>"})}
    async with started(engine) as run:
        own = run.launch(*context.command, env=env, application_id=APPLICATION)
        await ended(run, own)
        assert await run.log(own) == "<here/>"
        assert "HRM_HADOOP_CONF" not in (state_dir / "containers" / own / "launch_container.sh").read_text()


async def test_tokens_are_in_a_file_of_the_user_alone(engine: EmbeddedEngine, state_dir: Path) -> None:
    token = TokenProto(identifier=b"id", password=b"secret", kind="ANY", service="")
    tokens = Credentials({"any": token}).write()
    context = LaunchContext(commands=("stat", "-c", "%a", "$HADOOP_TOKEN_FILE_LOCATION"), tokens=tokens + b"\0\0\0")
    async with started(engine) as run:
        container_id = launch(run, context)
        await ended(run, container_id)
        assert await run.log(container_id) == "600\n"
        assert (state_dir / "containers" / container_id / "container_tokens").read_bytes() == merged(tokens)


async def test_a_file_that_changed_since_it_was_submitted_is_refused_and_the_end_says_so(
    engine: EmbeddedEngine, tmp_path: Path
) -> None:
    path = tmp_path / "job.py"
    path.write_text("new")
    context = LaunchContext(commands=("true",), local_resources={"job.py": local(path, timestamp_ms=1_000)})
    async with started(engine) as run:
        record = await ended(run, launch(run, context))
    assert record.exit_code == 126
    assert "changed on src filesystem - expected: 1970-01-01T00:00:01.000Z" in record.detail


async def test_files_of_the_view_that_the_server_gives_to_clients_are_this_machines(
    engine: EmbeddedEngine, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_text("here\n")
    resources = {"f": local(path, url=f"viewfs://hrm{path}"), "g": local(path, url=f"viewfs://other{path}")}
    async with started(engine) as run:
        ours = launch(run, LaunchContext(commands=("cat f",), local_resources={"f": resources["f"]}))
        other = launch(run, LaunchContext(commands=("cat g",), local_resources={"g": resources["g"]}))
        await ended(run, ours)
        assert await run.log(ours) == "here\n"
        # By fsspec, which knows of no such view; or it is not installed.
        assert "resource viewfs://other" in (await ended(run, other)).detail


async def test_a_file_that_vanished_is_named(engine: EmbeddedEngine, tmp_path: Path) -> None:
    context = LaunchContext(
        commands=("true",),
        local_resources={"x": LocalResource(url=(tmp_path / "gone.py").as_uri(), timestamp_ms=1)},
    )
    async with started(engine) as run:
        record = await ended(run, launch(run, context))
    assert f"{tmp_path}/gone.py cannot be had: No such file or directory" in record.detail


async def test_what_is_shared_is_fetched_once_and_used_by_several_at_a_time(
    engine: EmbeddedEngine, state_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "data"
    path.write_text("1")
    stamp = path.stat()
    context = LaunchContext(
        commands=("cat data",), local_resources={"data": local(path, visibility=Visibility.PRIVATE)}
    )
    async with started(engine) as run:
        commands = ("cat data; read line",)
        first = launch(run, replace(context, commands=commands), stdin=True)
        await run.printed(first, "1")
        path.write_text("2")
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        second = launch(run, context)
        await ended(run, second)
        assert await run.log(second) == "1", "the copy that is there is that version"
    assert len(list((state_dir / "cache" / "own" / "shared").iterdir())) == 1


@pytest.mark.root
async def test_a_user_gets_no_file_that_the_user_may_not_read(
    public_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, shared = public_dir / "secret", public_dir / "shared"
    secret.write_text("the server's")
    secret.chmod(0o600)
    shared.write_text("for all\n")
    # That of the tests may lie in somebody's home.
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    async with started(EmbeddedEngine(NODE, public_dir / "node")) as run:
        allowed = launch(
            run, LaunchContext(commands=("cat f; id -un",), local_resources={"f": local(shared)}), user="nobody"
        )
        refused = launch(run, LaunchContext(commands=("cat f",), local_resources={"f": local(secret)}), user="nobody")
        await ended(run, allowed)
        assert await run.log(allowed) == "for all\nnobody\n"
        assert "Permission denied" in (await ended(run, refused)).detail
