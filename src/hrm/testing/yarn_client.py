"""Hadoop's own client for YARN with all that it needs, from Maven's repository: made once on a machine.

PyPI's pyspark has the classes too, but lacks a library that `yarn logs` begins with.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

VERSION = "3.3.6"
#: For a download of 60 MB.
_FETCH_TIMEOUT_S = 900.0
_ARTIFACTS = ("hadoop-yarn-client", "hadoop-common", "hadoop-hdfs-client")
_PROJECT = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>hrm</groupId><artifactId>yarn-client</artifactId><version>1</version>
  <dependencies>{dependencies}</dependencies>
</project>
"""
_DEPENDENCY = (
    "<dependency><groupId>org.apache.hadoop</groupId><artifactId>{name}</artifactId>"
    "<version>{version}</version></dependency>"
)


def yarn_client_jars() -> Path:
    """The folder with its jars. Raises CalledProcessError where Maven fails, AssertionError where it is missing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hrm-tests"
    cache.mkdir(parents=True, exist_ok=True)
    name = f"hadoop-yarn-client-{VERSION}"
    folder, made = cache / name, cache / f"{name}.made"
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            maven = shutil.which("mvn")
            assert maven is not None, "Maven is missing: apt-get install maven"
            # What somebody began who was ended meanwhile.
            shutil.rmtree(folder, ignore_errors=True)
            dependencies = "".join(_DEPENDENCY.format(name=one, version=VERSION) for one in _ARTIFACTS)
            with tempfile.TemporaryDirectory() as project:
                Path(project, "pom.xml").write_text(_PROJECT.format(dependencies=dependencies))
                words = [maven, "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
                subprocess.run(words, cwd=project, check=True, timeout=_FETCH_TIMEOUT_S)
            for jar in (*folder.glob("slf4j-log4j12-*"), *folder.glob("slf4j-reload4j-*")):
                # Without a logger a command prints what it has to say and nothing else.
                jar.unlink()
            made.touch()
    return folder
