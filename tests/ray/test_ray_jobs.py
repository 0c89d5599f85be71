"""A job of kind ray over several machines, each in a network of its own."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from hrm.testing import eventually
from hrm.testing.ray_server import ray_server

pytestmark = [pytest.mark.ray, pytest.mark.real]
DEADLINE_S = 180.0
#: Says where each container is, and what Ray has to give there.
SCRIPT = """
import os, time, ray
ray.init(log_to_driver=False)

@ray.remote(num_cpus=2)
def where():
    time.sleep(1.0)
    return os.environ["HRM_NODE_ID"], os.environ["HRM_TASK_INDEX"]

found = set()
while len(found) < 2:
    found |= set(ray.get([where.remote() for _ in range(4)]))
print(sorted(found), ray.cluster_resources()["CPU"], ray.cluster_resources()["GPU"])
"""


def test_a_script_has_the_containers_of_its_job_on_all_machines_and_leaves_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    with ray_server() as server:
        if not server.machines.in_namespaces:
            pytest.skip("needs network namespaces, and so root")
        server.up()
        for name in ("left", "right"):
            server.machines.add(name, "--cpus=4", "--memory-mib=2048", "--virtual-gpus=1")
        server.all_up(["left", "right"])
        folder = Path(tempfile.mkdtemp(prefix="hrm-rj-", dir="/tmp"))
        server.env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TMPDIR": str(folder)}
        shape = ("--tasks", 2, "--tasks-per-node", 1, "--cpus", 2, "--memory", "1500M", "--gpus", 1)
        application_id = server.hrm("submit", "--kind", "ray", *shape, "--", tmp_path / "script.py").split()[-1]
        server.tried("wait", application_id, timeout_s=DEADLINE_S)

        said = server.hrm("logs", application_id) or server.hrm("logs", "--stderr", application_id)
        names, _, resources = said.rpartition("]")
        assert resources == " 4.0 2.0\n", said
        assert all(f"('{name}', " in names for name in ("left", "right"))
        assert server.json("ps", application_id)[0]["state"] == "FINISHED"
        eventually(lambda: not running_in(folder), DEADLINE_S, describe="Ray's processes end")
        assert list(folder.iterdir()) == []
        folder.rmdir()


def running_in(folder: Path) -> list[str]:
    commands = [" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])]
    return [command[:200] for command in commands if str(folder) in command]
