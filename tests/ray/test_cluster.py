"""What HRM takes of a Ray cluster that has other users, and what it says where it cannot."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import hrm as hrm_package
from hrm.config.home import Home
from hrm.engines.ray.membership import Membership
from hrm.model.errors import ClusterError
from hrm.testing import eventually_async
from hrm.testing.engine_harness import EngineHarness
from hrm.testing.ray_machines import RayMachines
from hrm.testing.recording import RecordingListener
from tests.ray.conftest import EngineOf

pytestmark = pytest.mark.ray
DEADLINE_S = 40.0
HRM = str(Path(sys.executable).with_name("hrm"))


@pytest.fixture(scope="module")
def one(machines: RayMachines) -> Iterator[RayMachines]:
    machines.add("node1", "--cpus=4", "--memory-mib=2048", "--virtual-gpus=2")
    yield machines


def hrm(home: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HRM, *arguments],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HRM_HOME": str(home), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_server_attaches_to_a_cluster_that_is_there(one: RayMachines, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    here = f", host: {one.head.address}" if one.head.address else ""
    (home / "hrm.yaml").write_text(
        f"engine: {{kind: ray, namespace: attached, slab: 25%, address: '{one.address}'{here}}}\nserver: {{port: 0}}\n"
    )
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(one.head.membership.token_file)}
    up = hrm(home, "up", "--detach", **token)
    assert (up.returncode, "hrm join" in up.stdout) == (0, False), up.stderr
    try:
        done = hrm(home, "run", "--cpus", "0.5", "--memory", "64M", "--", "sh", "-c", "echo on $HRM_NODE_ID; exit 7")
        assert (done.returncode, done.stdout) == (7, "on node1\n"), done.stderr
        status = hrm(home, "status")
        assert "engine        ray, 1 nodes" in status.stdout
    finally:
        down = hrm(home, "down")
    assert "stay in the cluster" in down.stderr


async def test_a_slab_is_a_part_of_each_machine_and_ray_knows_that_it_is_taken(
    one: RayMachines, engine_of: EngineOf
) -> None:
    engine, heard = engine_of(namespace="half", slab=0.5), RecordingListener()
    await engine.start(heard)
    try:
        await eventually_async(lambda: heard.nodes, DEADLINE_S)
        spec = heard.nodes["node1"]
        assert (spec.total.vcores_milli, spec.total.memory_mib, spec.total.gpus_milli) == (2000, 1024, 1000)
        import ray

        left = ray.available_resources()
        # Another quarter is that of the server above: of the CPUs, as GPUs are taken whole.
        assert (left["CPU"], left["GPU"]) == (1.0, 1.0)
    finally:
        await engine.close()


async def test_room_that_other_work_of_ray_s_holds_is_waited_for_and_told(
    one: RayMachines, engine_of: EngineOf
) -> None:
    """The slabs of other servers are such work."""
    engine, heard = engine_of(namespace="whole", slab=1.0), RecordingListener()
    await engine.start(heard)
    try:
        reasons = await eventually_async(lambda: list(heard.refused.values()), DEADLINE_S)
        assert reasons == ["other work of Ray's holds what HRM wants of it (4 CPUs, 2 GPUs)"]
        # What `half` took is its own; whoever may end it can.
        from ray._raylet import PlacementGroupID
        from ray.util import placement_group_table, remove_placement_group
        from ray.util.placement_group import PlacementGroup

        for group_id, group in placement_group_table().items():
            if group["state"] == "CREATED":
                remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(group_id))))
        await eventually_async(lambda: heard.nodes, DEADLINE_S, describe="it is a node now")
        assert list(heard.refused.values()) == [""]
    finally:
        await engine.close()


async def test_an_address_where_no_cluster_is_fails_in_seconds_in_words(one: RayMachines, engine_of: EngineOf) -> None:
    engine = engine_of()
    engine._address = f"{one.head.address or '127.0.0.1'}:1"
    began = time.monotonic()
    with pytest.raises(ClusterError, match="no Ray cluster answers"):
        await engine.start(RecordingListener())
    assert time.monotonic() - began < 10


def test_a_wrong_token_or_address_is_refused_by_join_and_changes_nothing(one: RayMachines, tmp_path: Path) -> None:
    for address, token, code, said in (
        (one.address, "0" * 64, 4, "does not take this token"),
        (f"{one.address.rpartition(':')[0]}:1", one.token, 1, "nothing answers"),
        ("nowhere", one.token, 2, "not HOST:PORT"),
        (one.address, "", 2, "a token is needed"),
    ):
        done = hrm(tmp_path, "join", address, "--token", token)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
        assert "next: " in done.stderr
        assert Membership(Home(tmp_path).ray_dir).pid is None


def test_another_version_of_ray_is_refused_by_join_in_words(one: RayMachines, tmp_path: Path) -> None:
    """Ray itself says so; it is told that it is of another version here."""
    older = tmp_path / "older"
    older.mkdir()
    (older / "sitecustomize.py").write_text(
        "import sys\nif 'start' in sys.argv:\n    import ray\n    ray.__version__ = '2.52.0'\n"
    )
    done = hrm(tmp_path / "home", "join", one.address, "--token", one.token, PYTHONPATH=str(older))
    assert done.returncode == 1
    assert "Ray: 2.52.0" in done.stderr
    assert done.stderr.rstrip().endswith("next: install the versions of Ray and Python that the head has")
    assert Membership(Home(tmp_path / "home").ray_dir).pid is None


def odd_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statement: str) -> None:
    """What joins from now on runs a statement first in each of Ray's workers."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nif any('default_worker' in word for word in sys.orig_argv):\n    {statement}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.real
