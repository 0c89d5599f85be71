"""`hrm submit --spark`: an application of Spark's, by way of its own spark-submit."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from hrm.cli.job_options import JobOptions
from hrm.model.errors import InvalidInput, NotFound
from hrm.model.units import parse_memory_mib, parse_milli

#: Options of `hrm submit` that say something to Spark.
_KNOWN = ("queue", "cpus", "memory", "gpus", "tasks", "name", "env", "priority")


def spark_submit() -> tuple[Path, Path]:
    """Spark's launcher and its home: that of ``$SPARK_HOME``, of the PATH, or of the package pyspark beside us.

    Raises NotFound.
    """
    homes = [Path(named)] if (named := os.environ.get("SPARK_HOME")) else []
    found = shutil.which("spark-submit")
    if found is not None:
        launcher = Path(found).resolve()
        # Of pip's package the script lies apart from Spark itself.
        packages = launcher.parent.parent.glob("lib/python3*/site-packages/pyspark")
        homes += [launcher.parent.parent, *packages]
    package = find_spec("pyspark")
    if package is not None and package.origin is not None:
        homes.append(Path(package.origin).parent)
    for home in homes:
        if (home / "bin" / "spark-submit").is_file() and (home / "jars").is_dir():
            return home / "bin" / "spark-submit", home
    raise NotFound("there is no spark-submit here", next_step="pip install pyspark, or set SPARK_HOME")


def spark_command(launcher: Path, home: Path, command: list[str], options: JobOptions, *, wait: bool) -> list[str]:
    """What is run for ``command``: an application with its arguments. Raises InvalidInput for options that do not
    apply."""
    for field in fields(options):
        if field.name not in _KNOWN and getattr(options, field.name) != field.default:
            raise InvalidInput(
                "says nothing to Spark",
                field=f"--{field.name.replace('_', '-')}",
                next_step="use spark-submit's own options",
            )
    if options.gpus is not None and not options.gpus.isdigit():
        raise InvalidInput(f"Spark asks for whole GPUs: {options.gpus!r:.40}", field="--gpus")
    words = ["--master", "yarn", "--deploy-mode", "cluster"]
    conf = {
        # Else each submission copies Spark itself (300 MB) for its containers.
        "spark.yarn.jars": f"local:{home}/jars/*",
        "spark.yarn.submit.waitAppCompletion": "true" if wait else "false",
    }
    if options.queue is not None:
        words += ["--queue", options.queue]
    if options.name is not None:
        words += ["--name", options.name]
    if options.tasks is not None:
        words += ["--num-executors", str(options.tasks)]
    if options.cpus is not None:
        cpus_milli = parse_milli(options.cpus, field="--cpus")
        if cpus_milli % 1000:
            raise InvalidInput(f"Spark has whole CPUs only: {options.cpus!r:.40}", field="--cpus")
        words += ["--executor-cores", str(cpus_milli // 1000)]
    if options.memory is not None:
        words += ["--executor-memory", f"{parse_memory_mib(options.memory, field='--memory')}m"]
    if options.priority is not None:
        conf["spark.yarn.priority"] = str(options.priority)
    if options.gpus is not None and options.gpus != "0":
        conf["spark.executor.resource.gpu.amount"] = options.gpus
    if command[0].endswith(".py"):
        # The same Python as here, if it has what the application imports.
        python = os.environ.get("PYSPARK_PYTHON") or _python_of(home)
        conf["spark.yarn.appMasterEnv.PYSPARK_PYTHON"] = conf["spark.executorEnv.PYSPARK_PYTHON"] = python
    for word in options.env or ():
        name, equals, value = word.partition("=")
        conf[f"spark.yarn.appMasterEnv.{name}"] = value if equals else os.environ.get(name, "")
        conf[f"spark.executorEnv.{name}"] = conf[f"spark.yarn.appMasterEnv.{name}"]
    for key, value in conf.items():
        words += ["--conf", f"{key}={value}"]
    return [str(launcher), *words, *command]


def _python_of(home: Path) -> str:
    """The interpreter that the package pyspark was installed for; ours where Spark stands by itself."""
    for parent in home.parents:
        if (parent / "bin" / "python3").is_file() and (parent / "pyvenv.cfg").is_file():
            return str(parent / "bin" / "python3")
    return sys.executable


def submit_to_spark(command: list[str], options: JobOptions, *, wait: bool) -> NoReturn:
    """Become spark-submit. Raises NotFound, InvalidInput, NoServer, and Conflict where the server's door is shut."""
    from hrm.cli.connect import client
    from hrm.cli.yarn import write_files

    launcher, home = spark_submit()
    words = spark_command(launcher, home, command, options, wait=wait)
    with client() as server:
        conf_dir = write_files(server)
    environment = {**os.environ, "HADOOP_CONF_DIR": str(conf_dir), "SPARK_HOME": str(home)}
    sys.stdout.flush()
    os.execve(launcher, words, environment)
