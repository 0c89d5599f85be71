"""What this machine can hold containers to, found by trying it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from hrm.nm.cgroups.files import Files
from hrm.nm.cgroups.hierarchies import Hierarchy
from hrm.nm.cgroups.pool import Pool
from hrm.nm.cgroups.tree import Tree
from hrm.nm.cgroups.v1 import TreeV1
from hrm.nm.cgroups.v2 import TreeV2

#: What can be held, and the controller of each by version; a filter of devices needs none in version 2.
RESOURCES = ("memory", "cpus", "processes", "devices", "io", "pinning")
_V1 = {
    "memory": "memory", "cpus": "cpu", "processes": "pids", "devices": "devices", "io": "blkio", "pinning": "cpuset",
}  # fmt: skip
_V2 = {"memory": "memory", "cpus": "cpu", "processes": "pids", "io": "io", "pinning": "cpuset"}
#: NVIDIA's fixed major; the drivers beside it get theirs when they are loaded.
NVIDIA_MAJOR = 195
_DRIVERS = "nvidia"


class Found(NamedTuple):
    """A pool, and how each resource is held."""

    #: None iff nothing can be held.
    pool: Pool | None
    #: ``cgroup v1`` by resource.
    held: dict[str, str]
    #: Why not, by resource.
    not_held: dict[str, str]


def find(
    hierarchies: Sequence[Hierarchy],
    key: str,
    *,
    files: Files | None = None,
    bases: Sequence[str] = (),
    pinning: bool = False,
    majors: Callable[[], tuple[int, ...]] | None = None,
) -> Found:
    """Open what can be opened.

    Each hierarchy gets a base ``hrm-KEY`` under our own cgroup, so that limits on us hold for our containers too; or
    that one of ``bases`` (another shepherd's, of the same node) that lies in it. The hierarchy of cpusets is joined for
    ``pinning`` alone: each costs something for each container.
    """
    files = files or Files()
    wished = [name for name in RESOURCES if pinning or name != "pinning"]
    resources = set(wished)
    why: dict[str, str] = {}
    if not files.weighs_io():
        resources.discard("io")
        why["io"] = "no disk is scheduled by BFQ"
    trees: list[Tree] = []
    held: dict[str, str] = {}
    for hierarchy in sorted(hierarchies, key=lambda one: one.version):
        wanted = {name for name in resources if name not in held and _offers(hierarchy, name)}
        if not wanted:
            continue
        try:
            tree = _open(hierarchy, key, files, bases, wanted)
        except OSError as error:
            why.update(dict.fromkeys(wanted, f"{hierarchy.name}: {error.strerror or error}"))
            continue
        trees.append(tree)
        held.update(dict.fromkeys(tree.resources, hierarchy.name))
        why.update((name, f"{hierarchy.name}: {reason}") for name, reason in tree.refused.items())
    pool = Pool(trees, majors or gpu_majors) if trees else None
    held = {name: held[name] for name in wished if name in held}
    not_held = {name: why.get(name, "no cgroup controller") for name in wished if name not in held}
    return Found(pool, held, not_held)


def gpu_majors(path: str = "/proc/devices") -> tuple[int, ...]:
    """Major numbers of all GPU drivers' character devices."""
    majors = {NVIDIA_MAJOR}
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            characters = file.read().partition("Block devices:")[0]
    except OSError:
        return tuple(majors)
    for line in characters.splitlines():
        number, _, driver = line.strip().partition(" ")
        if driver.startswith(_DRIVERS) and number.isdigit():
            majors.add(int(number))
    return tuple(sorted(majors))


def _offers(hierarchy: Hierarchy, resource: str) -> bool:
    if hierarchy.version == 1:
        return _V1[resource] in hierarchy.controllers
    return resource == "devices" or _V2[resource] in hierarchy.controllers


def _open(hierarchy: Hierarchy, key: str, files: Files, bases: Sequence[str], wanted: set[str]) -> Tree:
    last: OSError | None = None
    earlier = [base for base in bases if base.startswith(f"{hierarchy.top.rstrip('/')}/") and files.exists(base)]
    # Where our own cgroup will not have any below it, the top may: root's to use on a machine without delegation.
    for base in dict.fromkeys([*earlier, f"{hierarchy.own}/hrm-{key}", f"{hierarchy.top}/hrm-{key}"]):
        tree: Tree = (TreeV1 if hierarchy.version == 1 else TreeV2)(hierarchy, base, files)
        try:
            tree.open(wanted)
            return tree
        except OSError as error:
            last = last or error
            try:
                tree.close()
            except OSError:
                # It may never have been made.
                continue
    assert last is not None
    if hierarchy.version == 2 and wanted > {"devices"}:
        # The filter of devices needs nothing handed on.
        tree = _open(hierarchy, key, files, bases, {"devices"})
        tree.refused.update(dict.fromkeys(wanted - {"devices"}, last.strerror or str(last)))
        return tree
    raise last