async def test_a_machine_with_another_hrm_is_no_node_and_says_which_it_has(
    one: RayMachines, engine_of: EngineOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd_workers(tmp_path, monkeypatch, "import hrm; hrm.__version__ = '0.0.1'")
    one.add("older", "--cpus=1", "--memory-mib=512")
    engine, heard = engine_of(namespace="versions"), RecordingListener()
    await engine.start(heard)
    try:
        said = f"HRM 0.0.1 is there, and {hrm_package.__version__} is the server's"
        await eventually_async(lambda: said in heard.refused.values(), DEADLINE_S, describe="it is refused")
        assert "older" not in heard.nodes
    finally:
        await engine.close()


@pytest.mark.real
async def test_a_clock_that_is_five_minutes_off_is_told_and_the_machine_is_a_node(
    one: RayMachines, engine_of: EngineOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd_workers(tmp_path, monkeypatch, "import time; real = time.time; time.time = lambda: real() + 300.0")
    one.add("ahead", "--cpus=1", "--memory-mib=512")
    engine = engine_of(namespace="clocks")
    heard = RecordingListener()
    await engine.start(heard)
    try:
        await eventually_async(lambda: "ahead" in heard.nodes, DEADLINE_S, describe="it is a node")
        told = await eventually_async(
            lambda: [message for node, message, _ in heard.changes if node.node_id == "ahead"], DEADLINE_S
        )
        assert re.match(r"its clock is (4m5|5m0)\ds ahead: times that it tells are set right", told[-1]), told
        run = EngineHarness(engine, heard)
        run.node_id = "ahead"
        assert (await run.ended(run.launch("true"), DEADLINE_S)).exit_code == 0
    finally:
        await engine.close()


def test_leave_says_where_there_is_nothing_to_leave(tmp_path: Path) -> None:
    done = hrm(tmp_path, "leave")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "hrm: this machine is in no cluster")


def test_the_head_of_a_server_that_is_up_does_not_leave_before_it(tmp_path: Path) -> None:
    """It would be started anew."""
    home = Home(tmp_path)
    home.create()
    Membership(home.ray_dir).note(head=True)
    home.server_file.write_text(f'{{"pid": {os.getpid()}}}')
    refused = hrm(tmp_path, "leave")
    home.server_file.unlink()
    gone_on = hrm(tmp_path, "leave")

    assert (refused.returncode, "`hrm down` ends the server first" in refused.stderr) == (2, True), refused.stderr
    assert "this machine is in no cluster" in gone_on.stderr


def test_without_ray_the_error_says_what_to_install(tmp_path: Path) -> None:
    blocked = "import sys; sys.modules['ray'] = None; from hrm.engines.ray.member import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", blocked, f"--dir={tmp_path / 'ray'}", "--head"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'hrm[ray]'" in done.stderr


@pytest.mark.parametrize(("adopts", "found"), [(False, ""), (True, "raylet")])
def test_whether_ray_would_end_the_shepherd_is_found_out_by_trying(adopts: bool, found: str) -> None:
    look = "from hrm.engines.ray.host import reaper; print(asyncio.run(reaper()))"
    subreaper = (
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); ctypes.CDLL(None).prctl(15, b'raylet', 0, 0, 0);" if adopts else ""
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import asyncio, ctypes; {subreaper} {look}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == found
