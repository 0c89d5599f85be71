"""Cgroup hierarchies of ordinary files below some directory: what the kernel would do about them is played.

A directory that is made gets the files of its controllers, one that nobody lives in can be removed, and what is written
stays to be read. Nothing is enforced.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from hrm.nm.cgroups.files import Files
from hrm.nm.cgroups.hierarchies import Hierarchy

_V1 = {
    "memory": {
        "memory.limit_in_bytes": "9223372036854771712",
        "memory.memsw.limit_in_bytes": "9223372036854771712",
        "memory.max_usage_in_bytes": "0",
        "memory.usage_in_bytes": "0",
        "memory.swappiness": "60",
        "memory.force_empty": "",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
        "cgroup.event_control": "",
    },
    "cpu": {"cpu.shares": "1024", "cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"},
    "pids": {"pids.max": "max", "pids.events": "max 0\n"},
    "devices": {"devices.allow": "", "devices.deny": ""},
    "blkio": {"blkio.bfq.weight": "100"},
    "cpuset": {"cpuset.cpus": "", "cpuset.mems": ""},
    "freezer": {"freezer.state": "THAWED"},
}
_V2 = {
    "memory": {
        "memory.max": "max",
        "memory.swap.max": "max",
        "memory.current": "0",
        "memory.peak": "0",
        "memory.oom.group": "0",
        "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n",
    },
    "cpu": {"cpu.weight": "100", "cpu.max": "max 100000"},
    "pids": {"pids.max": "max", "pids.events": "max 0\n"},
    "io": {"io.weight": "default 100"},
    "cpuset": {"cpuset.cpus": ""},
}
_PROCS = "cgroup.procs"


class FakeCgroups(Files):
    """All hierarchies of one machine. Where ``read_only`` is set, all that would change something fails with EROFS."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.read_only = False
        #: Names of hierarchies that belong to others.
        self.closed: set[str] = set()
        #: (path from the root, text) of everything written.
        self.written: list[tuple[str, str]] = []
        #: Instructions of device filters, by descriptor; and which are attached to what, by path from the root.
        self.programs: dict[int, bytes] = {}
        self.attached: dict[str, list[bytes]] = {}
        #: The error that loading a filter ends with; None iff it works.
        self.refuses_filters: OSError | None = None
        #: True iff there is a disk that is scheduled by weights.
        self.has_weighed_disk = True

    def mount(self, version: int, *controllers: str, own: str = "") -> Hierarchy:
        """A hierarchy with our own cgroup in it, which holds no process."""
        top = self.root / ("unified" if version == 2 else ",".join(controllers))
        folder = top / own if own else top
        folder.mkdir(parents=True)
        self._fill(str(folder), version, controllers)
        if version == 1 and "cpuset" in controllers:
            (folder / "cpuset.cpus").write_text("0-3\n")
            (folder / "cpuset.mems").write_text("0\n")
        if version == 2 and not own:
            # The root is of no type: it may hold processes and hand controllers on.
            (folder / "cgroup.type").unlink()
        if own:
            self._fill(str(top), version, controllers)
        return Hierarchy(version, frozenset(controllers), str(top), str(folder))

    def _fill(self, folder: str, version: int, controllers: tuple[str, ...]) -> None:
        files = {_PROCS: "", "tasks": ""} if version == 1 else {
            _PROCS: "", "cgroup.type": "domain\n", "cgroup.subtree_control": "", "cgroup.kill": "",
            "cgroup.controllers": " ".join(controllers), "cgroup.freeze": "0",
        }  # fmt: skip
        for controller in controllers:
            files.update((_V1 if version == 1 else _V2).get(controller, {}))
        for name, text in files.items():
            if not Path(folder, name).exists():
                Path(folder, name).write_text(text)

    def value(self, path: str) -> str:
        """What a file says now."""
        return (self.root / path).read_text().strip()

    def live_in(self, path: str, *pids: int) -> None:
        """These live in a cgroup from now on, and nobody else."""
        (self.root / path / _PROCS).write_text("".join(f"{pid}\n" for pid in pids))

    def write(self, path: str, text: str) -> None:
        self._refuse(path)
        super().write(path, text)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        if path.endswith("/cgroup.subtree_control"):
            # The files of what is handed on appear in all cgroups below.
            for name in self.children(os.path.dirname(path)):
                self._fill(f"{os.path.dirname(path)}/{name}", 2, tuple(text.replace("+", "").split()))
        self.written.append((os.path.relpath(path, self.root), text))

    def make(self, path: str) -> None:
        self._refuse(path)
        if os.path.exists(path):
            return
        os.mkdir(path)
        above = Path(path).parent
        if (above / "cgroup.controllers").exists():
            handed_on = (above / "cgroup.subtree_control").read_text().replace("+", "").split()
            self._fill(path, 2, tuple(handed_on))
        else:
            top = Path(path).relative_to(self.root).parts[0]
            self._fill(path, 1, tuple(top.split(",")))

    def remove(self, path: str) -> None:
        self._refuse(path)
        if not os.path.exists(path):
            return
        if Path(path, _PROCS).read_text().strip() or self.children(path):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
        shutil.rmtree(path)

    def weighs_io(self) -> bool:
        return self.has_weighed_disk

    def load_filter(self, instructions: bytes) -> int:
        if self.refuses_filters:
            raise self.refuses_filters
        fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.programs[fd] = instructions
        return fd

    def attach_filter(self, cgroup_fd: int, program_fd: int) -> None:
        self.attached.setdefault(self._name(cgroup_fd), []).append(self.programs[program_fd])

    def detach_filter(self, cgroup_fd: int, program_fd: int) -> None:
        self.attached[self._name(cgroup_fd)].remove(self.programs[program_fd])

    def _name(self, fd: int) -> str:
        return os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), self.root)

    def _refuse(self, path: str) -> None:
        if self.read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if Path(path).relative_to(self.root).parts[0] in self.closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
