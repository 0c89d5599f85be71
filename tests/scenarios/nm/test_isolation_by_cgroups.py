"""Containers held to their limits by this machine's own cgroups."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.containers import ExitReason, LogStream
from hrm.model.errors import ClusterError
from hrm.model.isolation import IsolationMode, IsolationSettings, Means
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.nm.cgroups import hierarchies, machine
from hrm.nm.cgroups.limits import Limits
from hrm.nm.cgroups.pool import Pool, Slot
from hrm.nm.gpus.node_gpus import NodeGpus
from hrm.nm.shepherd.child import Children
from hrm.testing import EngineHarness, eventually, eventually_async, kill_shepherd, shepherd_pid, started
from hrm.testing.gpus import RecordedProbe
from hrm.testing.shepherds import cgroups_of

pytestmark = pytest.mark.root

NODE = NodeSpec(node_id="node1", total=Resources(4096, 4000))
RECORDING = Path(__file__).parents[2] / "recordings" / "two_rtx_2080_ti.json"
SMALL = Resources(memory_mib=64, vcores_milli=1000)
GREEDY = (sys.executable, "-I", "-S", "-c", "x = bytearray(300 << 20)")
SHARES = Path("/sys/fs/cgroup/cpu/cpu.shares")
DENIED, ABSENT = "Operation not permitted", "No such device or address"


@pytest.fixture(scope="module", autouse=True)
def _cgroups_are_here() -> None:
    missing = {"memory", "cpus", "processes", "devices"} - _offered()
    if missing:
        pytest.skip(f"this machine has no cgroups to hold {', '.join(sorted(missing))}")


def _offered() -> set[str]:
    found = machine.find(hierarchies.here(), f"probe-{os.getpid()}")
    if found.pool:
        found.pool.close()
    return set(found.held)


@pytest.fixture
async def run(state_dir: Path) -> AsyncIterator[EngineHarness]:
    settings = IsolationSettings(mode=IsolationMode.FULL, max_processes=40)
    async with started(EmbeddedEngine(NODE, state_dir, heartbeat_interval_s=0.05, isolation=settings)) as harness:
        yield harness


def processes_in(state_dir: Path) -> list[int]:
    """All that live in cgroups of the node."""
    return [
        int(pid)
        for base in cgroups_of(state_dir)
        for file in base.rglob("cgroup.procs")
        for pid in file.read_text().split()
    ]


async def test_it_says_what_is_enforced(run: EngineHarness) -> None:
    guards = {guard.resource: guard for guard in run.heard.isolation["node1"].guards}

    for resource in ("memory", "cpus", "processes", "gpus"):
        assert guards[resource].means is Means.ENFORCED
        assert guards[resource].by.startswith("cgroup v")


# --- memory


async def test_out_of_memory_ends_a_container_with_the_limit_in_its_message(run: EngineHarness) -> None:
    sibling = run.launch("sleep", "1000", resources=SMALL)
    record = await run.ended(run.launch(*GREEDY, resources=SMALL))

    assert (record.reason, record.exit_code) == (ExitReason.EXITED, 137)
    assert record.detail == "out of memory: used 64 MiB of 64 MiB"
    assert sibling not in {end.container_id for end in run.heard.ends}, "the sibling lives"
    run.stop(sibling, grace_s=0)
    assert (await run.ended(sibling)).reason is ExitReason.STOPPED


async def test_all_of_a_container_ends_with_the_process_that_was_too_greedy(run: EngineHarness) -> None:
    command = ("sh", "-c", '"$@"; echo went on; sleep 1000', "sh", *GREEDY)
    container_id = run.launch(*command, resources=SMALL)

    record = await run.ended(container_id)

    assert (record.exit_code, record.detail) == (137, "out of memory: used 64 MiB of 64 MiB")


async def test_the_next_container_in_the_same_cgroup_has_a_clean_slate(run: EngineHarness) -> None:
    await run.ended(run.launch(*GREEDY, resources=SMALL))

    for _ in range(12):
        record = await run.ended(run.launch("sh", "-c", "exit 3", resources=SMALL))
        assert (record.exit_code, record.detail) == (3, "")


async def test_a_container_may_use_what_it_asked_for(run: EngineHarness) -> None:
    command = (sys.executable, "-I", "-S", "-c", "x = bytearray(40 << 20)")

    assert (await run.ended(run.launch(*command, resources=SMALL))).exit_code == 0


async def test_what_one_leaves_in_shared_memory_is_not_charged_to_the_next(run: EngineHarness) -> None:
    left = Path("/dev/shm") / f"hrm-test-{os.getpid()}"
    try:
        fill = f"head -c 40000000 /dev/zero > {left}"
        assert (await run.ended(run.launch("sh", "-c", fill, resources=SMALL))).exit_code == 0
        for _ in range(12):
            command = (sys.executable, "-I", "-S", "-c", "x = bytearray(40 << 20)")
            assert (await run.ended(run.launch(*command, resources=SMALL))).exit_code == 0
    finally:
        left.unlink()


# --- other limits while it runs

#: Takes so many MiB more for each line that comes, and says so.
_TAKE = "x = []\nfor i in open(0):\n  x.append(bytearray(int(i) << 20))\n  print('took', int(i))"
TAKES = (sys.executable, "-I", "-S", "-u", "-c", _TAKE)


async def taking(run: EngineHarness) -> str:
    container_id = run.launch(*TAKES, resources=SMALL, stdin=True)
    await run.engine.write_stdin(run.node_id, container_id, b"10\n")
    await run.printed(container_id, "took 10")
    return container_id


async def test_one_that_was_let_grow_may_use_more(run: EngineHarness) -> None:
    container_id = await taking(run)
    run.engine.resize(run.node_id, container_id, Resources(memory_mib=256, vcores_milli=2000))

    await run.engine.write_stdin(run.node_id, container_id, b"120\n")
    await run.printed(container_id, "took 120")
    await run.engine.write_stdin(run.node_id, container_id, b"300\n")
    record = await run.ended(container_id)

    assert (record.exit_code, record.detail) == (137, "out of memory: used 256 MiB of 256 MiB")


async def test_one_that_was_cut_down_ends_at_its_new_limit(run: EngineHarness) -> None:
    container_id = await taking(run)
    run.engine.resize(run.node_id, container_id, Resources(memory_mib=32, vcores_milli=1000))
    await run.engine.write_stdin(run.node_id, container_id, b"40\n")

    record = await run.ended(container_id)

    assert (record.exit_code, record.detail) == (137, "out of memory: used 32 MiB of 32 MiB")


async def test_one_that_uses_more_than_is_left_to_it_ends(run: EngineHarness) -> None:
    container_id = await taking(run)
    run.engine.resize(run.node_id, container_id, Resources(memory_mib=8, vcores_milli=1000))

    record = await run.ended(container_id)

    assert record.exit_code == 137
    assert record.detail.startswith("out of memory: ")


async def test_its_weight_for_cpus_follows(run: EngineHarness, state_dir: Path) -> None:
    container_id = await taking(run)

    def weights() -> set[str]:
        files = [*(base.rglob("cpu.shares") for base in cgroups_of(state_dir))]
        files += [*(base.rglob("cpu.weight") for base in cgroups_of(state_dir))]
        return {file.read_text().strip() for found in files for file in found if file.parent.name.isdigit()}

    before = weights()
    run.engine.resize(run.node_id, container_id, Resources(memory_mib=64, vcores_milli=7000))
    await eventually_async(lambda: bool(weights() - before), describe="the weight has changed")


async def test_the_next_shepherd_knows_the_limits_that_it_has_now(state_dir: Path) -> None:
    settings = IsolationSettings(mode=IsolationMode.FULL)
    async with started(EmbeddedEngine(NODE, state_dir, heartbeat_interval_s=0.05, isolation=settings)) as run:
        container_id = await taking(run)
        run.engine.resize(run.node_id, container_id, Resources(memory_mib=256, vcores_milli=1000))
        await run.engine.write_stdin(run.node_id, container_id, b"120\n")
        await run.printed(container_id, "took 120")
        record = await asyncio.to_thread(Path(state_dir, "running", container_id).read_text)
    assert '"memory_mib":256' in record.replace(" ", "")


# --- processes


async def test_a_fork_bomb_ends_at_the_limit_on_processes(run: EngineHarness, state_dir: Path) -> None:
    script = "i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); done; exit 2"
    container_id = run.launch("sh", "-c", script)

    record = await run.ended(container_id)

    assert record.exit_code == 2
    assert record.detail == "exit code 2; it had reached its limit of 40 processes"
    assert "fork" in await run.log(container_id, LogStream.STDERR)
    await eventually_async(lambda: not processes_in(state_dir), describe="nobody is left")


async def test_a_bomb_that_is_growing_is_stopped_as_a_whole(run: EngineHarness, state_dir: Path) -> None:
    bomb = "f() { f & f & sleep 0.01; f; }; echo ready; (f) 2>/dev/null; exec sleep 1000"
    container_id = run.launch("sh", "-c", bomb)
    await run.printed(container_id, "ready")

    run.stop(container_id, grace_s=0)

    assert (await run.ended(container_id)).reason is ExitReason.STOPPED
    await eventually_async(lambda: not processes_in(state_dir), describe="nobody is left")


async def test_nobody_gets_away_by_forgetting_its_parents(run: EngineHarness, state_dir: Path) -> None:
    escape = "setsid env -i /bin/sleep 1000 > /dev/null 2>&1 < /dev/null & sleep 0.1; exit 0"

    assert (await run.ended(run.launch("sh", "-c", escape))).exit_code == 0

    await eventually_async(lambda: not processes_in(state_dir), describe="nobody is left")


# --- CPUs


@pytest.mark.skipif(not SHARES.exists(), reason="no cpu controller of version 1")
async def test_cpus_are_shares_by_what_was_asked_for(run: EngineHarness) -> None:
    script = 'cat $(awk -F: \'/:cpu:|:cpu,/ {print "/sys/fs/cgroup/cpu" $3 "/cpu.shares"}\' /proc/self/cgroup)'
    container_id = run.launch("sh", "-c", script, resources=Resources(64, 2500))

    await run.ended(container_id)

    assert await run.log(container_id) == "2560\n"


# --- devices


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    """A directory with NVIDIA's nodes. There is no driver: who may open them is told that there is no such device."""
    folder = tmp_path / "dev"
    folder.mkdir()
    for name, minor in (("nvidia0", 0), ("nvidia1", 1), ("nvidiactl", 255)):
        os.mknod(folder / name, stat.S_IFCHR | 0o666, os.makedev(195, minor))
        try:
            os.close(os.open(folder / name, os.O_RDONLY))
        except OSError as error:
            if error.strerror != ABSENT:
                pytest.skip(f"device nodes cannot be opened below {tmp_path}: {error.strerror}")
    return folder


