"""Programs that a node runs beside its containers: kept running, found again, shared by nodes of one machine."""

from __future__ import annotations

import os
import pwd
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.auxiliary import AuxiliaryService, running_services
from hrm.model.isolation import IsolationMode, IsolationSettings
from hrm.model.launch_contexts import LaunchContext
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.nm import auxiliary
from hrm.nm.ports import Lender
from hrm.nm.shepherd import records
from hrm.testing import EngineHarness, eventually_async, kill_herd, started

NODE = NodeSpec(node_id="node1", total=Resources(4096, 4000))
NAME = "some_service"
#: Notes its life where it begins, and listens.
_PROGRAM = """
import os, socket, sys, time
with open("lives", "a") as lives:
    print(os.getpid(), os.environ.get("SAID"), file=lives)
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(1000)
"""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auxiliary, "LOOK_S", 0.05)
    monkeypatch.setattr(auxiliary, "RESTART_S", 0.05)
    monkeypatch.setattr(auxiliary, "GRACE_S", 0.0)


@pytest.fixture
def service() -> AuxiliaryService:
    command = (sys.executable, "-c", _PROGRAM, "{{PORT}}")
    return AuxiliaryService(name=NAME, command=command, port=Lender().lend(), env={"SAID": "{{LOCAL_DIRS}}"})


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Callable[..., EmbeddedEngine]]:
    """A node with services, in a folder of its own by ``name``."""
    folders = set()

    def make(*services: AuxiliaryService, name: str = "node") -> EmbeddedEngine:
        folders.add(tmp_path / name)
        return EmbeddedEngine(NODE, tmp_path / name, heartbeat_interval_s=0.05, services=services)

    yield make
    for folder in folders:
        kill_herd(folder)


def lives(folder: Path) -> list[list[str]]:
    """[pid, what its environment said] of each life so far."""
    path = folder / auxiliary.FOLDER / NAME / "lives"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def claims(folder: Path) -> list[str]:
    """Ids of those that run, as the shepherd has them."""
    return [path.name for path in (folder / records.RUNNING).glob("service_*")]


async def serves(run: EngineHarness) -> None:
    await eventually_async(
        lambda: running_services(run.heard.nodes[run.node_id].offers) == [NAME], describe="the node offers it"
    )


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_it_runs_where_it_is_configured_and_nobody_takes_it_for_a_container(
    node: Callable[..., EmbeddedEngine], service: AuxiliaryService, tmp_path: Path
) -> None:
    async with started(node(service)) as run:
        await serves(run)
        container_id = run.launch("true")
        await run.ended(container_id)
        assert {one.container_id for one in run.heard.starts} == {container_id}
        # The folder of what containers leave for it is told by its name.
        ((_, said),) = lives(tmp_path / "node")
        assert said == str(tmp_path / "node" / records.APPLICATIONS)


async def test_one_that_ends_is_started_anew_in_the_same_folder_and_the_node_says_why_it_ended(
    node: Callable[..., EmbeddedEngine], service: AuxiliaryService, tmp_path: Path
) -> None:
    async with started(node(service)) as run:
        await serves(run)
        os.kill(int(lives(tmp_path / "node")[0][0]), signal.SIGKILL)
        await eventually_async(lambda: len(lives(tmp_path / "node")) == 2, describe="a second life")
        await serves(run)
        assert any("it ended (ended by SIGKILL)" in message for _, message, _ in run.heard.changes)
        assert run.heard.ends == []


async def test_one_that_cannot_run_is_told_with_the_node(node: Callable[..., EmbeddedEngine]) -> None:
    async with started(node(AuxiliaryService(name=NAME, command=("no-such-program",)))) as run:
        await eventually_async(
            lambda: any("command not found: no-such-program" in said for _, said, _ in run.heard.changes),
            describe="the node says why",
        )


async def test_a_new_server_finds_the_one_that_runs_while_containers_do(
    node: Callable[..., EmbeddedEngine], service: AuxiliaryService, tmp_path: Path
) -> None:
    async with started(node(service)) as run:
        await serves(run)
        stays = run.launch("sh", "-c", "echo runs; sleep 1000")
        await run.printed(stays, "runs")
    (first,) = claims(tmp_path / "node")
    async with started(node(service)) as run:
        await serves(run)
        assert [one.container_id for one in run.heard.registered_running] == [stays]
        # What is asked for after it would have been ended.
        run.stop(stays, grace_s=0)
        await run.ended(stays)
        assert claims(tmp_path / "node") == [first]
        assert len(lives(tmp_path / "node")) == 1


