"""Cures of the NVIDIA driver with real tools: apt and dpkg on packages of a root of their own, rmmod, processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hrm.doctor.cures import Result, cure
from hrm.doctor.gpu.packages import QUERY, installation
from hrm.doctor.gpu.replacing import purge
from hrm.doctor.gpu.unloading import MODULES, unloading
from hrm.doctor.hands import LocalHands
from hrm.doctor.system import LocalSystem
from hrm.model.findings import Finding, Risk, Severity, Step, Text
from hrm.testing.machines import Machine

pytestmark = [pytest.mark.real, pytest.mark.doctor_real, pytest.mark.root]

ALL = frozenset({Risk.SAFE, Risk.DISRUPTIVE})
TEXT = Text("x", "某")


def results(steps: tuple[Step, ...]) -> list[Result]:
    finding = Finding(code="HRM-X-001", check="x.x", severity=Severity.ERROR, title=TEXT, why=TEXT, cure=steps)
    return [done.result for done in cure(finding, LocalHands(LocalSystem()), allowed=ALL)]


class Root:
    """A root with a dpkg of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for place in ("dpkg/info", "dpkg/updates", "dpkg/triggers", "apt/lists/partial"):
            (path / "var/lib" / place).mkdir(parents=True)
        for place in ("var/cache/apt/archives/partial", "var/log/apt", "etc/apt", "debs"):
            (path / place).mkdir(parents=True)
        (path / "var/lib/dpkg/status").touch()
        self.options = [f"--root={path}", "--force-script-chrootless", f"--log={path}/var/log/dpkg.log"]
        given = " ".join(f'"{option}";' for option in self.options)
        (path / "apt.conf").write_text(
            f'Dir "{path}";\nDir::State::status "{path}/var/lib/dpkg/status";\nDir::Log "{path}/var/log/apt";\n'
            f"DPkg::Options {{ {given} }};\n"
        )

    def install(self, *packages: tuple[str, str, str]) -> None:
        """Name, version, and what it depends on ("" for nothing)."""
        files = []
        for name, version, depends in packages:
            place = self.path / "debs" / name
            (place / "DEBIAN").mkdir(parents=True)
            needs = f"Depends: {depends}\n" if depends else ""
            (place / "DEBIAN/control").write_text(
                f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: x <x@x>\n{needs}Description: x\n"
            )
            files.append(f"{place}.deb")
            subprocess.run(["dpkg-deb", "-Znone", "-b", place, files[-1]], check=True, capture_output=True)
        subprocess.run(["dpkg", *self.options, "-i", *files], check=True, capture_output=True)

    def installed(self) -> list[str]:
        """With a first letter that says what is to become of each: i, or h for what is held."""
        # It ends with 1 where one of the patterns matches nothing.
        told = subprocess.run(QUERY, capture_output=True, text=True).stdout
        return [f"{line[0]} {line.split()[1]}" for line in told.splitlines() if line[1] == "i"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    for tool in ("apt-get", "apt-mark", "dpkg", "dpkg-deb"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    root = Root(tmp_path / "root")
    monkeypatch.setenv("APT_CONFIG", str(root.path / "apt.conf"))
    monkeypatch.setenv("DPKG_ADMINDIR", str(root.path / "var/lib/dpkg"))
    return root


def wrong_driver_removed() -> tuple[Step, ...]:
    how = installation(LocalSystem())
    return purge(how, [package for package in how.driver_packages if package.version == "440.100"])


DRIVER = (
    ("libnvidia-compute-440", "440.100-0ubuntu0.18.04.1", ""),
    ("nvidia-utils-440", "440.100-0ubuntu0.18.04.1", "libnvidia-compute-440"),
)


def test_apt_removes_the_wrong_driver_and_leaves_what_containers_need(root: Root) -> None:
    root.install(
        *DRIVER,
        ("libnvidia-container1", "1.2.0-1", ""),
        ("nvidia-container-toolkit", "1.2.1-1", "libnvidia-container1"),
    )
    steps = wrong_driver_removed()

    assert results(steps) == [Result.DONE, Result.DONE, Result.DONE]
    assert root.installed() == ["i libnvidia-container1", "i nvidia-container-toolkit"]
    assert Result.FAILED not in results(steps)


def test_apt_removes_a_wrong_driver_that_somebody_held(root: Root) -> None:
    root.install(*DRIVER, ("libnvidia-container1", "1.2.0-1", ""))
    subprocess.run(["apt-mark", "hold", "nvidia-utils-440"], check=True, capture_output=True)

    assert Result.FAILED not in results(wrong_driver_removed())
    assert root.installed() == ["i libnvidia-container1"]


def test_apt_gives_up_rather_than_take_what_containers_need_with_the_driver(root: Root) -> None:
    root.install(*DRIVER, ("nvidia-container-toolkit", "1.2.1-1", "nvidia-utils-440"))
    before = [line.partition(" ")[2] for line in root.installed()]

    assert results(wrong_driver_removed()) == [Result.DONE, Result.FAILED]
    assert [line.partition(" ")[2] for line in root.installed()] == before


def test_rmmod_says_of_a_module_that_is_gone_what_counts_as_done(tmp_path: Path) -> None:
    if shutil.which("rmmod") is None:
        pytest.skip("kmod is not installed")
    if Path("/sys/module/nvidia").exists():
        pytest.skip("NVIDIA's driver is loaded here")
    # No /proc/modules: all that there may be.
    machine = Machine(tmp_path).file("/usr/sbin/rmmod")

    assert results(unloading(machine.system()).steps) == [Result.ALREADY] * len(MODULES)


#: Runs in a mount namespace of its own: its /dev is nobody else's.
INSIDE = """
import json, os, subprocess, sys
from hrm.doctor.gpu.unloading import holders_of_gpus, unloading
from hrm.doctor.cures import cure
from hrm.doctor.hands import LocalHands
from hrm.doctor.system import LocalSystem
from hrm.model.findings import Finding, Risk, Severity, Text

subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/dev"], check=True)
os.mknod("/dev/null", 0o20666, os.makedev(1, 3))
for name in ("nvidia0", "nvidiactl"):
    open(f"/dev/{name}", "w").close()
hold = "import sys; held = open('/dev/nvidia0'); print('ready', flush=True); sys.stdin.read()"
child = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
system = LocalSystem()
way = unloading(system)
ends = [step for step in way.steps if step.ends is not None]
text = Text("x", "x")
finding = Finding(code="HRM-X-001", check="x.x", severity=Severity.ERROR, title=text, why=text, cure=tuple(ends))
done = [str(one.result) for one in cure(finding, LocalHands(system), allowed=frozenset(Risk))]
left = [holder.process.pid for holder in holders_of_gpus(system).found]
print(json.dumps([[step.ends.pid == child.pid for step in ends], done, child.wait(), left]))
"""


def test_who_holds_a_gpu_is_found_in_proc_and_ended() -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare")
    told = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", INSIDE], capture_output=True, text=True, timeout=120, check=True
    )

    mine, done, status, left = json.loads(told.stdout)
    assert (mine, done, status, left) == ([True], ["done"], -15, [])