async def opened(run: EngineHarness, dev: Path, *device_ids: str) -> dict[str, str]:
    """What a container is told that opens each node."""
    script = 'for node in "$@"; do head -c 1 $node 2>&1; done'
    nodes = [str(dev / name) for name in ("nvidia0", "nvidia1", "nvidiactl")]
    resources = Resources(64, 1000, 1000 * len(device_ids))
    container_id = run.launch("sh", "-c", script, "sh", *nodes, device_ids=device_ids, resources=resources)
    await run.ended(container_id)
    lines = (await run.log(container_id)).splitlines()
    return {line.split("'")[1].rpartition("/")[2]: line.rpartition(": ")[2] for line in lines}


async def test_a_container_can_open_its_own_gpus_and_no_others(state_dir: Path, dev: Path) -> None:
    probe = RecordedProbe.play(RECORDING)
    gpus = NodeGpus(dev=dev)
    gpus.take(await probe.read())
    first, second = (device.device_id for device in gpus.devices)
    async with started(EmbeddedEngine(NODE, state_dir, gpus=gpus, probe=probe)) as run:
        for _ in range(2):
            assert await opened(run, dev) == {"nvidia0": DENIED, "nvidia1": DENIED, "nvidiactl": DENIED}
            assert await opened(run, dev, first) == {"nvidia0": ABSENT, "nvidia1": DENIED, "nvidiactl": ABSENT}
            assert await opened(run, dev, second) == {"nvidia0": DENIED, "nvidia1": ABSENT, "nvidiactl": ABSENT}
            assert set((await opened(run, dev, first, second)).values()) == {ABSENT}


