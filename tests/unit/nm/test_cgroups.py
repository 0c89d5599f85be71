"""Cgroups of both versions: what is found on a machine, what is written for a container, and what is used again.

The hierarchies are ordinary files; `tests/scenarios/nm/test_isolation_by_cgroups.py` does the same with the kernel.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from hrm.nm.cgroups import machine
from hrm.nm.cgroups.hierarchies import Hierarchy, find_hierarchies
from hrm.nm.cgroups.limits import Limits
from hrm.nm.cgroups.machine import Found, gpu_majors
from hrm.nm.cgroups.pool import Pool, Slot
from hrm.testing import fake_cgroups
from hrm.testing.fake_cgroups import FakeCgroups

ALL_V1 = ("memory", "cpu", "pids", "devices", "blkio")
ALL_V2 = ("memory", "cpu", "pids", "io")
EVERYTHING = {"memory", "cpus", "processes", "devices", "io"}
LIMITS = Limits(memory_mib=64, cpus_milli=500, processes=100)


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCgroups:
    # An eventfd cannot be made to tell of an ordinary file.
    monkeypatch.setattr("hrm.nm.cgroups.v1.TreeV1.watch_oom", lambda self, name: -1)
    return FakeCgroups(tmp_path)


Finder = Callable[..., Found]


@pytest.fixture
def find(kernel: FakeCgroups) -> Iterator[Finder]:
    def find(*hierarchies: Hierarchy, bases: Sequence[str] = (), pinning: bool = False) -> Found:
        return machine.find(hierarchies, "k", files=kernel, bases=bases, pinning=pinning, majors=lambda: (195, 511))

    yield find


def v1(kernel: FakeCgroups, *controllers: str) -> list[Hierarchy]:
    return [kernel.mount(1, controller) for controller in controllers or ALL_V1]


def pool_of(found: Found) -> Pool:
    assert found.pool is not None
    return found.pool


def path(slot: Slot, tree: str) -> str:
    return f"{tree}/hrm-k/{slot.name}"


# --- what is there


MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / {root}/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / {root}/with\\040blank rw - cgroup cgroup rw,memory
36 31 0:33 /docker/abc {root}/pids rw - cgroup cgroup rw,pids
40 31 0:37 / {root}/systemd rw - cgroup cgroup rw,name=systemd
41 31 0:38 / {root}/unified rw - cgroup2 cgroup2 rw
"""
OWN = "9:name=systemd:/\n8:pids:/docker/abc/x\n4:memory:/user/me\n1:cpu,cpuacct:/gone\n0::/init.scope\n"


def test_a_hierarchy_is_where_it_is_mounted_and_we_are_where_our_cgroup_is(tmp_path: Path) -> None:
    for folder in ("cpu,cpuacct", "with blank/user/me", "pids/x", "unified/init.scope"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "unified/init.scope/cgroup.controllers").write_text("cpu io\n")

    found = {tuple(sorted(one.controllers)): one for one in find_hierarchies(MOUNTS.format(root=tmp_path), OWN)}

    assert found[("memory",)].own == f"{tmp_path}/with blank/user/me"
    assert found[("pids",)].own == f"{tmp_path}/pids/x", "a container sees a part, and counts from there"
    assert found[("cpu", "cpuacct")].own == f"{tmp_path}/cpu,cpuacct", "a cgroup that cannot be seen is above what can"
    assert found[("cpu", "io")] == Hierarchy(
        2, frozenset({"cpu", "io"}), f"{tmp_path}/unified", f"{tmp_path}/unified/init.scope"
    )


@pytest.mark.parametrize("text", ["", "nonsense\n", "1 2 3\n", "1 2 3 4 5 - cgroup\n", "a b c d e f - cgroup2 x y\n"])
def test_a_mount_table_that_makes_no_sense_has_no_hierarchies(text: str) -> None:
    assert find_hierarchies(text, text) == []


def test_all_of_version_1_holds_everything(kernel: FakeCgroups, find: Finder) -> None:
    found = find(*v1(kernel))

    assert found.held == dict.fromkeys(EVERYTHING, "cgroup v1")
    assert found.not_held == {}


