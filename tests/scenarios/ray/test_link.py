"""The line between server and agent, without Ray: what is lost, comes twice or late, or from the wrong side."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hrm
from hrm.engines.ray import link as link_module
from hrm.engines.ray.agent import Agent, AgentSettings
from hrm.engines.ray.cluster import Machine
from hrm.engines.ray.link import Link, Outdated, Unreachable
from hrm.engines.ray.member_options import MemberOptions
from hrm.engines.ray.messages import Parcel, Verdict, pack
from hrm.engines.ray.node import RemoteNode
from hrm.model.containers import LaunchSpec, LogStream
from hrm.model.errors import ClusterError
from hrm.model.files import FileSettings, SharedPath
from hrm.model.isolation import IsolationMode, IsolationSettings
from hrm.nm.shepherd.lease import LAPSED, now
from hrm.testing import eventually_async, kill_herd
from hrm.testing.recording import RecordingListener

SETTINGS = AgentSettings(
    namespace="hrm",
    heartbeat_interval_s=0.05,
    lease_s=1.0,
    lease_ends_containers=False,
    keep=None,
    isolation=IsolationSettings(mode=IsolationMode.NONE),
)
MACHINE = Machine(
    ray_node_id="ff", address="10.0.0.2", host="box", raylet_port=1, is_head=False, cpus=2.0, gpus=1, memory_mib=512
)
#: Where a node is to be lost.
TIMEOUT_S = 1.5
#: Where it is not, however busy this machine is.
PATIENCE_S = 600.0


class Wire:
    """An agent that is called directly, as long as nobody cuts the line or plays tricks on it."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.cut = False
        #: Answers that are lost although the call arrived, by method; so many more.
        self.swallow: dict[str, int] = {}
        self.clock_ahead_s = 0.0
        #: True: every parcel arrives twice.
        self.stutter = False
        self._again: Parcel | None = None
        self.version = hrm.__version__

    async def call(self, method: str, *arguments: Any) -> Any:
        if self.cut:
            # As a dead link: no answer ever.
            await asyncio.Event().wait()
        if method == "fetch" and self._again:
            again, self._again = self._again, None
            return again
        answer = await getattr(self.agent, method)(*arguments)
        if method == "fetch" and self.stutter:
            self._again = answer
        if self.cut:
            await asyncio.Event().wait()
        if self.swallow.get(method, 0):
            self.swallow[method] -= 1
            raise Unreachable("the answer was lost")
        if method == "hello" and "clock" in answer:
            answer["clock"] += self.clock_ahead_s
        return answer


class Line:
    """A link over a wire, its node, and what was heard."""

    def __init__(
        self, wire: Wire, settings: AgentSettings, *, epoch: int = 1, server: str = "one", timeout_s: float = PATIENCE_S
    ) -> None:
        self.wire = wire
        self.heard = RecordingListener()
        self.refused: list[str] = []
        self.is_gone = False
        self._sessions = 0
        self.node = RemoteNode(MACHINE, lambda node: "", self.refused.append, lambda: self.heard, lambda *_: None)

        def next_generation() -> tuple[int, int]:
            self._sessions += 1
            return (epoch, self._sessions)

        async def gone() -> bool:
            return self.is_gone

        self.link = Link(
            wire, self.node, settings, server=server, generations=next_generation, timeout_s=timeout_s, gone=gone
        )
        self.node.link = self.link

    def launch(self, container_id: str, *command: str) -> None:
        spec = LaunchSpec(container_id=container_id, application_id="application_1_0001", user="root", command=command)
        self.link.send("launch", [spec])

    async def registered(self) -> None:
        await eventually_async(lambda: self.node.up, describe="the node registers")

    async def ended(self, container_id: str) -> Any:
        found = await eventually_async(
            lambda: [
                end for end in [*self.heard.ends, *self.heard.registered_finished] if end.container_id == container_id
            ],
            describe=f"{container_id} ends",
        )
        return found[0]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "GREETING_S", 0.5)
    monkeypatch.setattr(link_module, "REFUSED_RETRY_S", 0.1)
    monkeypatch.setattr(link_module, "RETRY_S", 0.05)


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "node"
    kill_herd(tmp_path / "node")


@pytest.fixture
async def agent(state_dir: Path) -> AsyncIterator[Agent]:
    agent = Agent(MemberOptions(node_id="box", state_dir=str(state_dir), virtual_gpus=1))
    yield agent
    if agent._manager is not None:
        await agent._manager.close()


@contextlib.asynccontextmanager
async def talking(agent: Agent, settings: AgentSettings = SETTINGS, **options: Any) -> AsyncIterator[Line]:
    line = Line(Wire(agent), settings, **options)
    running = asyncio.create_task(line.link.run())
    try:
        yield line
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def line(agent: Agent) -> AsyncIterator[Line]:
    async with talking(agent) as line:
        await line.registered()
        yield line


