"""Containers whose program is started anew in place, on a real node: what lives on, what ends, who survives what."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.containers import ExitReason, LaunchSpec, LogStream
from hrm.model.errors import Conflict
from hrm.model.isolation import IsolationMode, IsolationSettings
from hrm.model.launch_contexts import LaunchContext, LocalResource, ResourceKind
from hrm.model.nodes import NodeSpec
from hrm.model.relaunching import LaunchPhase, LaunchState, LocalizationState, Relaunch, RelaunchKind
from hrm.model.resources import Resources
from hrm.model.retrying import RetryPolicy
from hrm.nm.shepherd import faults, processes, records, wire
from hrm.testing import EngineHarness, eventually_async, kill_shepherd, started
from hrm.testing.engine_launches import Launched
from tests.scenarios.nm.test_guests import join

NODE = NodeSpec(node_id="node1", total=Resources(4096, 4000))
SMALL = Resources(memory_mib=64, vcores_milli=1000)
APPLICATION = "application_1763900000000_0001"
RESTART, REPLACE = RelaunchKind.RESTART, RelaunchKind.REPLACE

#: A server in small: launches a program, orders another in its place, says that this was taken, and lives on.
_HOLDER = """
import asyncio, getpass, sys
from pathlib import Path
from hrm.engines.embedded import EmbeddedEngine
from hrm.model.containers import LaunchSpec
from hrm.model.nodes import NodeSpec
from hrm.model.relaunching import Relaunch, RelaunchKind
from hrm.model.resources import Resources
from hrm.testing import eventually_async, started