def test_all_of_version_2_holds_everything(kernel: FakeCgroups, find: Finder) -> None:
    found = find(kernel.mount(2, *ALL_V2))

    assert found.held == dict.fromkeys(EVERYTHING, "cgroup v2")


def test_where_both_are_mounted_each_holds_what_it_has(kernel: FakeCgroups, find: Finder) -> None:
    found = find(kernel.mount(2, "memory", "pids"), *v1(kernel, "cpu", "memory"))

    assert found.held == {
        "memory": "cgroup v1",
        "cpus": "cgroup v1",
        "processes": "cgroup v2",
        "devices": "cgroup v2",
    }
    assert found.not_held == {"io": "no cgroup controller"}


def test_controllers_may_share_a_hierarchy(kernel: FakeCgroups, find: Finder) -> None:
    found = find(kernel.mount(1, "cpu", "memory", "pids"))

    assert set(found.held) == {"memory", "cpus", "processes"}
    assert len(pool_of(found).trees) == 1


def test_a_machine_without_cgroups_holds_nothing_and_says_so(find: Finder) -> None:
    assert find(pinning=True) == Found(None, {}, dict.fromkeys(machine.RESOURCES, "no cgroup controller"))


def test_a_read_only_mount_holds_nothing_and_says_why(kernel: FakeCgroups, find: Finder) -> None:
    hierarchies = [*v1(kernel), kernel.mount(2, "io")]
    kernel.read_only = True

    found = find(*hierarchies)

    assert found.pool is None
    assert found.not_held["memory"] == "cgroup v1: Read-only file system"
    assert set(found.not_held) == EVERYTHING


def test_a_hierarchy_that_cannot_be_written_leaves_the_others(kernel: FakeCgroups, find: Finder) -> None:
    kernel.closed = {"memory"}

    found = find(*v1(kernel, "memory", "cpu"))

    assert found.held == {"cpus": "cgroup v1"}
    assert found.not_held["memory"] == "cgroup v1: Permission denied"


def test_without_the_right_to_load_filters_only_the_devices_are_advice(kernel: FakeCgroups, find: Finder) -> None:
    kernel.refuses_filters = PermissionError(errno.EPERM, "Operation not permitted")

    found = find(kernel.mount(2, *ALL_V2))

    assert set(found.held) == EVERYTHING - {"devices"}
    assert found.not_held == {"devices": "cgroup v2: eBPF: Operation not permitted"}


def test_a_kernel_without_weights_for_io_holds_the_rest(kernel: FakeCgroups, find: Finder) -> None:
    hierarchy = kernel.mount(1, "cpuacct", "blkio")
    kernel.make(f"{hierarchy.own}/hrm-k")
    (kernel.root / "cpuacct,blkio/hrm-k/blkio.bfq.weight").unlink()

    assert find(hierarchy, *v1(kernel, "pids")).not_held["io"] == "cgroup v1: the kernel has no weights for it"


def test_weights_that_no_disk_heeds_are_not_told_as_enforced(kernel: FakeCgroups, find: Finder) -> None:
    kernel.has_weighed_disk = False

    assert find(*v1(kernel)).not_held == {"io": "no disk is scheduled by BFQ"}


def test_the_base_is_below_our_own_cgroup_so_that_its_limits_hold(kernel: FakeCgroups, find: Finder) -> None:
    found = find(kernel.mount(1, "memory", own="user/me"))

    assert [tree.base for tree in pool_of(found).trees] == [f"{kernel.root}/memory/user/me/hrm-k"]


def test_a_successor_goes_on_where_the_base_was(kernel: FakeCgroups, find: Finder) -> None:
    hierarchy = kernel.mount(1, "memory", own="user/me")
    before = f"{kernel.root}/memory/elsewhere"
    kernel.make(before)

    found = find(hierarchy, bases=[before, f"{kernel.root}/memory/gone"])

    assert [tree.base for tree in pool_of(found).trees] == [before]


