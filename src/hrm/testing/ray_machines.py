"""A Ray cluster of several "machines" on one: a network namespace each where we are root, else processes side by side.

The head is the machine that we are on. Each machine is kept in the cluster by HRM's own program, as `hrm join` does.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from hrm.engines.ray.membership import Membership
from hrm.testing.shepherds import kill_herd

_JOIN_S = 90.0


class RayMachine:
    """One of them. ``name`` is that of its node."""

    def __init__(self, name: str, folder: Path, *, address: str | None, namespace: str = "", link: str = "") -> None:
        self.name = name
        self.folder = folder
        self.address = address
        #: Of the network; "" iff it has none of its own.
        self.network = namespace
        #: The near end of its cable.
        self.link = link

    @property
    def state_dir(self) -> Path:
        return self.folder / "node"

    @property
    def membership(self) -> Membership:
        return Membership(self.folder / "ray")

    def state_dirs(self) -> list[Path]:
        return [path for path in self.folder.glob("node*") if (path / "running").is_dir()]

    def processes(self) -> list[psutil.Process]:
        """Everything of Ray's that runs for it, and what keeps it running."""
        pid = self.membership.pid
        if pid is None:
            return []
        keeper = psutil.Process(pid)
        return [keeper, *keeper.children(recursive=True)]

    def raylet(self) -> psutil.Process:
        return next(one for one in self.processes() if one.name() == "raylet")

    def agents(self) -> list[psutil.Process]:
        return [one for one in self.raylet().children() if one.name().startswith("ray::Agent")]

    def kill(self) -> None:
        """KILL the raylet, all its children and all else of Ray's, as when the machine's Ray is wiped out.

        Containers and their shepherd go on.
        """
        doomed = self.processes()
        for process in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(doomed, timeout=10)
        if folder := self.membership.temp_dir:
            shutil.rmtree(folder, ignore_errors=True)

    def stay_down(self) -> None:
        """KILL all of Ray's, and have it started anew only by `come_back`."""
        pid = self.membership.pid
        assert pid is not None
        keeper = psutil.Process(pid)
        keeper.suspend()
        doomed = keeper.children(recursive=True)
        for process in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(doomed[1:], timeout=10)

    def come_back(self) -> None:
        """After `stay_down`."""
        pid = self.membership.pid
        assert pid is not None
        psutil.Process(pid).resume()

    def cut_off(self) -> None:
        """Pull its cable."""
        _run("ip", "link", "set", self.link, "down")

    def reconnect(self) -> None:
        _run("ip", "link", "set", self.link, "up")


class RayMachines:
    """``head`` and ``workers`` by name. Use `ray_machines`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.in_namespaces = (
            os.geteuid() == 0 and shutil.which("ip") is not None and shutil.which("nsenter") is not None
        )
        self._tag = f"{os.getpid() % 10_000:04d}{random.randrange(100):02d}"
        self._net = f"10.{random.randrange(64, 128)}.{random.randrange(256)}"
        self._bridge = f"hb{self._tag}"
        self.workers: dict[str, RayMachine] = {}
        self._started: list[RayMachine] = []
        self._port = 0
        address = f"{self._net}.1" if self.in_namespaces else None
        if self.in_namespaces:
            _run("ip", "link", "add", self._bridge, "type", "bridge")
            _run("ip", "addr", "add", f"{self._net}.1/24", "dev", self._bridge)
            _run("ip", "link", "set", self._bridge, "up")
        self.head = RayMachine("head", folder / "head", address=address)

    @property
    def address(self) -> str:
        return self.head.membership.address

    @property
    def token(self) -> str:
        return self.head.membership.token_file.read_text()

    def start_head(self, *arguments: str) -> None:
        self._member(self.head, "--head", "--port=0", *arguments)

    @property
    def port(self) -> int:
        """One that was free a moment ago, for a head that somebody else starts; always the same."""
        if not self._port:
            with socket.socket() as one:
                one.bind(("", 0))
                self._port = one.getsockname()[1]
        return self._port

    def took_over_head(self) -> None:
        """A server whose home is the head's folder has started it: it is ended in the end."""
        self._started.append(self.head)

    def add(self, name: str, *arguments: str, node_id: str | None = None) -> RayMachine:
        """Make a machine and have it join; returns when it is in the cluster."""
        machine = self.make(name)
        self.join(machine, *arguments, node_id=node_id)
        return machine

    def make(self, name: str) -> RayMachine:
        """A machine with a cable, not in the cluster."""
        number = len(self.workers) + 2
        machine = RayMachine(name, self.folder / name, address=None)
        if self.in_namespaces:
            machine.network, machine.link = f"hn{self._tag}{number}", f"hv{self._tag}{number}"
            machine.address = f"{self._net}.{number}"
            inside = f"hi{self._tag}{number}"
            _run("ip", "netns", "add", machine.network)
            _run("ip", "link", "add", machine.link, "type", "veth", "peer", "name", inside)
            _run("ip", "link", "set", machine.link, "master", self._bridge, "up")
            _run("ip", "link", "set", inside, "netns", machine.network)
            for command in (
                ("addr", "add", f"{machine.address}/24", "dev", inside),
                ("link", "set", inside, "up"),
                ("link", "set", "lo", "up"),
            ):
                _run("ip", "-n", machine.network, *command)
        self.workers[name] = machine
        return machine

    def join(self, machine: RayMachine, *arguments: str, node_id: str | None = None) -> None:
        machine.membership.write_token(self.token)
        self._member(machine, f"--address={self.address}", f"--node-id={node_id or machine.name}", *arguments)

    def command(self, machine: RayMachine, *command: str) -> list[str]:
        """To be run on the machine."""
        return [*(["nsenter", f"--net=/run/netns/{machine.network}"] if machine.network else []), *command]

    def _member(self, machine: RayMachine, *arguments: str) -> None:
        where = [f"--node-address={machine.address}"] if machine.address else []
        self._started.append(machine)
        _run(
            *self.command(machine, sys.executable, "-P", "-m", "hrm.engines.ray.member"),
            *(f"--dir={machine.folder / 'ray'}", "--detach", *where, *arguments),
        )

    def close(self) -> None:
        for machine in reversed(self._started):
            machine.kill()
        for machine in (self.head, *self.workers.values()):
            for state_dir in machine.state_dirs():
                kill_herd(state_dir)
        for machine in self.workers.values():
            if machine.network:
                subprocess.run(["ip", "link", "del", machine.link], capture_output=True, check=False)
                subprocess.run(["ip", "netns", "del", machine.network], capture_output=True, check=False)
        if self.in_namespaces:
            subprocess.run(["ip", "link", "del", self._bridge], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def ray_machines() -> Iterator[RayMachines]:
    """A cluster without machines; all that was started in it is gone in the end."""
    folder = Path(tempfile.mkdtemp(prefix="hrm-rm-"))
    # Containers of other users have their directories in it.
    folder.chmod(0o711)
    machines = RayMachines(folder)
    try:
        yield machines
    finally:
        machines.close()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_JOIN_S, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
