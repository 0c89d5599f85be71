"""Links in /dev/char, with real device nodes in a /dev of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.real, pytest.mark.doctor_real, pytest.mark.root]

#: Runs in a mount namespace of its own: its /dev and /etc are nobody else's.
INSIDE = """
import json, os, subprocess
from hrm.doctor.cures import cure
from hrm.doctor.hands import LocalHands
from hrm.doctor.expected import Expected
from hrm.doctor.gpu.device_links import links
from hrm.doctor.system import LocalSystem
from hrm.model.findings import Risk

for place in ("/dev", "/etc"):
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
os.mkdir("/etc/docker")
with open("/etc/docker/daemon.json", "w") as file:
    file.write('{"exec-opts": ["native.cgroupdriver=systemd"]}')
os.mknod("/dev/null", 0o20666, os.makedev(1, 3))
for name, minor in (("nvidia0", 0), ("nvidia1", 1), ("nvidiactl", 255)):
    os.mknod(f"/dev/{name}", 0o20666, os.makedev(195, minor))
os.mkdir("/dev/char")

system = LocalSystem()
before = list(links.look(system, Expected()))
done = [str(step.result) for step in cure(before[0], LocalHands(system), allowed=frozenset({Risk.SAFE}))]
after = list(links.look(system, Expected()))
again = [str(step.result) for step in cure(before[0], LocalHands(system), allowed=frozenset({Risk.SAFE}))]
made = {name: os.readlink(f"/dev/char/{name}") for name in sorted(os.listdir("/dev/char"))}
print(json.dumps([[found.title.en for found in before], done, len(after), again, made]))
"""


def test_missing_links_are_found_and_made_also_a_second_time() -> None:
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")

    run = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", INSIDE],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert run.returncode == 0, run.stderr
    titles, done, left, again, made = json.loads(run.stdout)
    assert titles == ["/dev/char has no links for nvidia0, nvidia1, nvidiactl"]
    assert done == again == ["done", "done", "done"]
    assert left == 0
    assert made == {"195:0": "../nvidia0", "195:1": "../nvidia1", "195:255": "../nvidiactl"}
