"""A machine from what was recorded of it: a directory with its files, and what its commands printed.

``hrm doctor --root DIR`` reads one. ``DIR/etc/exports`` is the machine's ``/etc/exports``. What commands, ports and
clock said stands in ``DIR/recorded.toml``; a directory without one is taken for the root of a machine that does not
run, of which commands say nothing.
"""

from __future__ import annotations

import os
import stat as stat_module
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hrm.doctor.system import (
    COMMAND_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    MAX_TEXT_BYTES,
    CannotSee,
    FileStat,
    HttpAnswer,
    Output,
    Reached,
    as_file_stat,
)
from hrm.model.errors import InvalidInput

RECORD = "recorded.toml"
_PLACES_OF_PROGRAMS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/opt/bin")
_MAX_LINKS = 20


class RecordedSystem:
    """Raises InvalidInput where ``root`` is no directory, or its record cannot be read.

    The keys of ``recorded.toml``:

    - ``now``: seconds since the epoch; ``uid``: who looks (default 0); ``denied``: paths that cannot be looked at
    - ``command``: tables with ``argv``, and ``status``, ``stdout``, ``stderr``, or ``hangs``. Of several with the same
      ``argv`` each call takes the next, and the last stays.
    - ``connect``: tables with ``to`` ("host:port") and ``answer`` (open, refused, timeout, unreachable)
    - ``device``: tables with ``path``, ``major`` and ``minor``: files that are device nodes there (of characters)
    - ``get``: tables with ``url``, and ``status``, ``text``, or ``reached`` where there was no answer
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise InvalidInput(f"no such directory: {root}", next_step="give the directory that holds etc, proc, var")
        self._root = root.resolve()
        record = self._root / RECORD
        self._recorded = record.exists()
        try:
            self._understand(tomllib.loads(record.read_text()) if self._recorded else {})
        except (OSError, ValueError, KeyError, TypeError) as error:
            problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise InvalidInput(f"{record}: {problem}", next_step="see docs/doctor.md for its keys") from None
        #: Every command that was run, in order.
        self.ran: list[tuple[str, ...]] = []

    def _understand(self, said: Mapping[str, Any]) -> None:
        self._now = float(said.get("now", self._root.stat().st_mtime))
        self._uid = int(said.get("uid", 0))
        self._denied = frozenset(said.get("denied", ()))
        self._outputs: dict[tuple[str, ...], list[Output]] = {}
        for command in said.get("command", ()):
            output = _output(command)
            self._outputs.setdefault(output.argv, []).append(output)
        self._ports = {port["to"]: Reached(port["answer"]) for port in said.get("connect", ())}
        self._devices = {node["path"]: (int(node["major"]), int(node["minor"])) for node in said.get("device", ())}
        self._pages = {page["url"]: page for page in said.get("get", ())}

    @property
    def uid(self) -> int:
        return self._uid

    def now(self) -> float:
        return self._now

    def read(self, path: str, *, tail: bool = False) -> str | None:
        place = self._place(path)
        if place is None or place.is_dir():
            return None
        content = place.read_bytes()
        return (content[-MAX_TEXT_BYTES:] if tail else content[:MAX_TEXT_BYTES]).decode(errors="replace")

    def list(self, path: str) -> Sequence[str]:
        place = self._place(path)
        return sorted(os.listdir(place)) if place is not None and place.is_dir() else ()

    def stat(self, path: str) -> FileStat | None:
        place = self._place(path)
        if place is None:
            return None
        about = as_file_stat(place.stat())
        if numbers := self._devices.get(f"/{place.relative_to(self._root)}"):
            mode = stat_module.S_IFCHR | stat_module.S_IMODE(about.mode)
            return replace(about, mode=mode, major=numbers[0], minor=numbers[1])
        return about

    def link(self, path: str) -> str | None:
        place = self._place(os.path.dirname(path))
        last = None if place is None else place / os.path.basename(path)
        return os.readlink(last) if last is not None and last.is_symlink() else None

    def which(self, program: str) -> str | None:
        if "/" in program:
            return program if self.stat(program) is not None else None
        for place in _PLACES_OF_PROGRAMS:
            if self.stat(f"{place}/{program}") is not None:
                return f"{place}/{program}"
        return f"/usr/bin/{program}" if any(argv[0] == program for argv in self._outputs) else None

    def run(self, *argv: str, timeout_s: float = COMMAND_TIMEOUT_S, tail: bool = False) -> Output:
        if not self._recorded:
            raise CannotSee(f"what {argv[0]} says: only files are looked at beneath another root")
        self.ran.append(argv)
        known = self._outputs.get(argv)
        if known is None:
            return Output(argv, 127, stderr=f"{argv[0]}: not found")
        return known.pop(0) if len(known) > 1 else known[0]

    def connect(self, host: str, port: int, *, timeout_s: float = CONNECT_TIMEOUT_S) -> Reached:
        if not self._recorded:
            raise CannotSee(f"{host}:{port}: only files are looked at beneath another root")
        return self._ports.get(f"{host}:{port}", Reached.REFUSED)

    def get(self, url: str, *, timeout_s: float = CONNECT_TIMEOUT_S) -> HttpAnswer:
        if not self._recorded:
            raise CannotSee(f"{url}: only files are looked at beneath another root")
        page = self._pages.get(url)
        if page is None:
            return HttpAnswer(Reached.REFUSED)
        return HttpAnswer(Reached(page.get("reached", "open")), int(page.get("status", 200)), page.get("text", ""))

    def _place(self, path: str, links: int = 0) -> Path | None:
        """Where ``path`` lies in the directory, links followed within it; None where there is nothing."""
        if path in self._denied:
            raise CannotSee(f"{path}: Permission denied (needs root)")
        if links > _MAX_LINKS:
            return None
        place = self._root
        parts = [part for part in path.split("/") if part not in ("", ".")]
        for number, part in enumerate(parts):
            if part == "..":
                place = place.parent if place != self._root else place
                continue
            place /= part
            if place.is_symlink():
                target = os.readlink(place)
                if not target.startswith("/"):
                    target = f"/{place.parent.relative_to(self._root)}/{target}"
                return self._place("/".join([target, *parts[number + 1 :]]), links + 1)
        return place if place.exists() else None


def _output(command: Mapping[str, Any]) -> Output:
    argv = command["argv"]
    if command.get("hangs", False):
        return Output(tuple(argv), 124, timed_out=True)
    return Output(tuple(argv), int(command.get("status", 0)), command.get("stdout", ""), command.get("stderr", ""))
