"""Releases of Spark as PyPI has them, each in an environment of its own that is made once on a machine."""

from __future__ import annotations

import fcntl
import importlib.metadata
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

#: The release that the extra `spark` installs, which tests use that are not about Spark.
INSTALLED = "3.5"
#: Those that tests try: the beginning of a version, of which the newest is taken.
VERSIONS = tuple(os.environ.get("HRM_SPARK_VERSIONS", f"{INSTALLED},4").split(","))
#: For a download of 450 MB.
_INSTALL_TIMEOUT_S = 900.0


@dataclass(frozen=True)
class Spark:
    """An installed Spark: its home, and a Python that has it."""

    home: Path
    python: Path


def spark_of(version: str) -> Spark:
    """The package beside us if it is of that version, else one of an environment in the user's cache.

    The environment is made by who needs it first; others wait for it. Raises AssertionError where `INSTALLED` is not
    installed, CalledProcessError where pip fails.
    """
    if version == INSTALLED:
        package = find_spec("pyspark")
        assert package is not None and package.origin is not None, "pyspark is missing: pip install '.[spark]'"
        found = importlib.metadata.version("pyspark")
        assert found.startswith(f"{version}."), f"pyspark is {found}, and not {version}: pip install '.[spark]'"
        return Spark(Path(package.origin).parent, Path(sys.executable))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hrm-tests"
    cache.mkdir(parents=True, exist_ok=True)
    name = f"pyspark-{version}-python{sys.version_info.major}.{sys.version_info.minor}"
    folder, made = cache / name, cache / f"{name}.made"
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            # What somebody began who was ended meanwhile.
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=_INSTALL_TIMEOUT_S)
            pip = str(folder / "bin" / "pip")
            subprocess.run([pip, "install", "-q", f"pyspark=={version}.*"], check=True, timeout=_INSTALL_TIMEOUT_S)
            made.touch()
    (home,) = folder.glob("lib/python3*/site-packages/pyspark")
    return Spark(home, folder / "bin" / "python")
