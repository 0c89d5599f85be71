"""What is left when something is killed: servers, shepherds, machines."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.containers import ExitReason, LaunchSpec
from hrm.nm.node_manager import NodeManager
from hrm.nm.shepherd import records
from hrm.testing import EngineHarness, eventually, eventually_async, kill_shepherd, shepherd_pid, started

#: A server in small: holds an engine, launches what it reads on its standard input, and says so.
_HOLDER = """
import asyncio, getpass, json, sys
from pathlib import Path
from hrm.engines.embedded import EmbeddedEngine
from hrm.model.containers import LaunchSpec
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.testing import eventually_async, started

async def main():
    node = NodeSpec(node_id="node1", total=Resources(4096, 4000))
    async with started(EmbeddedEngine(node, Path(sys.argv[1]))) as run:
        specs = [
            LaunchSpec(container_id=name, application_id="a", user=getpass.getuser(), command=("sh", "-c", script))
            for name, script in json.loads(sys.argv[2]).items()
        ]
        run.engine.launch("node1", specs)
        await eventually_async(lambda: len(run.heard.starts) == len(specs))
        print("launched", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""

#: Nothing in its environment says that it was ever HRM's.
STRANGER = ("env", "-i", "/bin/sleep", "1000")


@contextmanager
def holder(state_dir: Path, scripts: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process that holds an engine and has launched these scripts; killed in the end if it is still there."""
    command = [sys.executable, "-c", _HOLDER, str(state_dir), json.dumps(scripts)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "launched\n"
            yield process
        finally:
            process.kill()


async def test_containers_survive_the_death_of_the_server_and_are_adopted_with_true_exit_codes(
    engine: EmbeddedEngine, state_dir: Path, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    wait = f"read line < {go}; exit"
    scripts = {"while_dead": "exit 5", "runs_on": f"{wait} 7", "stays": "sleep 1000"}

    with holder(state_dir, scripts) as process:
        process.kill()
        process.wait()
    eventually(lambda: (state_dir / records.ENDED / "while_dead").exists())

    async with started(engine) as run:
        assert {record.container_id for record in run.heard.registered_running} == {"runs_on", "stays"}
        told = {record.container_id: record.exit_code for record in run.heard.registered_finished}
        assert told == {"while_dead": 5}
        go.write_text("\n")
        assert (await run.ended("runs_on")).exit_code == 7
        run.stop("stays")
        assert (await run.ended("stays")).exit_code == 143


async def test_input_is_not_at_its_end_because_the_server_died(
    engine: EmbeddedEngine, successor: EmbeddedEngine
) -> None:
    async with started(engine) as run:
        reader = run.launch("cat", stdin=True)
        await run.engine.write_stdin(run.node_id, reader, b"before ")
        await run.printed(reader, "before ")
    async with started(successor) as run:
        await run.engine.write_stdin(run.node_id, reader, b"after")
        run.engine.close_stdin(run.node_id, reader)
        await run.ended(reader)
        assert await run.log(reader) == "before after"


async def test_what_a_dead_shepherd_leaves_is_lost_when_it_ends_and_watched_until_then(
    engine: EmbeddedEngine, state_dir: Path, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    async with started(engine) as run:
        goes_on = run.launch("sh", "-c", f"echo ready; read line < {go}")
        acknowledged, ended = run.launch("true"), run.launch("sh", "-c", "exit 4")
        await run.printed(goes_on, "ready")
        await run.ended(acknowledged)
        await run.ended(ended)
        run.engine.acknowledge(run.node_id, [acknowledged])
        await run.ended(run.launch("true"))

        kill_shepherd(state_dir)
        await eventually_async(lambda: run.heard.registered_running)

        assert [record.container_id for record in run.heard.registered_running] == [goes_on]
        told = {record.container_id: record.exit_code for record in run.heard.registered_finished}
        assert told[ended] == 4
        assert acknowledged not in told
        go.write_text("\n")
        record = await run.ended(goes_on)
        assert (record.reason, record.exit_code) == (ExitReason.LOST, None)


async def test_what_ended_while_no_shepherd_was_there_is_lost(
    engine: EmbeddedEngine, successor: EmbeddedEngine, state_dir: Path
) -> None:
    async with started(engine) as run:
        container_id = run.launch("sleep", "1000")
        pid = (await eventually_async(lambda: run.heard.starts))[0].pid
    kill_shepherd(state_dir)
    end(pid)
    async with started(successor) as run:
        assert run.heard.registered_running == []
        [record] = run.heard.registered_finished
        assert (record.container_id, record.reason, record.exit_code) == (container_id, ExitReason.LOST, None)


async def test_a_container_of_a_dead_shepherd_can_be_stopped_with_its_children(
    engine: EmbeddedEngine, successor: EmbeddedEngine, state_dir: Path
) -> None:
    async with started(engine) as run:
        container_id = run.launch("sh", "-c", "sleep 1000 & echo $!; wait")
        child = int(await run.printed(container_id, "\n"))
    kill_shepherd(state_dir)
    async with started(successor) as run:
        run.stop(container_id)
        assert (await run.ended(container_id)).reason is ExitReason.LOST
        await eventually_async(lambda: is_gone(child))


async def test_after_a_reboot_everything_that_ran_is_lost_and_no_stranger_is_touched(
    plain_engine: EmbeddedEngine, successor: EmbeddedEngine, state_dir: Path
) -> None:
    async with started(plain_engine) as run:
        container_id = run.launch(*STRANGER)
        pid = (await eventually_async(lambda: run.heard.starts))[0].pid
        await eventually_async(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
    kill_shepherd(state_dir)
    pretend(state_dir, container_id, boot_id="00000000-0000-0000-0000-000000000000")
    async with started(successor) as run:
        [record] = run.heard.registered_finished
        assert record.reason is ExitReason.LOST
        run.stop(container_id, grace_s=0)
        assert (await run.ended(run.launch("true"))).exit_code == 0
        assert not is_gone(pid), "the number is a stranger's now"
    end(pid)


async def test_a_number_that_went_to_another_process_is_never_killed(
    plain_engine: EmbeddedEngine, successor: EmbeddedEngine, state_dir: Path
) -> None:
    async with started(plain_engine) as run:
        container_id = run.launch(*STRANGER)
        pid = (await eventually_async(lambda: run.heard.starts))[0].pid
        await eventually_async(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
    kill_shepherd(state_dir)
    pretend(state_dir, container_id, start_ticks=[1, 2])
    async with started(successor) as run:
        assert [record.reason for record in run.heard.registered_finished] == [ExitReason.LOST]
        run.stop(container_id, grace_s=0)
        assert (await run.ended(run.launch("true"))).exit_code == 0
        assert not is_gone(pid)
    end(pid)


async def test_a_launched_id_never_runs_twice_whoever_died_in_between(
    engine: EmbeddedEngine, successor: EmbeddedEngine, state_dir: Path, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    command = ("sh", "-c", f"echo $HRM_CONTAINER_ID >> {ledger}; exit 6")
    async with started(engine) as run:
        spec = run.spec(*command)
        run.engine.launch(run.node_id, [spec])
        await run.ended(spec.container_id)
        kill_shepherd(state_dir)
        run.heard.nodes.clear()
        await eventually_async(lambda: run.heard.nodes)
        await relaunch(run, spec, expect_code=6)
        run.engine.acknowledge(run.node_id, [spec.container_id])
        await relaunch(run, spec, expect_code=6)
    kill_shepherd(state_dir)
    async with started(successor) as run:
        await relaunch(run, spec, expect_code=6)
    assert ledger.read_text() == f"{spec.container_id}\n"


async def test_what_ran_unheard_of_on_a_node_whose_state_was_deleted_is_lost_and_not_asked_for_again(
    engine: EmbeddedEngine, state_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NodeManager, "_on_news", lambda self, news: None)
    ledger = tmp_path / "ledger"
    async with started(engine) as run:
        container_id = run.launch("sh", "-c", f"echo $HRM_CONTAINER_ID >> {ledger}")
        await eventually_async(ledger.exists)
        shepherd = shepherd_pid(state_dir)
        assert shepherd is not None
        # The shepherd may be writing into it how the container ended.
        await eventually_async(lambda: shutil.rmtree(state_dir, ignore_errors=True) or not state_dir.exists())
        run.heard.nodes.clear()
        os.kill(shepherd, signal.SIGKILL)
        await eventually_async(lambda: run.heard.nodes)
        [record] = run.heard.registered_finished

    assert (record.container_id, record.reason, record.exit_code) == (container_id, ExitReason.LOST, None)
    assert record.detail == "the node's state was deleted"
    assert ledger.read_text() == f"{container_id}\n"


async def test_a_claim_without_a_start_is_lost_and_not_started_again(engine: EmbeddedEngine, state_dir: Path) -> None:
    (state_dir / records.RUNNING).mkdir(parents=True)
    (state_dir / records.RUNNING / "claimed").touch()
    async with started(engine) as run:
        assert [record.reason for record in run.heard.registered_finished] == [ExitReason.LOST]
        spec = run.spec("true", container_id="claimed")
        await relaunch(run, spec, expect_code=None)


async def test_a_container_that_started_but_was_not_written_down_is_found_and_watched(
    engine: EmbeddedEngine, successor: EmbeddedEngine, state_dir: Path
) -> None:
    async with started(engine) as run:
        container_id = run.launch("sleep", "1000")
        [start] = await eventually_async(lambda: run.heard.starts)
    kill_shepherd(state_dir)
    (state_dir / records.RUNNING / container_id).write_bytes(b"")
    async with started(successor) as run:
        [record] = run.heard.registered_running
        assert record.container_id == container_id
        assert record.pid == start.pid
        assert abs(record.started_at - start.started_at) < 1
        run.stop(container_id)
        assert (await run.ended(container_id)).reason is ExitReason.LOST
        await eventually_async(lambda: is_gone(record.pid))


async def test_a_half_written_end_is_lost_and_a_whole_one_is_true(engine: EmbeddedEngine, state_dir: Path) -> None:
    running = state_dir / records.RUNNING
    running.mkdir(parents=True)
    identity = records.encode_line({"pid": 1, "start_ticks": [1, 1], "boot_id": records.boot_id(), "started_at": 1.0})
    end_line = records.encode_line(
        {
            "id": "whole",
            "reason": "exited",
            "code": 9,
            "started_at": 1.0,
            "ended_at": 2.0,
            "detail": "",
            "cpu_s": 0.5,
            "max_rss_mib": 3,
            "dropped": [0, 0],
        }
    )
    (running / "whole").write_bytes(identity + end_line)
    (running / "torn").write_bytes(identity + end_line[:-10])
    async with started(engine) as run:
        told = {record.container_id: (record.reason, record.exit_code) for record in run.heard.registered_finished}
    assert told == {"whole": (ExitReason.EXITED, 9), "torn": (ExitReason.LOST, None)}


async def test_one_shepherd_per_node_however_many_servers_come(
    engine: EmbeddedEngine, successor: EmbeddedEngine, state_dir: Path
) -> None:
    async with started(engine) as run:
        pid = shepherd_pid(state_dir)
        async with started(successor) as second:
            assert shepherd_pid(state_dir) == pid
            container_id = second.launch("true")
            assert (await second.ended(container_id)).exit_code == 0
            assert (await run.ended(container_id)).exit_code == 0


async def relaunch(run: EngineHarness, spec: LaunchSpec, *, expect_code: int | None) -> None:
    """Ask for it again: nothing happens but that its end is told again."""
    run.heard.ends.clear()
    run.engine.launch(run.node_id, [spec])
    assert (await run.ended(spec.container_id)).exit_code == expect_code


def pretend(state_dir: Path, container_id: str, **changes: object) -> None:
    """Change what the run record says of the process."""
    path = state_dir / records.RUNNING / container_id
    identity, _ = records.read(str(path))
    assert identity is not None
    path.write_bytes(records.encode_line({**identity, **changes}))


def end(pid: int) -> None:
    """KILL a process that this test had started, and wait for its end."""
    pidfd = os.pidfd_open(pid)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    assert select.select([pidfd], [], [], 10)[0]
    os.close(pidfd)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True
