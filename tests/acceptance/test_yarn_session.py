"""The session that docs/yarn.md begins with, as a newcomer types it, in an environment that has nothing yet."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hrm.testing.hadoop import DEADLINE_S, VECTORS, java_home
from tests.acceptance.conftest import Hrm, hrm_home

pytestmark = [pytest.mark.real, pytest.mark.yarn]

CHECKOUT = Path(__file__).parents[2]
PROGRAM = """\
from pyspark.sql import SparkSession

print("counted", SparkSession.builder.getOrCreate().range(1000).count())
"""


@pytest.fixture
def hrm() -> Iterator[Hrm]:
    with hrm_home() as hrm:
        hrm.configure(
            "node: {vcores: 4, memory: 6G}\n"
            "server: {port: 0}\n"
            "scheduler: {master_timeout: 10m}\n"
            "yarn: {client_port: 0, master_port: 0, web_port: 0, node_port: 0, node_web_port: 0}\n"
        )
        yield hrm


def session() -> str:
    """What is typed, with HRM taken from a clone of this checkout."""
    found = re.search(r"```console\n(.*?)```", (CHECKOUT / "docs" / "yarn.md").read_text(), re.DOTALL)
    assert found is not None
    lines = [line.removeprefix("$ ") for line in found.group(1).splitlines()]
    assert lines[0] == "pip install 'hrm[yarn]' pyspark"
    assert len(lines) == 5
    return "\n".join(['pip install "hrm[yarn] @ file://$CLONE" pyspark', *lines[1:]])


def test_five_lines_run_a_program_of_spark_s_from_nothing(hrm: Hrm, tmp_path: Path) -> None:
    environment, clone = tmp_path / "venv", tmp_path / "hrm"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True, timeout=DEADLINE_S)
    subprocess.run(["git", "clone", "-q", CHECKOUT, clone], check=True, timeout=DEADLINE_S)
    (tmp_path / "app.py").write_text(PROGRAM)
    typed = subprocess.run(
        ["bash", "-e", "-c", session()],
        cwd=tmp_path,
        env={
            **hrm.env,
            "CLONE": str(clone),
            "JAVA_HOME": str(java_home(VECTORS)),
            "PATH": f"{environment}/bin:{os.environ['PATH']}",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE_S,
    )
    assert typed.returncode == 0, typed.stdout + typed.stderr
    assert "counted 1000" in typed.stdout, typed.stdout + typed.stderr