@pytest.fixture
async def hasty(agent: Agent) -> AsyncIterator[Line]:
    """One whose node is lost after `TIMEOUT_S`."""
    async with talking(agent, timeout_s=TIMEOUT_S) as line:
        await line.registered()
        yield line


async def test_a_report_whose_answer_was_lost_is_told_once_all_the_same(line: Line) -> None:
    line.wire.swallow["fetch"] = 1
    line.launch("container_1", "true")
    assert (await line.ended("container_1")).exit_code == 0
    line.launch("container_2", "true")
    await line.ended("container_2")
    told = [end.container_id for end in line.heard.ends]
    assert len(told) == len(set(told))


async def test_a_report_that_comes_twice_is_told_once(line: Line) -> None:
    line.wire.stutter = True
    for number in range(5):
        line.launch(f"container_{number}", "true")
        await line.ended(f"container_{number}")
    told = [end.container_id for end in line.heard.ends]
    assert told == [f"container_{number}" for number in range(5)]


async def test_a_command_whose_answer_was_lost_is_done_once(line: Line, tmp_path: Path) -> None:
    count = tmp_path / "count"
    line.launch("container_1", "sh", "-c", f"trap 'echo x >> {count}' USR1; echo; while :; do sleep 0.05; done")
    await eventually_async(lambda: line.heard.starts)

    async def trapped() -> bool:
        return (await line.link.ask("read_log", "container_1", LogStream.STDOUT, 0, 10)).data == b"\n"

    await eventually_async(trapped)
    line.wire.swallow["obey"] = 2
    line.link.send("signal", "container_1", 10)
    await eventually_async(count.exists)
    line.link.send("stop", ["container_1"], grace_s=0)
    await line.ended("container_1")
    assert count.read_text() == "x\n"


async def test_a_node_that_is_cut_off_is_lost_after_its_time_and_tells_everything_when_it_is_back(hasty: Line) -> None:
    line = hasty
    line.launch("container_1", "sh", "-c", "exit 4")
    await line.ended("container_1")
    line.launch("container_2", "sleep", "1000")
    await eventually_async(lambda: [s for s in line.heard.starts if s.container_id == "container_2"])
    line.wire.cut = True
    await eventually_async(lambda: line.heard.lost)
    assert asyncio.get_running_loop().time() - line.link._heard_at >= TIMEOUT_S
    assert line.heard.lost == [("box", "nothing was heard of it for 1.5 s")]
    line.heard.registered_running.clear()
    line.wire.cut = False
    await line.registered()
    assert [start.container_id for start in line.heard.registered_running] == ["container_2"]
    assert [(end.container_id, end.exit_code) for end in line.heard.registered_finished] == [("container_1", 4)]
    line.link.send("stop", ["container_2"], grace_s=0)
    await line.ended("container_2")


async def test_a_launch_that_arrives_after_its_node_was_given_up_starts_nothing(agent: Agent, hasty: Line) -> None:
    line = hasty
    generation, stamp = line.link._generation, line.link._stamp
    line.wire.cut = True
    await eventually_async(lambda: line.heard.lost)
    spec = LaunchSpec(container_id="container_9", application_id="application_1_0001", user="root", command=("true",))
    late = pack([("launch", ([spec],), {})])
    assert await agent.obey(generation, 1000, stamp, late) is Verdict.LAPSED
    line.wire.cut = False
    await line.registered()
    assert await agent.obey(generation, 1001, now(), late) is Verdict.STALE
    # What is asked for after it has been done.
    line.launch("container_1", "true")
    await line.ended("container_1")
    assert "container_9" not in [end.container_id for end in line.heard.ends]


async def test_what_was_under_way_when_the_line_was_cut_is_said_again_but_for_launches_and_signals(
    hasty: Line,
) -> None:
    line = hasty
    line.launch("container_1", "sleep", "1000")
    await eventually_async(lambda: line.heard.starts)
    line.wire.cut = True
    line.link.send("stop", ["container_1"], grace_s=0)
    line.launch("container_2", "true")
    await eventually_async(lambda: line.heard.lost)
    line.link.send("acknowledge", ["container_1"])
    line.link.send("signal", "container_1", 10)
    line.wire.cut = False
    await line.registered()
    assert (await line.ended("container_1")).exit_code == 137
    line.launch("container_3", "true")
    await line.ended("container_3")
    assert "container_2" not in [start.container_id for start in line.heard.starts]


