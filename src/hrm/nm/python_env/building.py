"""Python environments of one user on one node: each built once, kept up to a size, never taken from who runs in it.

``DIR/HASH`` is an environment. Whoever builds it has a lock on ``DIR/HASH.build``, whoever runs in it a shared one on
``DIR/HASH.used``. ``DIR/HASH.ready`` is there iff it is whole; its time of modification is when it was last used.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from hrm.model.python_envs import LOCK, PROJECT, REQUIREMENTS, Order, PythonEnv

_LAST_LINES = 12
#: What makes environments differ besides what is in them.
_ASK = """
import platform, sysconfig
print(platform.python_implementation(), platform.python_version(), sysconfig.get_platform())
"""


class BuildError(Exception):
    """It cannot be built. The text is told to whoever asked for it."""


class Environments:
    """See the module. ``environ`` is that of the container's program."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = {**environ, "PIP_NO_CACHE_DIR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}

    def get(self, order: Order) -> Path:
        """The environment's directory, on which this process, and what it becomes, has a hold.

        Raises BuildError and OSError.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        python = self._which("python3") or self._which("python")
        if python is None:
            raise BuildError("there is no python3 in its PATH")
        uv = self._which("uv")
        name = self._key(order, python, uv)
        place, ready = self._folder / name, self._folder / f"{name}.ready"
        used_fd = os.open(self._folder / f"{name}.used", os.O_RDWR | os.O_CREAT, 0o600)
        # It stays open in the program: that somebody runs here is known by it.
        os.set_inheritable(used_fd, True)
        while True:
            fcntl.flock(used_fd, fcntl.LOCK_SH)
            with contextlib.suppress(FileNotFoundError):
                os.utime(ready)
                return place
            fcntl.flock(used_fd, fcntl.LOCK_UN)
            with open(self._folder / f"{name}.build", "wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                # Another may have built it meanwhile.
                if not ready.exists():
                    self._build(order, python, uv, place)
                    ready.touch()
                    self._bound(order.cache_bytes, but=name)

    def _which(self, program: str) -> str | None:
        return shutil.which(program, path=self._environ.get("PATH", os.defpath))

    def _key(self, order: Order, python: str, uv: str | None) -> str:
        asked = subprocess.run(
            [python, "-I", "-c", _ASK], env=self._environ, capture_output=True, text=True, check=False
        )
        if asked.returncode:
            raise BuildError(f"{python} does not run: {asked.stderr.strip()[-300:]}")
        what = [sorted(order.env.files.items()), asked.stdout.strip(), os.path.realpath(python), bool(uv)]
        text = json.dumps([*what, order.sources.arguments])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _build(self, order: Order, python: str, uv: str | None, place: Path) -> None:
        # What a build left that was interrupted.
        shutil.rmtree(place, ignore_errors=True)
        print(f"hrm: building a Python environment with {'uv' if uv else 'pip'} …", file=sys.stderr, flush=True)  # noqa: T201
        with tempfile.TemporaryDirectory(dir=self._folder, prefix="build-") as scratch:
            for name, text in order.env.files.items():
                Path(scratch, name).write_text(text, encoding="utf-8")
            try:
                for command in _commands(order, python, uv, place, Path(scratch)):
                    self._run(command, place, scratch)
            except BaseException:
                shutil.rmtree(place, ignore_errors=True)
                raise

    def _run(self, command: Sequence[str], place: Path, scratch: str) -> None:
        environ = {**self._environ, "UV_PROJECT_ENVIRONMENT": str(place), "UV_NO_CACHE": "1", "TMPDIR": scratch}
        environ.pop("VIRTUAL_ENV", None)
        done = subprocess.run(
            command,
            env=environ,
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            last = "\n".join(done.stdout.strip().splitlines()[-_LAST_LINES:])
            raise BuildError(f"{os.path.basename(command[0])} ended with {done.returncode}:\n{last}")

    def _bound(self, most_bytes: int, *, but: str) -> None:
        """The longest unused go, but none in which something runs or which is being built."""
        found = sorted(
            (path for path in self._folder.glob("*.ready") if path.stem != but), key=lambda path: path.stat().st_mtime
        )
        total = sum(_size_bytes(self._folder / path.stem) for path in [*found, self._folder / f"{but}.ready"])
        for ready in found:
            if total <= most_bytes:
                return
            place = self._folder / ready.stem
            with open(place.with_suffix(".used"), "rb") as used:
                try:
                    fcntl.flock(used, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                total -= _size_bytes(place)
                ready.unlink(missing_ok=True)
                shutil.rmtree(place, ignore_errors=True)


def _commands(order: Order, python: str, uv: str | None, place: Path, scratch: Path) -> list[list[str]]:
    """What builds it at ``place`` of the files in ``scratch``."""
    sources = order.sources.arguments
    if uv is None:
        if order.env.is_locked:
            raise BuildError(f"{LOCK} needs uv, which is not in its PATH on this node")
        if PROJECT in order.env.files:
            (scratch / REQUIREMENTS).write_text("\n".join(_dependencies(order.env)), encoding="utf-8")
        install = [f"{place}/bin/python", "-m", "pip", "install", *sources, "-r", REQUIREMENTS]
        return [[python, "-m", "venv", str(place)], install]
    make = [uv, "venv", "--python", python, str(place)]
    if order.env.is_locked:
        return [make, [uv, "sync", "--frozen", "--no-install-project", "--python", python, *sources]]
    what = PROJECT if PROJECT in order.env.files else REQUIREMENTS
    return [make, [uv, "pip", "install", "--python", f"{place}/bin/python", *sources, "-r", what]]


def _dependencies(env: PythonEnv) -> list[str]:
    """Those of the project; the project itself is not installed. Raises BuildError."""
    try:
        project = tomllib.loads(env.files[PROJECT]).get("project", {})
    except tomllib.TOMLDecodeError as error:
        raise BuildError(f"{PROJECT} is not TOML: {error}") from None
    found = project.get("dependencies", [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise BuildError(f"{PROJECT} has no list of project.dependencies")
    return found


def _size_bytes(place: Path) -> int:
    total = 0
    for folder, _, names in os.walk(place):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total