async def test_it_ends_with_the_node_where_no_container_is_left(
    node: Callable[..., EmbeddedEngine], service: AuxiliaryService, tmp_path: Path
) -> None:
    async with started(node(service)) as run:
        await serves(run)
    ((pid, _),) = lives(tmp_path / "node")
    await eventually_async(lambda: not runs(int(pid)), describe="it has ended")


async def test_one_that_is_configured_otherwise_by_now_makes_room_for_what_is_wanted(
    node: Callable[..., EmbeddedEngine], service: AuxiliaryService, tmp_path: Path
) -> None:
    async with started(node(service)) as run:
        await serves(run)
        stays = run.launch("sh", "-c", "echo runs; sleep 1000")
        await run.printed(stays, "runs")
    other = AuxiliaryService(name=NAME, command=service.command, port=service.port, env={"SAID": "otherwise"})
    async with started(node(other)) as run:
        await eventually_async(lambda: len(lives(tmp_path / "node")) == 2, describe="a second life")
        (first, _), (_, said) = lives(tmp_path / "node")
        assert said == "otherwise"
        assert not runs(int(first))
    async with started(node()) as run:
        await eventually_async(lambda: not runs(int(lives(tmp_path / "node")[1][0])), describe="none is wanted")
        run.stop(stays, grace_s=0)
        await run.ended(stays)


async def test_nodes_of_one_machine_share_it_and_one_takes_it_over_from_another(
    node: Callable[..., EmbeddedEngine], service: AuxiliaryService, tmp_path: Path
) -> None:
    async with started(node(service, name="other")) as other:
        async with started(node(service)) as run:
            await serves(run)
            await serves(other)
        await eventually_async(lambda: bool(lives(tmp_path / "other")), describe="the other node has its own")
        await serves(other)


async def test_another_users_program_on_its_port_is_not_taken_for_it(
    node: Callable[..., EmbeddedEngine], service: AuxiliaryService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = os.geteuid() + 1
    monkeypatch.setattr(auxiliary, "listeners_on", lambda port: {stranger})
    async with started(node(service)) as run:
        said = f"port {service.port} is taken by a program of user id {stranger}"
        await eventually_async(lambda: said in [one.partition(": ")[2] for _, one, _ in run.heard.changes])
        assert running_services(run.heard.nodes[run.node_id].offers) == []
        assert lives(tmp_path / "node") == []


@pytest.mark.root
async def test_one_that_runs_as_another_user_reads_what_containers_leave_and_no_other_user_does(
    service: AuxiliaryService, public_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    look = 'import os, time; os.listdir(".")\nopen("lives", "a").write(f"{os.getuid()} there\\n")\ntime.sleep(1000)'
    reader = AuxiliaryService(name=NAME, command=("/usr/bin/python3", "-c", look), user="games")
    engine = EmbeddedEngine(
        NODE, public_dir / "node", isolation=IsolationSettings(mode=IsolationMode.NONE), services=[reader]
    )
    context = LaunchContext(commands=("mkdir $LOCAL_DIRS/a; echo kept > $LOCAL_DIRS/a/file",))
    application_id = f"application_{os.getpid()}_0001"
    async with started(engine) as run:
        await serves(run)
        await eventually_async(lambda: lives(public_dir / "node") == [[str(pwd.getpwnam("games").pw_uid), "there"]])
        left = run.launch(*context.command, env=context.variables(), application_id=application_id, user="nobody")
        assert (await run.ended(left)).exit_code == 0
        file = public_dir / "node" / records.APPLICATIONS / application_id / "a" / "file"
        said = {}
        for user in ("games", "daemon"):
            looks = run.launch("sh", "-c", f"cat {file} || echo refused", user=user)
            await run.ended(looks)
            said[user] = await run.log(looks)
        assert said == {"games": "kept\n", "daemon": "refused\n"}
