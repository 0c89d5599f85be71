"""From settings, resources and what a kernel keeps to what a container is held to, and when it is over."""

from __future__ import annotations

import os
import pwd
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from hrm.model.containers import ContainerUsage, LaunchSpec
from hrm.model.errors import ClusterError
from hrm.model.isolation import Guard, Isolation, IsolationMode, IsolationSettings, Means
from hrm.model.resources import Resources
from hrm.nm import accounts
from hrm.nm.accounts import Account, Accounts, look_up
from hrm.nm.cgroups.limits import Limits
from hrm.nm.rules import Rules

ENFORCED = [[name, "enforced", "cgroup v2"] for name in ("memory", "cpus", "processes", "devices", "io")]
NOTHING = [[name, "advice", "no cgroup controller"] for name in ("memory", "cpus", "processes", "devices", "io")]
SPEC = LaunchSpec(
    container_id="c", application_id="a", user="u", command=("true",), resources=Resources(512, 1500, 1000)
)


def rules(told: list[list[str]], *, as_users: bool = False, **settings: object) -> Rules:
    made = Rules(IsolationSettings(**settings), as_users=as_users)  # type: ignore[arg-type]
    made.learn(told)
    return made


def usage(**fields: int) -> ContainerUsage:
    return ContainerUsage(
        container_id="c",
        **{"memory_mib": 0, "cpu_milli": 0, "read_bytes": 0, "written_bytes": 0, "disk_mib": 0} | fields,
    )


# --- what is said


@pytest.mark.parametrize(
    ("told", "as_users", "settings", "line"),
    [
        (ENFORCED, True, {}, "enforced: memory, cpus, processes, gpus, io, users (cgroup v2, setuid); advice: disk"),
        (
            ENFORCED,
            False,
            {"disk_quota_mib": 5},
            "enforced: memory, cpus, processes, gpus, io (cgroup v2); polled: disk; advice: users",
        ),
        (NOTHING, False, {}, "polled: memory, processes; advice: cpus, gpus, io, disk, users"),
        (
            [],
            True,
            {"mode": IsolationMode.NONE, "disk_quota_mib": 5},
            "enforced: users (setuid); advice: memory, cpus, processes, gpus, io, disk",
        ),
    ],
)
def test_a_node_says_in_one_line_what_is_enforced(
    told: list[list[str]], as_users: bool, settings: dict[str, object], line: str
) -> None:
    assert str(rules(told, as_users=as_users, **settings).isolation) == line


def test_it_says_by_what_or_why_not() -> None:
    guards = rules([["memory", "enforced", "cgroup v1"], ["devices", "advice", "eBPF: no"]]).isolation.guards

    assert guards[:2] == (
        Guard(resource="memory", means=Means.ENFORCED, by="cgroup v1"),
        Guard(resource="gpus", means=Means.ADVICE, by="eBPF: no"),
    )
    assert str(Isolation()) == "nothing is known"


def test_full_isolation_insists_on_what_containers_could_take_from_each_other() -> None:
    rules([guard for guard in ENFORCED if guard[0] != "io"], mode=IsolationMode.FULL)
    told = [
        ["memory", "enforced", "cgroup v1"],
        ["cpus", "enforced", "cgroup v1"],
        ["processes", "advice", "read-only"],
    ]

    with pytest.raises(ClusterError, match="cannot enforce processes: read-only; gpus: no filter") as caught:
        rules([*told, ["devices", "advice", "no filter"]], mode=IsolationMode.FULL)

    assert "Delegate=yes" in caught.value.next_step


# --- what a container is held to


def test_a_container_is_held_to_its_resources_and_the_nodes_settings() -> None:
    fields = rules(ENFORCED, strict_cpus=True, max_processes=7).limits(SPEC, [Path("/dev/null"), Path("/dev/zero")])

    assert fields is not None
    assert Limits.of(fields) == Limits(
        memory_mib=512, cpus_milli=1500, strict_cpus=True, processes=7, devices=((1, 3), (1, 5))
    )


@pytest.mark.parametrize(("vcores_milli", "own"), [(2000, 2), (1000, 1), (1500, 0), (500, 0), (0, 0)])
def test_whole_cpus_are_a_containers_own_and_fractions_are_shared(vcores_milli: int, own: int) -> None:
    spec = replace(SPEC, resources=Resources(512, vcores_milli))

    fields = rules(ENFORCED, pin_cpus=True).limits(spec, [])

    assert fields is not None
    assert Limits.of(fields).own_cpus == own
    assert Limits.of(rules(ENFORCED).limits(spec, []) or {}).own_cpus is None, "nobody asked for pins"