def test_alone_in_its_cgroup_of_version_2_the_shepherd_steps_down(kernel: FakeCgroups, find: Finder) -> None:
    hierarchy = kernel.mount(2, *ALL_V2, own="hrm.service")
    kernel.live_in("unified/hrm.service", os.getpid())

    pool = pool_of(find(hierarchy))

    assert kernel.value("unified/hrm.service/hrm-k/shepherd/cgroup.procs") == str(os.getpid())
    assert kernel.value("unified/hrm.service/cgroup.subtree_control") == "+cpu +io +memory +pids"
    assert kernel.value("unified/hrm.service/hrm-k/cgroup.subtree_control") == "+cpu +io +memory +pids"
    kernel.live_in("unified/hrm.service")
    kernel.live_in("unified/hrm.service/hrm-k/shepherd")
    pool.close()
    assert kernel.value("unified/hrm.service/cgroup.procs") == str(os.getpid()), "it goes back where it came from"
    assert not (kernel.root / "unified/hrm.service/hrm-k").exists()


def test_beside_others_in_its_cgroup_of_version_2_it_goes_to_the_top(kernel: FakeCgroups, find: Finder) -> None:
    hierarchy = kernel.mount(2, *ALL_V2, own="session.scope")
    (kernel.root / "unified/cgroup.type").unlink()
    kernel.live_in("unified/session.scope", os.getpid(), 1)

    found = find(hierarchy)

    assert set(found.held) == EVERYTHING
    assert [tree.base for tree in pool_of(found).trees] == [f"{kernel.root}/unified/hrm-k"]


def test_where_the_top_is_shared_too_only_devices_are_held(kernel: FakeCgroups, find: Finder) -> None:
    hierarchy = kernel.mount(2, *ALL_V2, own="payload")
    kernel.live_in("unified/payload", os.getpid(), 1)
    seen = Hierarchy(2, hierarchy.controllers, hierarchy.own, hierarchy.own)

    found = find(seen)

    assert found.held == {"devices": "cgroup v2"}
    assert found.not_held["memory"] == "cgroup v2: other processes are in the server's cgroup"


def test_majors_are_those_of_all_gpu_drivers_that_are_loaded(tmp_path: Path) -> None:
    characters = "Character devices:\n  1 mem\n195 nvidia-frontend\n510 nvidia-uvm\n508 nvidia-caps\n"
    text = f"{characters}\nBlock devices:\n  7 nvidia\n"
    (tmp_path / "devices").write_text(text)

    assert gpu_majors(str(tmp_path / "devices")) == (195, 508, 510)
    assert gpu_majors(str(tmp_path / "none")) == (195,), "its number is fixed: denied before the driver is loaded"


# --- what a container is held to


def test_limits_become_files_of_version_1(kernel: FakeCgroups, find: Finder) -> None:
    slot = pool_of(find(*v1(kernel))).take(LIMITS)

    assert kernel.value(f"{path(slot, 'memory')}/memory.limit_in_bytes") == str(64 << 20)
    assert kernel.value(f"{path(slot, 'memory')}/memory.memsw.limit_in_bytes") == str(64 << 20)
    assert kernel.value(f"{path(slot, 'cpu')}/cpu.shares") == "512"
    assert kernel.value(f"{path(slot, 'cpu')}/cpu.cfs_quota_us") == "-1"
    assert kernel.value(f"{path(slot, 'pids')}/pids.max") == "100"
    assert kernel.value(f"{path(slot, 'blkio')}/blkio.bfq.weight") == "50"
    denied = [text for file, text in kernel.written if file == f"{path(slot, 'devices')}/devices.deny"]
    assert denied == ["c 195:* rwm", "c 511:* rwm"]


def test_limits_become_files_of_version_2(kernel: FakeCgroups, find: Finder) -> None:
    slot = pool_of(find(kernel.mount(2, *ALL_V2))).take(LIMITS)

    def value(name: str) -> str:
        return kernel.value(f"{path(slot, 'unified')}/{name}")

    assert value("memory.max") == str(64 << 20)
    assert (value("memory.swap.max"), value("memory.oom.group")) == ("0", "1")
    assert (value("cpu.weight"), value("cpu.max")) == ("50", "max 100000")
    assert value("pids.max") == "100"
    assert value("io.weight") == "default 50"