async def test_a_container_cannot_make_a_node_of_its_own(run: EngineHarness) -> None:
    container_id = run.launch("sh", "-c", "mknod gpu c 195 0 || mknod gpu c 195 255")

    assert (await run.ended(container_id)).exit_code == 1
    assert DENIED in await run.log(container_id, LogStream.STDERR)


async def test_other_devices_are_left_alone(run: EngineHarness) -> None:
    container_id = run.launch("sh", "-c", "head -c 1 /dev/zero > /dev/null && mknod full c 1 7")

    assert (await run.ended(container_id)).exit_code == 0


# --- version 2 alone


@pytest.fixture
def version_2() -> Iterator[machine.Found]:
    """What of version 2 there is here, be it only devices and killing."""
    found = machine.find([one for one in hierarchies.here() if one.version == 2], f"test-{os.getpid()}")
    if found.pool is None:
        pytest.skip(f"no cgroups of version 2: {found.not_held}")
    yield found
    found.pool.close()


def born(pool: Pool, slot: Slot, *command: str) -> int:
    """The pid of a program that was born in a slot."""

    def become(is_born: bool) -> NoReturn:
        pool.enter(slot, born=is_born)
        os.execvp(command[0], command)

    return Children().spawn(become, pool.birth_fd(slot))


def code_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_filter_of_ours_denies_and_lends_devices_in_version_2(version_2: machine.Found, dev: Path) -> None:
    pool = version_2.pool
    assert pool is not None

    def says(*devices: tuple[int, int]) -> str:
        slot = pool.take(Limits(devices=devices))
        said = dev.parent / "said"
        code_of(born(pool, slot, "sh", "-c", f"head -c 1 {dev}/nvidia0 2> {said}; head -c 1 {dev}/nvidia1 2>> {said}"))
        pool.give_back(slot)
        return ", ".join(line.rpartition(": ")[2] for line in said.read_text().splitlines())

    assert version_2.held["devices"] == "cgroup v2"
    assert says() == f"{DENIED}, {DENIED}"
    assert says((195, 0)) == f"{ABSENT}, {DENIED}"
    assert says((195, 0), (195, 1)) == f"{ABSENT}, {ABSENT}"
    assert says() == f"{DENIED}, {DENIED}"


