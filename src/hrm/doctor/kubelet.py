"""kubelet as its configuration and its arguments say it runs.

Arguments count before the file (kubernetes: ``cmd/kubelet/app/server.go``). Until 1.24 kubelet used Docker by itself
unless told otherwise; since then it does so only through cri-dockerd.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hrm.doctor.processes import Running, processes
from hrm.doctor.system import System
from hrm.doctor.units import unit_file

CONFIG = "/var/lib/kubelet/config.yaml"
#: Arguments that ``kubeadm init`` and ``join`` write for it.
FLAGS = "/var/lib/kubelet/kubeadm-flags.env"
#: Arguments that administrators write.
_DEFAULTS = ("/etc/default/kubelet", "/etc/sysconfig/kubelet")
HEALTHZ_PORT = 10248


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubelet:
    """What is known of it; None for what is left to its own default."""

    #: Of the arguments and the file, arguments first.
    settings: dict[str, str]
    #: Whether ``kubeadm init`` or ``join`` has made its configuration.
    configured: bool
    running: Running | None

    @property
    def cgroup_driver(self) -> str | None:
        """``systemd`` or ``cgroupfs``."""
        return self.settings.get("cgroupDriver")

    @property
    def fails_with_swap(self) -> bool:
        """Whether it does not start where swap is on; so by default."""
        return self.settings.get("failSwapOn", "true") != "false"

    @property
    def healthz_port(self) -> int:
        """Of its health; 0 where it is turned off."""
        port = self.settings.get("healthzPort", "")
        return int(port) if port.isdigit() else HEALTHZ_PORT

    @property
    def runtime_endpoint(self) -> str:
        """The socket of what runs its containers; "" where that is left to it."""
        return self.settings.get("containerRuntimeEndpoint", "")

    @property
    def uses_docker(self) -> bool:
        """Whether its containers run in Docker."""
        if "docker" in self.runtime_endpoint:
            return True
        return not self.runtime_endpoint and self.settings.get("container-runtime", "docker") == "docker"


def kubelet(system: System) -> Kubelet | None:
    """None where it is not installed. Raises CannotSee."""
    if system.which("kubelet") is None and unit_file(system, "kubelet") is None:
        return None
    running = next((one for one in processes(system) if _program(one) == "kubelet" and one.state != "Z"), None)
    config = system.read(CONFIG)
    settings = _top_level(config or "")
    for path in (FLAGS, *_DEFAULTS):
        settings.update(_arguments(system.read(path) or ""))
    if running is not None:
        settings.update(_arguments(running.command_line))
    return Kubelet(settings=settings, configured=config is not None, running=running)


def _program(one: Running) -> str:
    return one.command_line.split(" ", 1)[0].rpartition("/")[2]


def _top_level(text: str) -> dict[str, str]:
    """Keys of a YAML file that stand at its left edge with a plain value: all that is asked for here."""
    found = re.findall(r"^([A-Za-z][\w-]*):[ \t]+([^\s#][^\n#]*)", text, re.MULTILINE)
    return {key: value.strip().strip("\"'") for key, value in found}


#: Arguments by the keys of the file that they stand for.
_KEYS = {
    "cgroup-driver": "cgroupDriver",
    "fail-swap-on": "failSwapOn",
    "healthz-port": "healthzPort",
    "container-runtime-endpoint": "containerRuntimeEndpoint",
    "pod-cidr": "podCIDR",
}


def _arguments(text: str) -> dict[str, str]:
    found = re.findall(r"--([a-z][a-z-]*)(?:[= ]([^\s\"'-][^\s\"']*))?", text)
    return {_KEYS.get(name, name): value or "true" for name, value in found}