def test_strict_cpus_are_a_quota(kernel: FakeCgroups, find: Finder) -> None:
    strict = LIMITS._replace(strict_cpus=True)

    old = pool_of(find(*v1(kernel))).take(strict)
    new = pool_of(find(kernel.mount(2, *ALL_V2))).take(strict)

    assert kernel.value(f"{path(old, 'cpu')}/cpu.cfs_quota_us") == "50000"
    assert kernel.value(f"{path(new, 'unified')}/cpu.max") == "50000 100000"


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_runs_on_its_cpus_and_the_next_one_on_all(kernel: FakeCgroups, find: Finder, version: int) -> None:
    found = find(kernel.mount(version, "cpuset"), pinning=True)
    pool = pool_of(found)
    tree, everywhere = ("cpuset", "0-3") if version == 1 else ("unified", "")
    slot = pool.take(LIMITS._replace(cpus=(0, 1, 3)))

    def cpus() -> str:
        return kernel.value(f"{path(slot, tree)}/cpuset.cpus")

    assert found.held["pinning"] == f"cgroup v{version}"
    assert cpus() == "0-1,3"
    pool.confine(slot, (2,))
    assert cpus() == "2"
    pool.give_back(slot)
    assert pool.take(LIMITS) is slot
    assert cpus() == everywhere


def test_cpusets_are_joined_only_where_somebody_is_pinned(kernel: FakeCgroups, find: Finder) -> None:
    hierarchies = v1(kernel, "memory", "cpuset")

    assert [tree.hierarchy for tree in pool_of(find(*hierarchies)).trees] == hierarchies[:1]
    assert "pinning" not in find(*hierarchies).not_held
    assert pool_of(find(*hierarchies, pinning=True)).pins()


def test_where_cpusets_come_with_another_controller_containers_can_live(kernel: FakeCgroups, find: Finder) -> None:
    slot = pool_of(find(kernel.mount(1, "cpu", "cpuset"))).take(LIMITS)

    assert kernel.value(f"{path(slot, 'cpu,cpuset')}/cpuset.cpus") == "0-3"
    assert kernel.value(f"{path(slot, 'cpu,cpuset')}/cpuset.mems") == "0"


def test_what_cannot_pin_says_why(kernel: FakeCgroups, find: Finder) -> None:
    assert find(*v1(kernel), pinning=True).not_held["pinning"] == "no cgroup controller"


def test_a_limit_below_what_a_start_may_take_is_held_at_that(kernel: FakeCgroups, find: Finder) -> None:
    slot = pool_of(find(*v1(kernel))).take(LIMITS._replace(memory_mib=1))

    assert kernel.value(f"{path(slot, 'memory')}/memory.limit_in_bytes") == str(8 << 20)


@pytest.mark.parametrize(("before", "after"), [(64, 128), (128, 64), (64, 0), (0, 64)])
def test_memory_alone_is_never_allowed_more_than_with_swap(
    kernel: FakeCgroups, find: Finder, before: int, after: int
) -> None:
    pool = pool_of(find(*v1(kernel)))
    pool.give_back(slot := pool.take(LIMITS._replace(memory_mib=before)))
    kernel.written.clear()

    assert pool.take(LIMITS._replace(memory_mib=after)) is slot
    files = [file.rpartition("/")[2] for file, _ in kernel.written]
    grows = not after or (before and after > before)
    order = ["memory.memsw.limit_in_bytes", "memory.limit_in_bytes"]
    assert files == [*(order if grows else order[::-1]), "memory.max_usage_in_bytes"]