def test_a_pin_without_cgroups_is_advice_and_says_why() -> None:
    guards = rules([["pinning", "advice", "no cgroup controller"]], pin_cpus=True).isolation.guards

    by = "affinity, which a program can change: no cgroup controller"
    assert guards[0] == Guard(resource="pinning", means=Means.ADVICE, by=by)


def test_what_is_no_device_is_not_lent(tmp_path: Path) -> None:
    (tmp_path / "nvidia0").touch()

    fields = rules(ENFORCED).limits(SPEC, [tmp_path / "nvidia0", tmp_path / "missing"])

    assert fields is not None
    assert fields["devices"] == ()


def test_without_isolation_there_are_no_limits() -> None:
    assert rules([], mode=IsolationMode.NONE).limits(SPEC, []) is None


# --- when it is over


def test_what_the_kernel_enforces_is_left_to_it() -> None:
    made = rules(ENFORCED, max_processes=1)

    assert made.breach(usage(memory_mib=9999, processes=9999, disk_mib=9999), made.limits(SPEC, [])) == ""


@pytest.mark.parametrize(
    ("used", "why"),
    [
        ({"memory_mib": 512, "processes": 5, "disk_mib": 9}, ""),
        ({"memory_mib": 513}, "out of memory: used 513 MiB of 512 MiB"),
        ({"processes": 6}, "too many processes: 6 of 5"),
        ({"disk_mib": 10}, "disk quota exceeded: its directory holds 10 MiB of 9 MiB"),
    ],
)
def test_what_it_does_not_is_over_above_the_limit_and_not_at_it(used: dict[str, int], why: str) -> None:
    made = rules(NOTHING, max_processes=5, disk_quota_mib=9)

    assert made.breach(usage(**used), made.limits(SPEC, [])) == why


def test_a_container_without_limits_is_never_over() -> None:
    assert rules(NOTHING, disk_quota_mib=1).breach(usage(memory_mib=9999, disk_mib=9999), None) == ""
    unlimited = rules(NOTHING).limits(LaunchSpec(container_id="c", application_id="a", user="u", command=("true",)), [])
    assert rules(NOTHING).breach(usage(memory_mib=9999), unlimited) == ""


# --- users


def test_a_user_of_this_machine_is_found_with_all_its_groups() -> None:
    entry = pwd.getpwnam("nobody")

    account = look_up("nobody")

    assert (account.uid, account.gid, account.refused) == (entry.pw_uid, entry.pw_gid, "")
    assert entry.pw_gid in account.groups
    assert account.environment["HOME"] == entry.pw_dir
    assert account.as_fields() == {
        "name": "nobody", "uid": entry.pw_uid, "gid": entry.pw_gid, "groups": list(account.groups),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["no-such-user", "", "a\0b", "x" * 5000])
def test_a_user_that_does_not_exist_is_refused(name: str) -> None:
    account = look_up(name)

    assert account.refused.startswith("this machine has no user ")
    assert len(account.refused) < 200
    assert account.as_fields() == {"refused": account.refused}


def test_roots_number_under_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = SimpleNamespace(pw_uid=0, pw_gid=0, pw_dir="/root", pw_shell="/bin/sh")
    monkeypatch.setattr(pwd, "getpwnam", lambda name: entry)
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [0])

    assert look_up("toor").refused == "user 'toor' has root's rights; only root itself runs as root"


async def test_who_was_looked_up_is_remembered_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def find(name: str) -> Account:
        asked.append(name)
        return Account(name=name, uid=1)

    now = 1000.0
    monkeypatch.setattr(accounts, "look_up", find)
    monkeypatch.setattr("hrm.nm.accounts.time.monotonic", lambda: now)
    known = Accounts()

    assert known.unknown({"ada"}) == {"ada"}
    await known.learn({"ada"})
    assert known.unknown({"ada", "bob"}) == {"bob"}
    assert known.get("ada").uid == 1
    now += 61
    assert known.unknown({"ada"}) == {"ada"}
    assert asked == ["ada"]
