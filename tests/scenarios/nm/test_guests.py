"""Programs that join a container that runs, by this machine's kernel: held as it is, and gone with it."""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.errors import ClusterError, Conflict
from hrm.model.execution import ExecSpec, FrameDecoder, FrameKind, exit_code_of, frame, resize_frame
from hrm.model.isolation import IsolationMode, IsolationSettings, Means
from hrm.model.jobs import TerminalSize
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.model.streams import ByteStream
from hrm.nm.shepherd import processes
from hrm.testing import EngineHarness, eventually_async, kill_shepherd, started

NODE = NodeSpec(node_id="node1", total=Resources(4096, 4000))
DEADLINE_S = 60.0
SMALL = Resources(memory_mib=64, vcores_milli=1000)


def node(state_dir: Path, mode: IsolationMode) -> EmbeddedEngine:
    settings = IsolationSettings(mode=mode)
    return EmbeddedEngine(NODE, state_dir, heartbeat_interval_s=0.05, isolation=settings)


@pytest.fixture(params=[IsolationMode.AUTO, IsolationMode.NONE], ids=["by cgroups", "without"])
def mode(request: pytest.FixtureRequest) -> IsolationMode:
    found: IsolationMode = request.param
    return found


@pytest.fixture
async def run(public_dir: Path, mode: IsolationMode) -> AsyncIterator[EngineHarness]:
    async with started(node(public_dir / "node", mode)) as harness:
        yield harness


async def began(run: EngineHarness, script: str = "sleep 1000", **fields: object) -> str:
    """A container whose first process is ready."""
    container_id = run.launch("sh", "-c", f"echo ready; {script}; true", **fields)
    await run.printed(container_id, "ready")
    return container_id


async def join(run: EngineHarness, container_id: str, *command: str, **fields: object) -> Guest:
    spec = ExecSpec(command=command, **fields)  # type: ignore[arg-type]
    return Guest(await run.engine.execute(run.node_id, container_id, spec))


