"""Unpacking what somebody sent: nothing lands outside the folder, and nothing grows without bound."""

from __future__ import annotations

import lzma
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from hrm.nm.prepare.errors import PrepareError

MAX_FILES = 200_000
MAX_BYTES = 32 << 30
#: What is small may unpack to this much whatever its ratio; what is larger must not be so dense.
_SMALL_BYTES = 1 << 30
_MAX_RATIO = 200
_COPY_BYTES = 1 << 20
#: What the readers of archives raise for one that is damaged, locked, of an unknown kind, or has names without an end.
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
_MAX_LINK_BYTES = 4096
_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


class _Budget:
    """What may still be unpacked."""

    def __init__(self, name: str, packed_bytes: int, max_files: int, max_bytes: int) -> None:
        self._name = name
        self._files = max_files
        self._bytes = self._most = min(max_bytes, max(_SMALL_BYTES, packed_bytes * _MAX_RATIO))

    def file(self) -> None:
        self._files -= 1
        if self._files < 0:
            raise PrepareError(f"archive {self._name} holds too many files")

    def copy(self, source: IO[bytes], target: IO[bytes]) -> None:
        while data := source.read(_COPY_BYTES):
            self._bytes -= len(data)
            if self._bytes < 0:
                raise PrepareError(f"archive {self._name} unpacks to more than {self._most} bytes")
            target.write(data)


def unpack(
    archive: Path,
    folder: Path,
    name: str,
    *,
    pattern: str = "",
    max_files: int = MAX_FILES,
    max_bytes: int = MAX_BYTES,
) -> None:
    """Unpack ``archive``, whose form its ``name`` tells, into a new ``folder``. Raises PrepareError, OSError.

    With a ``pattern`` only of what it matches. A file of another form is put there as it is (YARN does so too).
    """
    budget = _Budget(name, archive.stat().st_size, max_files, max_bytes)
    wanted = _wanted(pattern)
    folder.mkdir()
    lower = name.lower()
    try:
        if lower.endswith((".zip", ".jar")):
            _unzip(archive, folder, budget, wanted)
        elif lower.endswith(_TAR):
            _untar(archive, folder, budget, wanted)
        else:
            shutil.copyfile(archive, folder / name)
    except _BROKEN as error:
        raise PrepareError(f"archive {name} cannot be unpacked: {error}") from None


def _wanted(pattern: str) -> Callable[[str], bool]:
    if not pattern:
        return lambda name: True
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise PrepareError(f"not a pattern: {pattern!r:.80}: {error}") from None
    return lambda name: compiled.fullmatch(name) is not None


def _inside(folder: Path, name: str) -> Path:
    """Where a member goes. Raises PrepareError for one that would leave the folder."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise PrepareError(f"an archive has a member outside of itself: {name!r:.120}")
    path = folder
    for part in parts[:-1]:
        path = path / part
        if path.is_symlink():
            raise PrepareError(f"an archive has a member behind a link: {name!r:.120}")
    return path / parts[-1] if parts else folder


def _unzip(archive: Path, folder: Path, budget: _Budget, wanted: Callable[[str], bool]) -> None:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            budget.file()
            path = _inside(folder, member.filename)
            if not wanted(member.filename):
                continue
            mode = member.external_attr >> 16
            if member.is_dir():
                path.mkdir(parents=True, exist_ok=True)
            elif stat.S_ISLNK(mode):
                with packed.open(member) as words:
                    _link(folder, path, words.read(_MAX_LINK_BYTES).decode(errors="surrogateescape"))
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                with packed.open(member) as source, path.open("xb") as target:
                    budget.copy(source, target)
                if mode & 0o111:
                    path.chmod(0o755)


def _untar(archive: Path, folder: Path, budget: _Budget, wanted: Callable[[str], bool]) -> None:
    with tarfile.open(archive, "r:*") as packed:
        for member in packed:
            budget.file()
            path = _inside(folder, member.name)
            if not wanted(member.name):
                continue
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
            elif member.issym():
                _link(folder, path, member.linkname)
            elif member.islnk():
                source_path = _inside(folder, member.linkname)
                path.parent.mkdir(parents=True, exist_ok=True)
                os.link(source_path, path, follow_symlinks=False)
            elif member.isfile() and (source := packed.extractfile(member)) is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                with source, path.open("xb") as target:
                    budget.copy(source, target)
                if member.mode & 0o111:
                    path.chmod(0o755)
            else:
                raise PrepareError(f"an archive has a member that is no file: {member.name!r:.120}")


def _link(folder: Path, path: Path, target: str) -> None:
    """A symbolic link that stays inside. It may go up only to begin with: after another link, up is anywhere."""
    depth = len(path.relative_to(folder).parts) - 1
    parts = target.split("/")
    ups = next((at for at, part in enumerate(parts) if part != ".."), len(parts))
    if target.startswith("/") or ups > depth or ".." in parts[ups:]:
        raise PrepareError(f"an archive has a link that leads out of it: {str(path.relative_to(folder))!r:.120}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