async def test_a_link_that_is_ended_as_the_answer_to_its_greeting_comes_ends(line: Line) -> None:
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    class Held(Wire):
        async def call(self, method: str, *arguments: Any) -> Any:
            return await answer

    running = asyncio.create_task(Line(Held(line.wire.agent), SETTINGS, epoch=2).link.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    answer.set_result({"refused": "not now", "retry": True})
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait((running,), timeout=60.0)
    assert running.cancelled()


async def test_a_machine_that_is_known_to_be_gone_is_lost_at_once(line: Line) -> None:
    line.is_gone = True
    line.wire.swallow = {"fetch": 1, "hello": 1000}
    await eventually_async(lambda: line.heard.lost)
    assert line.heard.lost == [("box", "its raylet has ended")]


async def test_where_a_lease_ends_containers_a_node_is_never_lost_before_it_has_run_out(agent: Agent) -> None:
    stop = replace(SETTINGS, lease_s=1.0, lease_ends_containers=True)
    async with talking(agent, stop, timeout_s=4.5) as line:
        await line.registered()
        line.launch("container_1", "sleep", "1000")
        await eventually_async(lambda: line.heard.starts)
        # Its raylet has ended, which says nothing of its containers.
        line.is_gone = True
        line.wire.swallow = {"fetch": 1, "hello": 1000}
        await eventually_async(lambda: line.heard.lost)
        lost_at = time.time()
        line.wire.swallow.clear()
        record = await line.ended("container_1")
        assert record.detail == LAPSED
        assert record.ended_at < lost_at


async def test_a_clock_that_is_off_is_told_of_and_its_times_are_set_right(agent: Agent) -> None:
    async with talking(agent) as line:
        line.wire.clock_ahead_s = 300.0
        await line.registered()
        assert line.heard.changes[-1][1].startswith("its clock is 5m00s ahead")
        line.launch("container_1", "true")
        # The agent's own clock is right: what it tells is taken for five minutes early.
        assert (await line.ended("container_1")).ended_at == pytest.approx(time.time() - 300, abs=60)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"version": "9.9.9"}, f"HRM {hrm.__version__} is there, and 9.9.9 is the server's"),
        ({"protocol": 99}, f"HRM {hrm.__version__} is there"),
    ],
)
async def test_another_version_is_refused_in_words(agent: Agent, changed: dict[str, Any], said: str) -> None:
    greeting = {
        "protocol": 1,
        "version": hrm.__version__,
        "server": "one",
        "generation": (1, 1),
        "settings": pack(SETTINGS),
    }
    answer = await agent.hello({**greeting, **changed})
    assert said in answer["refused"]
    assert "retry" not in answer, "it is no matter of waiting"


async def test_an_agent_of_another_version_ends_the_link_so_that_it_can_be_replaced(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hrm, "__version__", "9.9.9")
    successor = Line(_Older(line.wire.agent), SETTINGS, epoch=2)
    with pytest.raises(Outdated, match=r"is there, and 0\.0\.1"):
        await successor.link.run()


class _Older(Wire):
    async def call(self, method: str, *arguments: Any) -> Any:
        greeting = {**arguments[0], "version": "0.0.1"}
        return await super().call(method, greeting)


async def test_a_question_to_a_node_that_falls_silent_is_not_waited_for_for_ever(hasty: Line) -> None:
    line = hasty
    line.launch("container_1", "true")
    await line.ended("container_1")
    line.wire.cut = True
    with pytest.raises(ClusterError, match="fallen silent"):
        await line.link.ask("read_log", "container_1", LogStream.STDOUT, 0, 10)
    with pytest.raises(ClusterError, match="out of reach"):
        await line.link.ask("read_log", "container_1", LogStream.STDOUT, 0, 10)
    line.wire.cut = False
    await line.registered()
    assert (await line.link.ask("read_log", "container_1", LogStream.STDOUT, 0, 10)).end


async def test_a_server_of_another_home_does_not_take_over_a_node_that_is_in_use(agent: Agent, line: Line) -> None:
    async with talking(agent, server="another", epoch=99) as other:
        await eventually_async(lambda: other.refused)
        assert "another HRM server (one)" in other.refused[0]
        line.launch("container_1", "true")
        await line.ended("container_1")


async def test_a_server_that_restarts_takes_its_nodes_back_from_the_one_before(agent: Agent, line: Line) -> None:
    line.launch("container_1", "sleep", "1000")
    await eventually_async(lambda: line.heard.starts)
    async with talking(agent, epoch=2) as successor:
        await successor.registered()
        assert [start.container_id for start in successor.heard.registered_running] == ["container_1"]
        await eventually_async(lambda: line.refused)
        assert line.refused[-1] == "a later session has begun"
        successor.link.send("stop", ["container_1"], grace_s=0)
        await successor.ended("container_1")


async def test_what_a_machine_offers_is_told_with_it_and_when_that_changes(agent: Agent, tmp_path: Path) -> None:
    marker = tmp_path / "shared" / ".marker"
    marker.parent.mkdir()
    path = SharedPath(path=str(marker.parent), marker=".marker")
    settings = replace(SETTINGS, files=FileSettings(shared_paths=(path,), shared_check_interval_s=0.05))
    offer = f"shared path {path.path}"
    async with talking(agent, settings) as line:
        await line.registered()
        assert line.heard.nodes["box"].offers == ()
        assert dict(line.heard.nodes["box"].attributes)["arch"] == os.uname().machine
        assert f"{offer} has no .marker" in line.heard.changes[-1][1]

        marker.write_text("")
        await eventually_async(lambda: line.heard.nodes["box"].offers == (offer,), 30.0)
        assert line.heard.changes[-1][1] == ""