def test_in_version_2_a_process_is_born_in_its_cgroup_and_the_kernel_kills_all_of_it(
    version_2: machine.Found,
) -> None:
    pool = version_2.pool
    assert pool is not None
    slot = pool.take(Limits())

    pid = born(pool, slot, "sh", "-c", "sleep 1000 & sleep 1000")

    eventually(lambda: len(pool.members(slot)) == 3)
    assert pid in pool.members(slot)
    pool.kill(slot)
    assert code_of(pid) == -signal.SIGKILL
    eventually(lambda: not pool.members(slot))
    pool.give_back(slot)
    assert not pool.is_dirty


# --- what stays


async def test_a_shepherd_that_leaves_takes_its_cgroups_with_it(run: EngineHarness, state_dir: Path) -> None:
    await run.ended(run.launch("true"))
    bases = cgroups_of(state_dir)
    assert bases

    await run.engine.close()
    pid = shepherd_pid(state_dir)
    assert pid is not None
    os.kill(pid, signal.SIGTERM)

    await eventually_async(lambda: not any(base.exists() for base in bases), describe="no cgroup is left")


async def test_a_crash_leaves_containers_held_and_their_cgroups_to_the_next_shepherd(
    engine: EmbeddedEngine, successor: EmbeddedEngine, state_dir: Path
) -> None:
    escape = "setsid env -i /bin/sleep 1000 > /dev/null 2>&1 < /dev/null & echo $!; exec sleep 1000"
    async with started(engine) as run:
        runs, over = run.launch("sleep", "1000", resources=SMALL), run.launch("sh", "-c", escape)
        stray = int(await run.printed(over, "\n"))
        [pid] = [start.pid for start in run.heard.starts if start.container_id == over]
        bases = cgroups_of(state_dir)
    kill_shepherd(state_dir)
    os.kill(pid, signal.SIGKILL)
    await eventually_async(lambda: not Path(f"/proc/{pid}").exists())

    async with started(successor) as run:
        assert [record.container_id for record in run.heard.registered_finished] == [over]
        await eventually_async(lambda: not Path(f"/proc/{stray}").exists(), describe="what outlived it ends")
        assert cgroups_of(state_dir) == bases
        run.stop(runs, grace_s=0)
        await run.ended(runs)
        await eventually_async(lambda: not processes_in(state_dir), describe="nobody is left")
        assert (await run.ended(run.launch(*GREEDY, resources=SMALL))).detail.startswith("out of memory")


def test_where_not_all_can_be_enforced_a_node_that_must_does_not_start(as_nobody: Callable[..., str]) -> None:
    said = as_nobody(_start_in_full)

    assert said.startswith("node.isolation is full, but this machine cannot enforce memory: cgroup v")
    assert "Delegate=yes" in said


def _start_in_full(state_dir: str) -> str:
    async def start() -> str:
        settings = IsolationSettings(mode=IsolationMode.FULL)
        try:
            async with started(EmbeddedEngine(NODE, Path(state_dir), isolation=settings)):
                return "started"
        except ClusterError as error:
            return str(error)

    return asyncio.run(start())
