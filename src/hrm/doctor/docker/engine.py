"""Docker's daemon as checks reach it: by its own command, at the address that is expected or the command's own."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hrm.doctor.expected import Expected
from hrm.doctor.processes import Running, processes
from hrm.doctor.steps import by_hand, restart
from hrm.doctor.system import COMMAND_TIMEOUT_S, CannotSee, Output, System
from hrm.doctor.units import unit_file
from hrm.model.findings import Risk, Step

DAEMON_JSON = "/etc/docker/daemon.json"
SOCKET = "/var/run/docker.sock"
_USUAL = {f"unix://{SOCKET}", "unix:///run/docker.sock"}
SNAP = "/snap/docker/current"
#: Of the service that comes with Docker's snap.
SNAP_SERVICE = "snap.docker.dockerd"
#: Ticks of the kernel's clock in ``/proc/PID/stat``: 100 in a second on all machines that Docker runs on.
_TICKS = 100


class Trouble(StrEnum):
    """Why the daemon did not answer."""

    NONE = "none"
    DOWN = "down"
    DENIED = "denied"
    HANGS = "hangs"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Engine:
    """The daemon of one machine."""

    system: System
    #: As in DOCKER_HOST; None for what the docker command takes.
    host: str | None = None

    def run(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Output:
        """``docker`` with these arguments."""
        return self.system.run(*self.command(*arguments), timeout_s=timeout_s)

    def command(self, *arguments: str) -> tuple[str, ...]:
        """The whole command line, for cures too: they act on the daemon that was looked at."""
        return ("docker", *(("--host", self.host) if self.host else ()), *arguments)

    @property
    def usual(self) -> bool:
        """Whether it is the daemon that the service docker runs."""
        return self.host is None or self.host in _USUAL

    @property
    def socket(self) -> str | None:
        """Its socket; None where it is reached over the network."""
        host = self.host or next(iter(listens_on(self.system)), f"unix://{SOCKET}")
        return host.removeprefix("unix://") if host.startswith("unix://") else None

    @property
    def from_snap(self) -> bool:
        """Whether it was installed as a snap, which sees little of the machine."""
        if (running := self.process()) is not None:
            return running.command_line.startswith("/snap/") or "/snap/docker/" in running.command_line
        return self.system.stat(SNAP) is not None and self.system.stat("/usr/bin/dockerd") is None

    @property
    def service(self) -> str:
        """Its service of systemd's."""
        return SNAP_SERVICE if self.from_snap else "docker"

    def version(self) -> Output:
        """Asks for nothing but whether it answers."""
        return self.run("version", "--format", "{{.Server.Version}}")

    def info(self) -> dict[str, Any]:
        """What it says of itself; {} where it does not run. Raises CannotSee where it does and is not seen."""
        output = self.run("info", "--format", "{{json .}}")
        if (trouble := trouble_of(output)) is not Trouble.NONE:
            look_away(output, trouble)
            return {}
        said = _json(output.stdout)
        return said if isinstance(said, dict) and said.get("ServerVersion") else {}

    def restart(self) -> list[Step]:
        """How it is restarted."""
        if self.usual:
            return [restart(self.service)]
        return [
            by_hand(f"Restart the daemon at {self.host}.", f"重启 {self.host} 上的守护进程。", risk=Risk.DISRUPTIVE)
        ]

    def process(self) -> Running | None:
        """The daemon itself; None where it is not seen: it is on another machine, or does not run."""
        for one in processes(self.system):
            words = one.command_line.split()
            is_daemon = one.state != "Z" and words and words[0].rpartition("/")[2] == "dockerd"
            if is_daemon and self._is_at(words):
                return one
        return None

    def _is_at(self, words: Sequence[str]) -> bool:
        """Whether a daemon with these arguments listens where this one is to; several may run on a machine."""
        said = {found[1] for word in words if (found := re.search(r"((?:unix|tcp)://\S+)", word))}
        return bool(said & _USUAL) or not said if self.usual else self.host in said

    def started_at(self) -> float | None:
        """When the daemon started, in seconds since the epoch; None where it is not seen."""
        running = self.process()
        return None if running is None else process_started_at(self.system, running.pid)


def engine(system: System, expected: Expected) -> Engine:
    """The daemon that this machine is expected to use."""
    return Engine(system, expected.docker.host)


def installed(system: System, expected: Expected) -> bool:
    """Whether this machine has a daemon, or is to have one. The docker command alone may be for other machines."""
    return (
        expected.docker.required
        or expected.docker.host is not None
        or system.which("dockerd") is not None
        or unit_file(system, "docker") is not None
        or system.stat(SNAP) is not None
    )


def configuration(system: System) -> dict[str, Any]:
    """What ``daemon.json`` says; {} where there is none or it cannot be understood. Raises CannotSee."""
    said = _json(system.read(DAEMON_JSON) or "")
    return said if isinstance(said, dict) else {}


def listens_on(system: System) -> list[str]:
    """The addresses in ``daemon.json``."""
    hosts = configuration(system).get("hosts", [])
    return [host for host in hosts if isinstance(host, str)] if isinstance(hosts, list) else []


def trouble_of(output: Output) -> Trouble:
    """What keeps a command of Docker's from its answer, by its words through the versions."""
    if output.timed_out:
        return Trouble.HANGS
    if re.search(r"permission denied while trying to connect|connect: permission denied", output.text):
        return Trouble.DENIED
    if re.search(
        r"Cannot connect to the Docker daemon|failed to connect to the docker API|connection refused", output.text
    ):
        return Trouble.DOWN
    return Trouble.NONE if output.ok else Trouble.OTHER


def look_away(output: Output, trouble: Trouble) -> None:
    """Raises CannotSee for what the check of the daemon does not tell by itself."""
    if trouble is Trouble.DENIED:
        raise CannotSee("what Docker's daemon says (needs root or the group docker)")
    if trouble is Trouble.OTHER:
        reason = output.text.strip().partition("\n")[0] or f"exit status {output.status}"
        raise CannotSee(f"{' '.join(output.argv[:3])}: {reason}")


def process_started_at(system: System, pid: int) -> float | None:
    """When a process started, in seconds since the epoch; None where it cannot be said."""
    fields = (system.read(f"/proc/{pid}/stat") or "").rpartition(")")[2].split()
    booted = re.search(r"^btime (\d+)$", system.read("/proc/stat") or "", re.MULTILINE)
    if booted is None or len(fields) < 20:
        return None
    return int(booted[1]) + int(fields[19]) / _TICKS


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