class Guest:
    """What one says, as it comes."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.said = ""
        self.exit_code: int | None = None
        self._decoder = FrameDecoder()

    async def until(self, text: str) -> str:
        while text not in self.said:
            assert await self._more(), f"{text!r} is not in {self.said!r}"
        return self.said

    async def ended(self) -> int:
        while await self._more():
            pass
        await self.stream.close()
        assert self.exit_code is not None
        return self.exit_code

    async def _more(self) -> bool:
        data = await asyncio.wait_for(self.stream.read(), DEADLINE_S)
        for kind, payload in self._decoder.feed(data):
            if kind is FrameKind.EXIT:
                self.exit_code = exit_code_of(payload)
            else:
                self.said += payload.decode()
        return bool(data)

    async def type(self, text: str) -> None:
        await self.stream.write(frame(FrameKind.STDIN, text.encode()))


def lives(pid: int) -> bool:
    process = processes.look_up(pid)
    return process is not None and process.alive


async def test_a_guest_stands_in_the_cgroups_of_the_container_and_has_its_umask_and_place(run: EngineHarness) -> None:
    container_id = await began(run, "umask 0027; cd /usr; cat /proc/self/cgroup; echo there; sleep 1000")
    log = await run.printed(container_id, "there")
    guest = await join(run, container_id, "sh", "-c", "cat /proc/self/cgroup; umask; pwd")

    assert await guest.ended() == 0
    assert guest.said == log.removeprefix("ready\n").removesuffix("there\n") + "0027\n/usr\n"


@pytest.mark.root
async def test_a_guest_is_the_user_of_the_container_and_can_open_its_own_streams(run: EngineHarness) -> None:
    container_id = await began(run, user="nobody")
    entry = pwd.getpwnam("nobody")
    guest = await join(run, container_id, "sh", "-c", "id -u; id -g; echo again > /dev/stderr")
    in_terminal = await join(
        run, container_id, "sh", "-c", "id -u; tty; : > /dev/tty", terminal=TerminalSize(rows=24, columns=80)
    )

    assert (await guest.ended(), guest.said) == (0, f"{entry.pw_uid}\n{entry.pw_gid}\nagain\n")
    assert await in_terminal.ended() == 0
    assert in_terminal.said.startswith(f"{entry.pw_uid}\r\n/dev/pts/")


async def test_a_terminal_has_a_size_that_changes_and_ctrl_c_is_a_key(run: EngineHarness) -> None:
    container_id = await began(run)
    guest = await join(run, container_id, "sh", terminal=TerminalSize(rows=30, columns=90))
    await guest.type("stty size\n")
    await guest.until("30 90")
    await guest.stream.write(resize_frame(41, 132))
    await guest.type("stty size\n")
    await guest.until("41 132")
    # The trap is set before it says so, and it exits by itself: a shell whose command INT killed drops what was typed.
    waits = "trap 'echo it is ${CAUGHT:-caught}; exit' INT; echo it ${BEGINS:-begins}; while :; do sleep 0.1; done"
    await guest.type(f'sh -c "{waits.replace("$", chr(92) + "$")}"\n')
    await guest.until("it begins")
    await guest.type("\x03")
    await guest.until("it is caught")
    await guest.type("echo $((6 * 7))\n")
    await guest.until("42")
    await guest.stream.end()

    assert await guest.ended() in (0, 130)


async def test_what_the_container_may_not_use_its_guest_may_not(public_dir: Path) -> None:
    async with started(node(public_dir / "node", IsolationMode.AUTO)) as run:
        guards = run.heard.isolation["node1"].guards
        if "memory" not in {guard.resource for guard in guards if guard.means is Means.ENFORCED}:
            pytest.skip("no cgroup holds memory here")
        container_id = await began(run, resources=SMALL)
        guest = await join(run, container_id, "sh", "-c", "head -c 200M /dev/zero | tail -c 200M > /dev/null")

        assert await guest.ended() != 0, "it was killed, or its container with it"


async def test_a_guest_ends_with_its_container_with_all_that_it_started(run: EngineHarness) -> None:
    container_id = await began(run)
    guest = await join(run, container_id, "sh", "-c", "setsid sleep 1000 & echo $! $$; wait")
    pids = [int(word) for word in (await guest.until("\n")).split()]
    run.stop(container_id, grace_s=0)
    await run.ended(container_id)

    assert await guest.ended() == 137
    await eventually_async(lambda: not any(map(lives, pids)), DEADLINE_S)


async def test_a_guest_whose_client_is_gone_is_hung_up_on_and_the_container_goes_on(run: EngineHarness) -> None:
    container_id = await began(run)
    for script in ("echo $$; sleep 1000; true", "trap '' HUP TERM; echo $$; while :; do sleep 0.1; done"):
        guest = await join(run, container_id, "sh", "-c", script)
        pid = int(await guest.until("\n"))
        await guest.stream.close()
        await eventually_async(lambda pid=pid: not lives(pid), DEADLINE_S)
    after = await join(run, container_id, "true")

    assert await after.ended() == 0


async def test_a_container_that_is_suspended_is_joined_by_nobody_until_it_goes_on(run: EngineHarness) -> None:
    container_id = await began(run)
    run.engine.freeze(run.node_id, [container_id], frozen=True)
    with pytest.raises(Conflict, match="suspended"):
        await join(run, container_id, "true")
    run.engine.freeze(run.node_id, [container_id], frozen=False)
    guest = await join(run, container_id, "true")

    assert await guest.ended() == 0


async def test_after_another_shepherd_has_taken_over_a_container_can_be_joined_and_ends_its_guests(
    run: EngineHarness, public_dir: Path
) -> None:
    container_id = await began(run)
    first = await join(run, container_id, "sleep", "1000")
    run.heard.nodes.clear()
    kill_shepherd(public_dir / "node")
    assert await first.ended() == 137, "nobody can say how it ended"
    await eventually_async(lambda: run.heard.nodes, DEADLINE_S)
    second = await join(run, container_id, "sh", "-c", "echo $HRM_CONTAINER_ID; exec sleep 1000")
    await second.until(container_id)
    run.stop(container_id, grace_s=0)
    await run.ended(container_id)

    assert await second.ended() == 137


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"command": ("/etc/passwd",)}, "not executable"),
        ({"command": ("true",), "workdir": "/no/such/place"}, "/no/such/place"),
    ],
)
async def test_what_cannot_be_started_is_refused_in_words(
    run: EngineHarness, fields: dict[str, object], words: str
) -> None:
    container_id = await began(run)

    with pytest.raises(Conflict, match=words):
        await run.engine.execute(run.node_id, container_id, ExecSpec(**fields))  # type: ignore[arg-type]


async def test_a_program_that_wrote_over_its_environment_is_joined_by_that_of_its_children(run: EngineHarness) -> None:
    wipes = "exec env -i /bin/sh -c 'echo wiped; sleep 1000; true'"
    with_child = await began(run, f"sleep 1000 & {wipes}")
    await run.printed(with_child, "wiped")
    guest = await join(run, with_child, "sh", "-c", "echo $HRM_CONTAINER_ID")
    assert (await guest.ended(), guest.said) == (0, f"{with_child}\n")

    alone = await began(run, wipes)
    await run.printed(alone, "wiped")
    with pytest.raises(Conflict, match="environment cannot be found"):
        await join(run, alone, "true")


async def test_a_shepherd_of_an_older_version_says_that_it_cannot(
    run: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    container_id = await began(run)
    monkeypatch.setattr("hrm.nm.guests._OP", "an-op-that-is-none")

    with pytest.raises(ClusterError, match="starts no programs in containers that run"):
        await join(run, container_id, "true")


async def test_descriptors_of_guests_are_given_back(run: EngineHarness) -> None:
    container_id = await began(run)

    async def once() -> None:
        guest = await join(run, container_id, "true")
        assert await guest.ended() == 0

    await once()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        await once()

    assert len(os.listdir("/proc/self/fd")) <= before + 2