async def main():
    node = NodeSpec(node_id="node1", total=Resources(4096, 4000))
    async with started(EmbeddedEngine(node, Path(sys.argv[1]))) as run:
        first, second = (
            LaunchSpec(container_id="container_1", application_id="a", user=getpass.getuser(),
                       command=("sh", "-c", script), restartable=True)
            for script in sys.argv[2:]
        )
        run.engine.launch("node1", [first])
        await run.printed("container_1", "ready")
        order = Relaunch(kind=RelaunchKind.REPLACE, spec=second, auto_commit=False, grace_s=1.0)
        await run.engine.relaunch("node1", "container_1", order)
        print("taken", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture(params=[IsolationMode.AUTO, IsolationMode.NONE], ids=["by cgroups", "without"])
async def run(public_dir: Path, request: pytest.FixtureRequest) -> AsyncIterator[EngineHarness]:
    settings = IsolationSettings(mode=request.param)
    async with started(EmbeddedEngine(NODE, public_dir / "node", heartbeat_interval_s=0.05, isolation=settings)) as run:
        yield run


def launched(run: EngineHarness, script: str, **fields: object) -> Launched:
    return Launched(run, run.spec("sh", "-c", script, restartable=True, **{"resources": SMALL, **fields}))


async def state_of(run: EngineHarness, one: Launched) -> LaunchState:
    return await run.engine.launch_state(run.node_id, one.container_id)


def alive(pid: int) -> bool:
    process = processes.look_up(pid)
    return process is not None and process.alive


async def test_all_of_a_launch_is_gone_before_the_next_begins_in_the_same_cgroups(run: EngineHarness) -> None:
    script = "setsid sleep 1000 & echo $! ; cat /proc/self/cgroup; echo there; wait"
    one = launched(run, f"trap '' TERM; {script}")
    before = await run.printed(one.container_id, "there\n")
    daemon, *cgroups = before.split()

    await one.order(REPLACE, "sh", "-c", f"kill -0 {daemon} && echo alive; cat /proc/self/cgroup; echo now; sleep 1000")
    after = (await run.printed(one.container_id, "now\n")).removeprefix(before)

    assert after.split() == [*cgroups[:-1], "now"]
    assert not alive(int(daemon))


async def test_who_is_told_to_end_as_it_begins_anew_hears_of_it(run: EngineHarness) -> None:
    one = launched(run, "exec sleep 1000")
    await one.runs(1)
    await one.order(RESTART)
    await one.runs(2)
    run.stop(one.container_id, grace_s=1000.0)
    record = await run.ended(one.container_id)
    assert (record.reason, record.exit_code) == (ExitReason.STOPPED, 143)


async def test_a_log_that_is_full_stays_full(run: EngineHarness) -> None:
    one = launched(run, "echo 0123456789; sleep 1000", log_limit_bytes=15)
    await run.printed(one.container_id, "9\n")
    await one.order(RESTART)
    await run.printed(one.container_id, "9\n0123")
    await one.order(RESTART)
    await one.runs(3)
    run.stop(one.container_id)
    await run.ended(one.container_id)
    assert await run.log(one.container_id) == "0123456789\n0123"


async def test_cpu_time_is_that_of_all_launches(run: EngineHarness) -> None:
    burn = "n=0; while [ $n -lt 100000 ]; do n=$((n+1)); done; echo burnt; exec sleep 1000"
    one = launched(run, burn)
    await run.printed(one.container_id, "burnt\n")
    first = processes.look_up((await one.runs(1)).pid)
    assert first is not None
    await one.order(REPLACE, "true")
    record = await run.ended(one.container_id)
    assert record.cpu_s is not None
    assert record.cpu_s >= 0.9 * first.cpu_ticks / processes.TICKS_PER_S > 0


async def test_who_had_too_much_memory_is_not_retried(run: EngineHarness, public_dir: Path) -> None:
    one = launched(run, "sleep 1000", retry=RetryPolicy())
    await one.runs(1)
    reader, writer = await asyncio.open_unix_connection(public_dir / "node" / records.SOCKET)
    writer.write(wire.encode({"op": "fail", "id": one.container_id, "why": "out of memory: used 65 MiB of 64 MiB"}))
    record = await run.ended(one.container_id)
    writer.close()
    assert (record.reason, record.exit_code) == (ExitReason.EXITED, 137)
    assert record.detail.startswith("out of memory")
    assert len(one.starts) == 1
    del reader


async def test_who_is_suspended_is_asked_for_nothing_and_who_is_halted_between_two_launches_waits(
    run: EngineHarness,
) -> None:
    one = launched(run, "sleep 1000")
    await one.runs(1)
    run.engine.freeze(run.node_id, [one.container_id], frozen=True)
    with pytest.raises(Conflict, match="suspended"):
        await one.order(RESTART)
    run.engine.freeze(run.node_id, [one.container_id], frozen=False)
    await one.order(RESTART)
    await one.runs(2)
    run.stop(one.container_id)
    assert (await run.ended(one.container_id)).reason is ExitReason.STOPPED

    other = launched(run, "exit 3", retry=RetryPolicy())

    async def waits() -> bool:
        return bool(other.starts) and (await state_of(run, other)).phase is LaunchPhase.WAITS

    await eventually_async(waits, describe="it waits for its retry")
    for frozen in (True, False):
        run.engine.freeze(run.node_id, [other.container_id], frozen=frozen)
    begun = len(other.starts)
    await eventually_async(lambda: len(other.starts) > begun, describe="it is retried")
    run.stop(other.container_id)
    assert (await run.ended(other.container_id)).reason is ExitReason.STOPPED


async def test_a_program_that_cannot_begin_is_rolled_back_and_the_log_says_why(run: EngineHarness) -> None:
    one = launched(run, "echo first; sleep 1000")
    await run.printed(one.container_id, "first\n")
    await one.order(REPLACE, "hrm-no-such-program", auto_commit=False)
    await run.printed(one.container_id, "first\nfirst\n")
    assert "command not found: hrm-no-such-program" in await run.log(one.container_id, LogStream.STDERR)
    await one.order(REPLACE, "hrm-no-such-program")
    record = await run.ended(one.container_id)
    assert (record.exit_code, record.detail) == (127, "command not found: hrm-no-such-program")


def _order_and_die(state_dir: Path, first: str, second: str) -> None:
    """A server has ``second`` take the place of ``first``, and is killed as soon as it has heard that it will."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(state_dir), first, second], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "taken\n"
        holder.kill()


async def test_what_a_server_had_taken_is_done_once_though_it_is_killed_at_once(public_dir: Path) -> None:
    state_dir, ledger = public_dir / "node", public_dir / "ledger"
    begins = f"echo $$ >> {ledger}"
    first = f"trap '' TERM; {begins}; echo ready; while :; do sleep 1000; done"
    _order_and_die(state_dir, first, f"{begins}; echo second; exec sleep 1000")

    async with started(EmbeddedEngine(NODE, state_dir, heartbeat_interval_s=0.05)) as run:
        await run.printed("container_1", "second\n")
        old, new = (int(pid) for pid in ledger.read_text().split())
        assert (alive(old), alive(new)) == (False, True)
        state = await run.engine.launch_state(run.node_id, "container_1")
        assert (state.launch, state.can_roll_back) == (2, True)
        run.stop("container_1", grace_s=0)
        assert (await run.ended("container_1")).reason is ExitReason.STOPPED


async def test_retries_go_on_while_no_server_is_there(public_dir: Path) -> None:
    state_dir = public_dir / "node"
    async with started(EmbeddedEngine(NODE, state_dir, heartbeat_interval_s=0.05)) as run:
        one = launched(run, "echo once; exit 3", retry=RetryPolicy(max_retries=2))
        await one.runs(1)
    async with started(EmbeddedEngine(NODE, state_dir, heartbeat_interval_s=0.05)) as run:
        assert (await run.ended(one.container_id)).exit_code == 3
        assert await run.log(one.container_id) == "once\nonce\nonce\n"


@pytest.mark.parametrize("point", faults.RELAUNCH_POINTS)
async def test_a_shepherd_that_dies_between_two_launches_leaves_one_process_or_none(
    point: str, public_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = public_dir / "struck"
    monkeypatch.setenv(faults.VARIABLE, f"{point}:1:kill:{mark}")
    ledger = public_dir / "ledger"
    async with started(EmbeddedEngine(NODE, public_dir / "node", heartbeat_interval_s=0.05)) as run:
        one = launched(run, f"echo $$ >> {ledger}; echo ready; exec sleep 1000")
        await run.printed(one.container_id, "ready\n")
        await one.order(RESTART)
        await eventually_async(mark.exists, describe="the shepherd dies")
        await eventually_async(lambda: run.heard.registered_running or run.heard.registered_finished)
        for again in run.heard.registered_running:
            assert (again.launch, alive(again.pid)) == (2, True)
            run.stop(one.container_id, grace_s=0)
        await eventually_async(lambda: run.heard.registered_finished or run.heard.ends, describe="it ends")
        (record,) = run.heard.registered_finished or run.heard.ends
        assert record.reason is ExitReason.LOST
        await eventually_async(lambda: not any(alive(int(pid)) for pid in ledger.read_text().split()))


async def test_after_another_shepherd_what_is_not_known_is_not_restarted_and_what_is_told_replaces_it(
    public_dir: Path,
) -> None:
    async with started(EmbeddedEngine(NODE, public_dir / "node", heartbeat_interval_s=0.05)) as run:
        one = launched(run, "echo first; sleep 1000")
        await run.printed(one.container_id, "first\n")
        (first,) = one.starts
        run.heard.registered_running = []
        kill_shepherd(public_dir / "node")
        await eventually_async(lambda: run.heard.registered_running, describe="another one has it")
        with pytest.raises(Conflict, match="not known any more"):
            await one.order(RESTART)
        await one.order(REPLACE, "sh", "-c", "echo second; exit 5")
        assert (await run.ended(one.container_id)).exit_code == 5
        assert await run.log(one.container_id) == "first\nsecond\n"
        assert not alive(first.pid)


@pytest.mark.root
async def test_after_another_shepherd_a_container_is_still_its_users_and_nothing_in_it_is_roots(
    run: EngineHarness, public_dir: Path
) -> None:
    uid = str(pwd.getpwnam("nobody").pw_uid)
    one = launched(run, "echo ready; sleep 1000", user="nobody")
    await run.printed(one.container_id, "ready\n")
    run.heard.registered_running = []
    kill_shepherd(public_dir / "node")
    await eventually_async(lambda: run.heard.registered_running, describe="another one has it")

    guest = await join(run, one.container_id, "id", "-u")
    assert (await guest.ended(), guest.said) == (0, f"{uid}\n")
    spec = run.spec("sh", "-c", "id -u; sleep 1000", container_id=one.container_id, user="nobody")
    await run.engine.relaunch(run.node_id, one.container_id, Relaunch(kind=REPLACE, spec=spec, grace_s=0.0))
    await run.printed(one.container_id, f"{uid}\n")


# Launch contexts


def local(path: Path, **fields: object) -> LocalResource:
    timestamp_ms = path.stat().st_mtime_ns // 1_000_000
    return LocalResource(**{"url": path.as_uri(), "timestamp_ms": timestamp_ms, **fields})  # type: ignore[arg-type]


def in_context(run: EngineHarness, context: LaunchContext, container_id: str | None = None) -> LaunchSpec:
    fields = {"container_id": container_id} if container_id else {}
    return run.spec(*context.command, env=context.variables(), application_id=APPLICATION, **fields)


def cat(*names: str, **resources: LocalResource) -> LaunchContext:
    return LaunchContext(commands=(f"cat {' '.join(names)}; echo ready; sleep 1000",), local_resources=resources)


async def replaced(run: EngineHarness, one: Launched, context: LaunchContext, **fields: object) -> None:
    order = Relaunch(kind=REPLACE, spec=in_context(run, context, one.container_id), **fields)  # type: ignore[arg-type]
    await run.engine.relaunch(run.node_id, one.container_id, order)


async def test_a_replacement_has_its_own_files_and_those_from_before_and_its_name_for_a_file_wins(
    run: EngineHarness, tmp_path: Path
) -> None:
    for name in ("old", "new", "more"):
        (tmp_path / name).write_text(f"{name}\n")
    one = Launched(run, in_context(run, cat("a", "b", a=local(tmp_path / "old"), b=local(tmp_path / "old"))))
    await run.printed(one.container_id, "old\nold\nready\n")
    await replaced(run, one, cat("a", "b", "c", a=local(tmp_path / "new"), c=local(tmp_path / "more")))
    await run.printed(one.container_id, "ready\nnew\nold\nmore\nready\n")
    await one.order(RESTART)
    await run.printed(one.container_id, "more\nready\nnew\nold\nmore\nready\n")
    links = {file.link: file.state for file in (await state_of(run, one)).localizations}
    assert links == dict.fromkeys(("a", "c"), LocalizationState.COMPLETED)


async def test_what_runs_goes_on_where_the_files_of_a_replacement_cannot_be_had(
    run: EngineHarness, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("here\n")
    one = Launched(run, in_context(run, cat("a", a=local(tmp_path / "file"))))
    await run.printed(one.container_id, "ready\n")
    missing = LocalResource(url=(tmp_path / "gone").as_uri(), timestamp_ms=1)
    await replaced(run, one, cat("b", b=missing), auto_commit=False)

    async def given_up() -> LaunchState | None:
        state = await state_of(run, one)
        return state if state.phase is LaunchPhase.RUNS else None

    state = await eventually_async(given_up, describe="it is given up")
    assert (state.launch, state.can_roll_back) == (1, False)
    assert "its program is not replaced" in state.notes[-1]
    assert "gone" in state.notes[-1]
    assert alive((await one.runs(1)).pid)


async def test_what_was_brought_into_a_container_stays_though_the_nodes_copies_go(
    run: EngineHarness, tmp_path: Path, public_dir: Path
) -> None:
    (tmp_path / "file").write_text("brought\n")
    shutil.make_archive(str(tmp_path / "packed"), "zip", root_dir=tmp_path, base_dir="file")
    one = Launched(run, in_context(run, LaunchContext(commands=("echo ready; sleep 1000",))))
    await run.printed(one.container_id, "ready\n")
    more = LaunchContext(
        commands=("true",),
        local_resources={
            "plain": local(tmp_path / "file"),
            "deep/unpacked": local(tmp_path / "packed.zip", kind=ResourceKind.ARCHIVE),
            "late": LocalResource(url=(tmp_path / "file").as_uri(), timestamp_ms=1),
        },
    )
    await run.engine.localize(run.node_id, in_context(run, more, one.container_id))

    async def over() -> dict[str, str] | None:
        files = (await state_of(run, one)).localizations
        return None if any(file.state == "pending" for file in files) else {file.link: file.message for file in files}

    told = await eventually_async(over, describe="nothing is pending")
    assert (told["plain"], told["deep/unpacked"]) == ("", "")
    assert "changed on src filesystem" in told["late"]
    shutil.rmtree(public_dir / "node" / "cache")
    guest = await join(run, one.container_id, "sh", "-c", "cd $HRM_CONTAINER_DIR; cat plain deep/unpacked/file")
    assert (await guest.ended(), guest.said) == (0, "brought\nbrought\n")


async def test_files_that_are_asked_for_twice_are_brought_once(run: EngineHarness, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("brought\n")
    one = Launched(run, in_context(run, LaunchContext(commands=("echo ready; sleep 1000",))))
    await run.printed(one.container_id, "ready\n")
    more = LaunchContext(commands=("true",), local_resources={"plain": local(tmp_path / "file")})
    again = LaunchContext(
        commands=("true",), local_resources={"plain": local(tmp_path / "file"), "other": local(tmp_path / "file")}
    )
    for context in (more, more, again):
        await run.engine.localize(run.node_id, in_context(run, context, one.container_id))

    async def over() -> bool:
        files = (await state_of(run, one)).localizations
        return [(file.link, file.state, file.message) for file in files] == [
            ("plain", LocalizationState.COMPLETED, ""),
            ("other", LocalizationState.COMPLETED, ""),
        ]

    await eventually_async(over, describe="both are there")


async def test_bringing_files_ends_with_the_container(run: EngineHarness, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never")
    one = Launched(run, in_context(run, LaunchContext(commands=("echo ready; sleep 1000",))))
    await run.printed(one.container_id, "ready\n")
    more = LaunchContext(commands=("true",), local_resources={"never": local(tmp_path / "never")})
    await run.engine.localize(run.node_id, in_context(run, more, one.container_id))
    run.stop(one.container_id, grace_s=0)
    assert (await run.ended(one.container_id)).reason is ExitReason.STOPPED