def test_where_swap_is_not_counted_nothing_goes_there(
    kernel: FakeCgroups, find: Finder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(fake_cgroups._V1["memory"], "memory.memsw.limit_in_bytes")
    slot = pool_of(find(*v1(kernel))).take(LIMITS)

    assert kernel.value(f"{path(slot, 'memory')}/memory.limit_in_bytes") == str(64 << 20)
    assert kernel.value(f"{path(slot, 'memory')}/memory.swappiness") == "0"


def test_what_is_lent_of_a_major_is_excepted_minor_by_minor(kernel: FakeCgroups, find: Finder) -> None:
    slot = pool_of(find(*v1(kernel))).take(LIMITS._replace(devices=((195, 0), (195, 255))))

    denied = {text for file, text in kernel.written if file == f"{path(slot, 'devices')}/devices.deny"}
    assert "c 195:* rwm" not in denied
    assert "c 511:* rwm" in denied
    assert {f"c 195:{minor} rwm" for minor in range(1, 255)} <= denied
    assert not denied & {"c 195:0 rwm", "c 195:255 rwm"}


def test_a_gpu_that_was_lent_is_denied_to_the_next(kernel: FakeCgroups, find: Finder) -> None:
    pool = pool_of(find(*v1(kernel)))
    pool.give_back(slot := pool.take(LIMITS._replace(devices=((195, 0),))))
    kernel.written.clear()

    assert pool.take(LIMITS) is slot
    assert [text for file, text in kernel.written if file.startswith("devices/")] == [
        "a",
        "c 195:* rwm",
        "c 511:* rwm",
    ]


def test_a_filter_of_version_2_is_exchanged_and_never_missing(kernel: FakeCgroups, find: Finder) -> None:
    pool = pool_of(find(kernel.mount(2, *ALL_V2)))
    slot = pool.take(LIMITS)
    (none,) = kernel.attached[path(slot, "unified")]
    pool.give_back(slot)

    assert pool.take(LIMITS._replace(devices=((195, 0),))) is slot
    (lent,) = kernel.attached[path(slot, "unified")]
    assert lent != none
    pool.give_back(slot)
    assert pool.take(LIMITS) is slot
    assert kernel.attached[path(slot, "unified")] == [none]
    assert len(set(kernel.programs.values())) == len(kernel.programs), "each is loaded once"


def test_the_same_limits_again_write_nothing(kernel: FakeCgroups, find: Finder) -> None:
    pool = pool_of(find(*v1(kernel)))
    pool.give_back(pool.take(LIMITS))
    kernel.written.clear()

    pool.take(LIMITS)

    assert kernel.written == []


# --- the pool


@pytest.fixture
def pool(kernel: FakeCgroups, find: Finder) -> Pool:
    return pool_of(find(*v1(kernel)))


def slots(kernel: FakeCgroups, tree: str = "memory") -> list[str]:
    return kernel.children(str(kernel.root / tree / "hrm-k"))


def test_slots_are_ready_before_the_first_container(kernel: FakeCgroups, pool: Pool) -> None:
    pool.make_ahead()
    made = slots(kernel)

    pool.take(LIMITS)

    assert len(made) == 8
    assert slots(kernel) == made


def test_no_two_containers_share_a_slot(pool: Pool) -> None:
    taken = [pool.take(LIMITS).name for _ in range(20)]

    assert len(set(taken)) == 20


def test_a_slot_where_somebody_lives_on_is_not_used_again_until_it_is_empty(kernel: FakeCgroups, pool: Pool) -> None:
    slot = pool.take(LIMITS)
    # A number that no process has.
    kernel.live_in(path(slot, "pids"), 1 << 22)

    pool.give_back(slot)
    assert pool.is_dirty
    other = pool.take(LIMITS)
    assert other is not slot

    kernel.live_in(path(slot, "pids"))
    pool.sweep()
    assert not pool.is_dirty
    assert pool.take(LIMITS) is slot


def test_who_is_killed_can_make_no_process_meanwhile(kernel: FakeCgroups, pool: Pool) -> None:
    slot = pool.take(LIMITS)
    kernel.live_in(path(slot, "pids"), 1 << 22)
    kernel.written.clear()

    pool.kill(slot)

    assert kernel.written == [(f"{path(slot, 'pids')}/pids.max", "0"), (f"{path(slot, 'pids')}/pids.max", "100")]


def test_in_a_cgroup_of_version_2_the_kernel_kills(kernel: FakeCgroups, find: Finder) -> None:
    pool = pool_of(find(kernel.mount(2, *ALL_V2)))

    pool.kill(slot := pool.take(LIMITS))

    assert kernel.value(f"{path(slot, 'unified')}/cgroup.kill") == "1"


def test_a_cgroup_that_the_kernel_killed_is_not_used_again(kernel: FakeCgroups, find: Finder) -> None:
    pool = pool_of(find(kernel.mount(2, *ALL_V2)))
    pool.kill(slot := pool.take(LIMITS))

    pool.give_back(slot)

    assert slot.name not in slots(kernel, "unified")
    assert slot.name not in {pool.take(LIMITS).name for _ in range(70)}


def test_a_slot_that_memory_is_still_charged_to_is_not_used_again(kernel: FakeCgroups, pool: Pool) -> None:
    slot = pool.take(LIMITS)
    (kernel.root / path(slot, "memory") / "memory.usage_in_bytes").write_text(str(5 << 20))

    pool.give_back(slot)

    assert kernel.value("memory/hrm-k/cgroup.procs") == ""
    assert slot.name not in slots(kernel)
    assert pool.take(LIMITS) is not slot


def test_no_more_are_kept_than_will_be_needed(kernel: FakeCgroups, pool: Pool) -> None:
    for slot in [pool.take(LIMITS) for _ in range(70)]:
        pool.give_back(slot)

    assert len(slots(kernel)) == 64


def test_a_slot_that_cannot_be_set_is_left_for_another(kernel: FakeCgroups, pool: Pool) -> None:
    pool.give_back(slot := pool.take(LIMITS))
    (kernel.root / path(slot, "cpu") / "cpu.shares").unlink()

    other = pool.take(LIMITS._replace(cpus_milli=2000))

    assert other is not slot
    assert kernel.value(f"{path(other, 'cpu')}/cpu.shares") == "2048"


def test_cgroups_that_somebody_removed_are_made_anew(kernel: FakeCgroups, pool: Pool) -> None:
    pool.make_ahead()
    for tree in ALL_V1:
        shutil.rmtree(kernel.root / tree / "hrm-k")

    slot = pool.take(LIMITS)

    assert kernel.value(f"{path(slot, 'memory')}/memory.limit_in_bytes") == str(64 << 20)


def test_what_cannot_be_made_is_an_error_and_leaves_nothing(kernel: FakeCgroups, pool: Pool) -> None:
    kernel.read_only = True

    with pytest.raises(OSError, match="Read-only"):
        pool.take(LIMITS)

    assert slots(kernel) == []


def test_kills_and_refusals_count_from_when_the_container_came(kernel: FakeCgroups, pool: Pool) -> None:
    def happened(slot: Slot, kills: int, refusals: int) -> None:
        (kernel.root / path(slot, "memory") / "memory.oom_control").write_text(f"under_oom 0\noom_kill {kills}\n")
        (kernel.root / path(slot, "memory") / "memory.max_usage_in_bytes").write_text(str(64 << 20))
        (kernel.root / path(slot, "pids") / "pids.events").write_text(f"max {refusals}\n")

    slot = pool.take(LIMITS)
    assert (pool.out_of_memory(slot), pool.out_of_processes(slot)) == ("", "")
    happened(slot, 1, 3)
    assert pool.out_of_memory(slot) == "out of memory: used 64 MiB of 64 MiB"
    assert pool.out_of_processes(slot) == "it had reached its limit of 100 processes"

    pool.give_back(slot)
    assert pool.take(LIMITS) is slot
    assert (pool.out_of_memory(slot), pool.out_of_processes(slot)) == ("", "")


def test_nothing_is_left_behind(kernel: FakeCgroups, pool: Pool) -> None:
    pool.make_ahead()
    pool.give_back(pool.take(LIMITS))

    pool.close()

    assert [tree for tree in ALL_V1 if (kernel.root / tree / "hrm-k").exists()] == []


def test_what_somebody_lives_in_is_left_to_the_next_shepherd(kernel: FakeCgroups, find: Finder) -> None:
    hierarchies = v1(kernel)
    first = pool_of(find(*hierarchies))
    runs, over = first.take(LIMITS), first.take(LIMITS)
    kernel.live_in(path(runs, "pids"), 1 << 22)
    kernel.live_in(path(runs, "memory"), 1 << 22)
    first.close()
    assert {runs.name, over.name} <= set(slots(kernel))

    second = pool_of(find(*hierarchies))
    assert second.slot_of(1 << 22) == runs.name
    adopted = second.adopt(runs.name, LIMITS)
    assert adopted is not None
    second.remove_strays()
    assert slots(kernel) == [runs.name]
    assert second.take(LIMITS).name not in (runs.name, over.name), "no name is used twice while it is there"

    kernel.live_in(path(runs, "pids"))
    kernel.live_in(path(runs, "memory"))
    second.give_back(adopted)
    assert runs.name not in slots(kernel), "a slot that another made is not used again"
