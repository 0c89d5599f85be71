"""A real daemon of Docker's in directories of its own, which touches no other: no bridge, no rules."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from hrm.doctor.cures import Result, cure
from hrm.doctor.expected import Expected
from hrm.doctor.expected.docker import DockerExpected
from hrm.doctor.hands import LocalHands
from hrm.doctor.processes import processes, runs
from hrm.doctor.system import LocalSystem
from hrm.model.findings import Finding, Risk
from hrm.testing.conditions import eventually

PROGRAMS = ("dockerd", "docker", "containerd", "busybox")
IMAGE = "hrm/busybox:1"
#: Commands of busybox's that the image has.
_TOOLS = ("sh", "sleep", "true", "cat")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
UP_S = 60.0


class RealDocker:
    """Its address is `host`. Ends all that it started when it is closed."""

    def __init__(self) -> None:
        # Short: paths of sockets have a limit. Others may go through it: the socket says who may use it.
        self.place = Path(tempfile.mkdtemp(prefix="hrm-dk-", dir="/tmp"))
        self.place.chmod(0o755)
        #: First on the daemon's PATH.
        self.programs = self.place / "bin"
        self.programs.mkdir()
        self.host = f"unix://{self.place}/docker.sock"
        self.expected = Expected(docker=DockerExpected(host=self.host))
        self._log = (self.place / "log").open("ab")
        self._daemon: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Until it answers."""
        (self.place / "pid").unlink(missing_ok=True)
        self._daemon = subprocess.Popen(
            [
                "/usr/sbin/dockerd",
                *("--data-root", f"{self.place}/data", "--exec-root", f"{self.place}/exec"),
                *("--pidfile", f"{self.place}/pid", "--host", self.host),
                *("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"),
                *("--storage-driver", "overlay2", "--exec-opt", "native.cgroupdriver=cgroupfs"),
            ],
            env={"PATH": f"{self.programs}:{_PATH}"},
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        eventually(lambda: self._answers(self._daemon), UP_S, describe=f"dockerd answers at {self.host}")

    def stop(self) -> None:
        """As its service does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """With its containerd, at once, as when the machine lacks memory: shims stay."""
        pid_file = self.place / "exec/containerd/containerd.pid"
        containerd = int(pid_file.read_text())
        self._end(signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(containerd, signal.SIGKILL)
        eventually(lambda: not runs(LocalSystem(), containerd), UP_S)
        # Where nobody waits for it its pid stays taken, and the next daemon takes it for one that runs.
        pid_file.unlink()

    def forget_containers(self) -> None:
        """What containerd knows of those that run, as when its directories are wiped while the daemon is down."""
        shutil.rmtree(self.place / "data/containerd/daemon/io.containerd.metadata.v1.bolt")
        (self.place / "exec/containerd").rename(self.place / f"gone-{time.monotonic_ns()}")

    def docker(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Docker's own command."""
        return subprocess.run(
            ["docker", "--host", self.host, *arguments], capture_output=True, text=True, check=check, timeout=120
        )

    def make_image(self) -> None:
        """One with busybox, without any registry."""
        root = self.place / "image"
        (root / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copy("/bin/busybox", root / "bin/busybox")
        for tool in _TOOLS:
            (root / "bin" / tool).symlink_to("busybox")
        with tarfile.open(self.place / "image.tar", "w") as archive:
            archive.add(root, arcname=".")
        self.docker("import", "--change", "ENV PATH=/bin", str(self.place / "image.tar"), IMAGE)

    def status(self, name: str) -> str:
        """Of a container: running, exited …"""
        return self.docker("inspect", "--format", "{{.State.Status}}", name).stdout.strip()

    def cgroup(self, pid: int) -> str:
        """The cgroups of a process; "" where it has ended."""
        try:
            return Path(f"/proc/{pid}/cgroup").read_text()
        except OSError:
            return ""

    def remove_containers(self) -> None:
        """All of them."""
        names = self.docker("ps", "--all", "--quiet").stdout.split()
        if names:
            self.docker("rm", "--force", *names, check=False)

    def close(self) -> None:
        """End what was started, and only that."""
        with contextlib.suppress(subprocess.SubprocessError):
            self.remove_containers()
        self._end(signal.SIGTERM)
        containers = self.place / "data/containers"
        names = [f"{self.place}/exec", *(path.name for path in (containers.iterdir() if containers.is_dir() else ()))]
        for one in list(processes(LocalSystem())):
            about = one.command_line + self.cgroup(one.pid)
            if any(name in about for name in names):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGKILL)
        self._log.close()
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            point = line.split()[1]
            if point.startswith(f"{self.place}/"):
                subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)
        shutil.rmtree(self.place, ignore_errors=True)

    def _answers(self, daemon: subprocess.Popen[bytes] | None) -> bool:
        if daemon is None or daemon.poll() is not None:
            raise RuntimeError(f"dockerd ended: {(self.place / 'log').read_text(errors='replace')[-3000:]}")
        return self.docker("version", check=False).returncode == 0

    def _end(self, number: int) -> None:
        if self._daemon is not None:
            self._daemon.send_signal(number)
            self._daemon.wait(UP_S)
            self._daemon = None


def cured(finding: Finding) -> list[Result]:
    """What came of doing what cures it, here, with all that is not a person's to do."""
    return [done.result for done in cure(finding, LocalHands(LocalSystem()), allowed=frozenset(Risk))]
