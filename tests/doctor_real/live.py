"""This machine with some files more: what only an installed program would have left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hrm.doctor.system import FileStat, LocalSystem


class WithFiles(LocalSystem):
    """All else (processes, sockets, commands, the clock) is this machine's own."""

    def __init__(self, files: Mapping[str, str], *, programs: Sequence[str] = (), ahead_s: float = 0.0) -> None:
        self._files = files
        self._programs = programs
        self._ahead_s = ahead_s

    def now(self) -> float:
        return super().now() + self._ahead_s

    def read(self, path: str, *, tail: bool = False) -> str | None:
        return self._files[path] if path in self._files else super().read(path, tail=tail)

    def list(self, path: str) -> Sequence[str]:
        more = {file[len(path) + 1 :].partition("/")[0] for file in self._files if file.startswith(f"{path}/")}
        return sorted({*super().list(path), *more})

    def stat(self, path: str) -> FileStat | None:
        if path in self._files:
            return FileStat(mode=0o100644, uid=0, gid=0, size_bytes=len(self._files[path]), changed_at=0.0)
        return super().stat(path)

    def which(self, program: str) -> str | None:
        return f"/usr/bin/{program}" if program in self._programs else super().which(program)
