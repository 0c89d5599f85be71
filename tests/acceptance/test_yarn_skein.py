"""Skein as it comes: it submits, looks around, scales and ends an application of its own kind."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.testing.hadoop import DEADLINE_S, Hadoop
from tests.acceptance.conftest import Hrm, hrm_home

pytestmark = [pytest.mark.real, pytest.mark.yarn]

STORY = """\
import time
import skein

worker = skein.Service(
    instances=1, resources=skein.Resources(memory=256, vcores=1), script="echo the worker is here; sleep 1000"
)
spec = skein.ApplicationSpec(name="story", services={"worker": worker})

def wait_for(found):
    deadline = time.monotonic() + 120
    while not found():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.2)

def logs(name):
    try:
        return client.application_logs(name).values()
    except skein.SkeinError:
        # What ended is told before its last container has.
        return []

with skein.Client() as client:
    print("nodes", len(client.get_nodes()), "queue", client.get_queue("default").name)
    app = client.submit_and_connect(spec)
    wait_for(lambda: len(app.get_containers(states=["RUNNING"])) == 1)
    app.scale("worker", 2)
    wait_for(lambda: len(app.get_containers(states=["RUNNING"])) == 2)
    print("scaled")
    app.shutdown("SUCCEEDED")
    wait_for(lambda: str(client.application_report(app.id).state) == "FINISHED")
    print("ended", client.application_report(app.id).final_status)
    wait_for(lambda: any("the worker is here" in text for text in logs(app.id)))
    print("logged")
    other = client.submit(spec)
    wait_for(lambda: str(client.application_report(other).state) == "RUNNING")
    client.kill_application(other)
    wait_for(lambda: str(client.application_report(other).state) == "KILLED")
    print("killed")
"""


@pytest.fixture
def hrm() -> Iterator[Hrm]:
    with hrm_home() as hrm:
        hrm.configure(
            "node: {vcores: 4, memory: 4G}\n"
            "server: {port: 0}\n"
            "scheduler: {master_timeout: 10m}\n"
            "yarn: {enabled: true, client_port: 0, master_port: 0, web_port: 0, node_port: 0, node_web_port: 0, "
            f"classpath: '{Hadoop(hrm.home).spark}/jars/*'}}\n"
        )
        assert hrm("up", "--detach").code == 0
        yield hrm


@pytest.fixture
def skein(tmp_path: Path) -> Path:
    """A Python that has it: it needs an older protobuf than HRM."""
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=DEADLINE_S)
    wanted = ("skein==0.8.*", "protobuf<4", "setuptools<80")
    subprocess.run([folder / "bin" / "pip", "install", "-q", *wanted], check=True, timeout=DEADLINE_S)
    return folder / "bin" / "python"


def test_an_application_is_submitted_scaled_and_ended_and_another_killed(hrm: Hrm, skein: Path, tmp_path: Path) -> None:
    # What it brings along goes into the home of the user.
    home = tmp_path / "homes" / pwd.getpwuid(os.geteuid()).pw_name
    home.mkdir(parents=True)
    assert Hrm(hrm.home, HOME=str(home))("yarn", "env").code == 0
    conf = hrm.home / "hadoop-conf"
    hadoop = Hadoop(conf, env=hrm.env)
    # It takes file:/// for no file system at all.
    site = (conf / "core-site.xml").read_text()
    (conf / "core-site.xml").write_text(site.replace("file:///", "viewfs://hrm/", 1))
    # It asks Hadoop's command where Hadoop's classes are.
    yarn = tmp_path / "bin" / "yarn"
    yarn.parent.mkdir()
    yarn.write_text(f"#!/bin/sh\necho {conf}:{':'.join(map(str, (hadoop.spark / 'jars').glob('*.jar')))}\n")
    yarn.chmod(0o755)
    done = subprocess.run(
        [skein, "-c", STORY],
        env={**hadoop.env, "HOME": str(tmp_path), "PATH": f"{yarn.parent}:{hadoop.env['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE_S,
    )
    said = done.stdout.splitlines()
    assert said == ["nodes 1 queue root.default", "scaled", "ended SUCCEEDED", "logged", "killed"], (
        done.stdout + done.stderr
    )
    assert (home / ".skein").is_dir()
