"""Machines made up for the doctor: files, commands and ports as they were recorded somewhere, in a directory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hrm.doctor.checks import Check
from hrm.doctor.expected import Expected
from hrm.doctor.recorded import RECORD, RecordedSystem
from hrm.doctor.runner import examine
from hrm.doctor.units import show_command
from hrm.model.findings import DoctorReport, Finding


class Machine:
    """Builds what `RecordedSystem` reads. Every method returns the machine itself."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._said: dict[str, Any] = {"now": 1_600_000_000.0, "uid": 0, "denied": []}
        self._tables: dict[str, list[dict[str, Any]]] = {"command": [], "connect": [], "device": [], "get": []}

    def file(self, path: str, content: str = "", *, mode: int = 0o644) -> Machine:
        """A file with its directories."""
        place = self._place(path)
        place.write_text(content)
        place.chmod(mode)
        return self

    def directory(self, path: str) -> Machine:
        """An empty directory."""
        (self._root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        return self

    def link(self, path: str, target: str) -> Machine:
        """A symbolic link, which may lead nowhere."""
        self._place(path).symlink_to(target)
        return self

    def device(self, path: str, major: int, minor: int) -> Machine:
        """A device node (of characters)."""
        self._tables["device"].append({"path": path, "major": major, "minor": minor})
        return self.file(path)

    def process(
        self,
        pid: int,
        command_line: str,
        *,
        holds: Sequence[str] = (),
        state: str = "S",
        parent: int = 1,
        began_s: float = 0.0,
    ) -> Machine:
        """A process, the files that it has open, and when it began (seconds after the machine)."""
        words = command_line.split()
        name = words[0].rpartition("/")[2][:15]
        self.file(f"/proc/{pid}/cmdline", "\0".join(words) + "\0")
        self.file(f"/proc/{pid}/comm", f"{name}\n")
        between = "0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0"
        self.file(f"/proc/{pid}/stat", f"{pid} ({name}) {state} {parent} {pid} {pid} {between} {began_s * 100:.0f}\n")
        self.file(f"/proc/{pid}/status", f"Name:\t{name}\nState:\t{state}\nPid:\t{pid}\nUid:\t0\t0\t0\t0\n")
        for number, path in enumerate(holds, 3):
            self.link(f"/proc/{pid}/fd/{number}", path)
        return self

    def command(self, *argv: str, stdout: str = "", stderr: str = "", status: int = 0, hangs: bool = False) -> Machine:
        """What a command says; said again for the same command, it is what it says the next time."""
        self._tables["command"].append(
            {"argv": list(argv), "stdout": stdout, "stderr": stderr, "status": status, "hangs": hangs}
        )
        return self

    def service(
        self, name: str, active: str = "active", *, sub: str = "", enabled: bool = True, **said: str
    ) -> Machine:
        """A service of systemd's: its file, the link by which it starts with the machine, and what systemd says of it.

        ``said``: more of its properties (``Result="exit-code"``, ``NeedDaemonReload="yes"``).
        """
        self.directory("/run/systemd/system").file(f"/lib/systemd/system/{name}.service", "[Service]\n")
        if enabled:
            wants = f"/etc/systemd/system/multi-user.target.wants/{name}.service"
            self.link(wants, f"/lib/systemd/system/{name}.service")
        usual = {"active": "running", "inactive": "dead"}.get(active, active)
        properties = {
            "LoadState": "loaded",
            "ActiveState": active,
            "SubState": sub or usual,
            "UnitFileState": "enabled" if enabled else "disabled",
            "Result": "success",
            "ExecMainStatus": "0",
            "NRestarts": "0",
            "NeedDaemonReload": "no",
            **said,
        }
        stdout = "".join(f"{key}={value}\n" for key, value in properties.items())
        return self.command(*show_command(name), stdout=stdout)

    def kernel_log(self, *lines: str) -> Machine:
        """What dmesg prints; without it there is no log of the kernel's."""
        return self.command("dmesg", stdout="".join(f"{line}\n" for line in lines))

    def port(self, to: str, answer: str = "open") -> Machine:
        """What connecting to ``host:port`` gives; all others refuse."""
        self._tables["connect"].append({"to": to, "answer": answer})
        return self

    def page(self, url: str, text: str = "", *, status: int = 200) -> Machine:
        """What a GET gives; all others refuse."""
        self._tables["get"].append({"url": url, "text": text, "status": status})
        return self

    def denied(self, path: str) -> Machine:
        """Nobody who looks may see this."""
        self._said["denied"].append(path)
        return self

    def seen_by(self, uid: int) -> Machine:
        """Who looks; without it root does."""
        self._said["uid"] = uid
        return self

    def at(self, now: float) -> Machine:
        """What its clock says."""
        self._said["now"] = now
        return self

    def system(self) -> RecordedSystem:
        """As checks see it."""
        lines = [f"{key} = {json.dumps(value)}" for key, value in self._said.items()]
        for name, tables in self._tables.items():
            for table in tables:
                lines.append(f"[[{name}]]")
                # What JSON writes of texts, numbers and lists TOML reads, but for surrogates, which no text here has.
                lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]
        self._root.mkdir(parents=True, exist_ok=True)
        (self._root / RECORD).write_text("\n".join(lines) + "\n")
        return RecordedSystem(self._root)

    def findings(self, check: Check, expected: Expected | None = None) -> list[Finding]:
        """What a check finds here. Fails where the check itself fails."""
        report = self.report([check], expected)
        broken = [what for run in report.checks_run for what in run.unseen if what.startswith("the check failed")]
        assert not broken, broken
        return list(report.findings)

    def report(self, checks: Sequence[Check], expected: Expected | None = None) -> DoctorReport:
        """What these checks tell."""
        return examine("made-up", self.system(), expected or Expected(), checks)

    def _place(self, path: str) -> Path:
        place = self._root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        return place
