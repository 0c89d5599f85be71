"""A directory as a stream, and back: how results travel from a node to whoever fetches them.

The stream is a tar with PAX headers, which ends in a member that says whether all was read: what is torn off, or was
interrupted by an error on the node, is known as such. Neither side follows a link.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

from hrm.files.manifest import check_link
from hrm.files.pack import PIECE_BYTES
from hrm.model.errors import ClusterError, Conflict, InvalidInput, NotFound

#: A PAX header that nothing but the last member has: "" if all was read, else what went wrong.
_END = "HRM.end"
_SKIPPED = "HRM.skipped"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def path_parts(path: str) -> list[str]:
    """Names of a relative path. Raises InvalidInput for one that could lead out of where it starts."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or "\0" in path:
        raise InvalidInput(
            f"not a path within the container's directory: {path!r:.200}",
            field="path",
            next_step="name it relative to HRM_CONTAINER_DIR, without ..",
        )
    return parts


class Reader:
    """Reads ``path`` below ``folder``, piece by piece; for one worker thread at a time. It travels by its last name.

    Raises InvalidInput for a path that leads out, NotFound for one that is not there, or is a link on its way, and
    Conflict for what is neither file nor directory.
    """

    def __init__(self, folder: Path, path: str) -> None:
        parts = path_parts(path)
        self._path = "/".join(parts)
        self._fd, self._name, self._uid = _descend(folder, parts)
        self.pieces: Iterator[bytes] = self._read()

    def close(self) -> None:
        """Let go of it. No error if that was done before."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> Iterator[bytes]:
        # Small files and headers are put together: each piece is a call over the network.
        waiting = bytearray()
        skipped = 0
        problem = ""
        try:
            for piece in self._members(self._fd, self._name, self._name):
                waiting += piece
                skipped += not piece
                if len(waiting) >= PIECE_BYTES:
                    yield bytes(waiting)
                    waiting.clear()
        except OSError as error:
            problem = f"{self._path or 'the directory'}: {error.strerror or error}"
        except ClusterError as error:
            problem = error.message
        last = tarfile.TarInfo("end")
        last.pax_headers = {_END: problem, _SKIPPED: str(skipped)}
        yield bytes(waiting) + last.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape") + bytes(tarfile.RECORDSIZE)

    def _members(self, parent_fd: int, name: str, path: str) -> Iterator[bytes]:
        """b"" for what is passed over."""
        status = os.stat(name or ".", dir_fd=parent_fd, follow_symlinks=False)
        info = tarfile.TarInfo(path or ".")
        info.mode, info.mtime = stat.S_IMODE(status.st_mode) & 0o777, status.st_mtime
        if stat.S_ISDIR(status.st_mode):
            info.type = tarfile.DIRTYPE
            yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
            fd = os.open(name, _DIRECTORY, dir_fd=parent_fd) if name else os.dup(parent_fd)
            try:
                for entry in sorted(os.listdir(fd)):
                    try:
                        yield from self._members(fd, entry, f"{path}/{entry}" if path else entry)
                    except FileNotFoundError:
                        # It went meanwhile, as files of a job that runs do.
                        yield b""
            finally:
                os.close(fd)
        elif stat.S_ISLNK(status.st_mode):
            info.type, info.linkname = tarfile.SYMTYPE, os.readlink(name, dir_fd=parent_fd)
            yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        elif stat.S_ISREG(status.st_mode):
            yield from self._file(parent_fd, name, info)
        else:
            yield b""

    def _file(self, parent_fd: int, name: str, info: tarfile.TarInfo) -> Iterator[bytes]:
        fd = os.open(name, _FILE, dir_fd=parent_fd)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or (status.st_nlink > 1 and status.st_uid != self._uid):
                # A hard link to what is another's is not the job's to give away.
                yield b""
                return
            info.size = left = status.st_size
            yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
            while left:
                data = os.read(fd, min(PIECE_BYTES, left))
                if not data:
                    raise ClusterError(f"{info.name} became shorter while it was read")
                left -= len(data)
                yield data
            if over := info.size % tarfile.BLOCKSIZE:
                yield bytes(tarfile.BLOCKSIZE - over)
        finally:
            os.close(fd)


def _descend(folder: Path, parts: list[str]) -> tuple[int, str, int]:
    """(descriptor of a directory, name in it or "" for itself, whose the folder is)."""
    try:
        fd = os.open(folder, _DIRECTORY)
    except FileNotFoundError:
        raise NotFound(
            "its directory is not there: it never began, or was cleared away",
            next_step="`retention.scratch_age` says how long it is kept",
        ) from None
    try:
        uid = os.fstat(fd).st_uid
        for part in parts[:-1]:
            inner = os.open(part, _DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = inner
        name = parts[-1] if parts else ""
        mode = os.stat(name or ".", dir_fd=fd, follow_symlinks=False).st_mode
    except OSError as error:
        os.close(fd)
        where = "/".join(parts)
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise NotFound(f"{where!r:.200} leads through a link or a file", next_step="name the real path") from None
        if error.errno == errno.ENOENT:
            raise NotFound(f"{where!r:.200} is not in the container's directory") from None
        raise ClusterError(f"{where!r:.200} cannot be read: {error.strerror}") from None
    if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        os.close(fd)
        raise Conflict(f"{'/'.join(parts)!r:.200} is neither a file nor a directory", next_step="name what holds it")
    return fd, name, uid


class Extracted:
    """What came of `extract`."""

    def __init__(self) -> None:
        self.files = 0
        self.size_bytes = 0
        #: Paths that were left out, each with why.
        self.left_out: list[str] = []


def extract(stream: BinaryIO | IO[bytes], folder: Path, *, overwrite: bool) -> Extracted:
    """Write what a `Reader` read below ``folder``, which is made.

    Links that lead out of it are left out. Raises Conflict where a file is there and not to be overwritten,
    ClusterError where the stream is not whole, and OSError.
    """
    done = Extracted()
    folder.mkdir(parents=True, exist_ok=True)
    root = folder.resolve()
    #: Made last, so that nothing is written through one.
    links: list[tuple[Path, str]] = []
    try:
        with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape") as archive:
            for member in archive:
                if (problem := member.pax_headers.get(_END)) is not None:
                    if problem:
                        raise ClusterError(f"not all could be read: {problem}", next_step="fetch it again")
                    if skipped := int(member.pax_headers.get(_SKIPPED, "0")):
                        done.left_out.append(f"{skipped} that are no files, or went meanwhile")
                    for path, target in links:
                        _make_room(path, overwrite=overwrite)
                        os.symlink(target, path)
                    return done
                path = _place(root, member.name)
                if member.isdir():
                    path.mkdir(exist_ok=True)
                elif member.issym():
                    try:
                        check_link(member.name, member.linkname)
                    except InvalidInput as error:
                        done.left_out.append(error.problem)
                    else:
                        links.append((path, member.linkname))
                elif member.isreg():
                    _make_room(path, overwrite=overwrite)
                    source = archive.extractfile(member)
                    assert source is not None
                    with path.open("xb") as file:
                        shutil.copyfileobj(source, file, PIECE_BYTES)
                        os.fchmod(file.fileno(), member.mode & 0o777 | 0o600)
                    os.utime(path, (member.mtime, member.mtime))
                    done.files += 1
                    done.size_bytes += member.size
    except (tarfile.ReadError, EOFError) as error:
        raise ClusterError(f"the download broke off: {error}", next_step="fetch it again") from None
    raise ClusterError("the download broke off", next_step="fetch it again")


def _place(root: Path, name: str) -> Path:
    """Where a member goes. Raises ClusterError for one that would go elsewhere: no node of ours says so."""
    try:
        parts = path_parts(name)
    except InvalidInput:
        parts = None
    path = root.joinpath(*parts) if parts is not None else root.parent
    if parts is None or path.parent.resolve() not in (path.parent, root.parent):
        raise ClusterError(f"what came would be written outside of {root}: {name!r:.200}", next_step="report it")
    return path


def _make_room(path: Path, *, overwrite: bool) -> None:
    """Raises Conflict."""
    if os.path.lexists(path):
        if not overwrite or (path.is_dir() and not path.is_symlink()):
            raise Conflict(f"{path} is there already", next_step="choose another directory with -o, or add --force")
        path.unlink()
