"""What the doctor tells of a node: which checks ran, what they could not see, and what they found.

Every text is there in English and Chinese: a report travels from the node to whoever shows it, who may not have the
check that made it.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How bad it is, in this order."""

    #: Worth knowing; nothing has to be done.
    INFO = "info"
    #: Works, and will not for ever.
    WARNING = "warning"
    #: Something does not work; jobs that do not need it are fine. One GPU's is taken out.
    ERROR = "error"
    #: Jobs on this node will fail: it is drained.
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info, 3 for critical."""
        return list(Severity).index(self)


class Risk(StrEnum):
    """What a step of a cure does to those who work on the node."""

    #: Nobody notices.
    SAFE = "safe"
    #: Something that others may use ends or restarts.
    DISRUPTIVE = "disruptive"
    #: Nothing changes before the node restarts.
    REBOOT = "reboot"


@dataclass(frozen=True, slots=True)
class Text:
    """One text in each language."""

    en: str
    zh: str

    def of(self, language: str) -> str:
        """In ``language`` ("en", "zh", "zh-CN"); English for any that is not there."""
        return self.zh if language.lower().startswith("zh") else self.en

    def unfilled(self) -> Text:
        """With ``<names>`` where values come."""
        return Text(self.en.replace("{", "<").replace("}", ">"), self.zh.replace("{", "<").replace("}", ">"))

    def filled(self, values: Mapping[str, object]) -> Text:
        """With ``{names}`` replaced by ``values``, each `Text` by its own language. Raises KeyError for one without."""
        en = {name: value.en if isinstance(value, Text) else value for name, value in values.items()}
        zh = {name: value.zh if isinstance(value, Text) else value for name, value in values.items()}
        return Text(self.en.format(**en), self.zh.format(**zh))


@dataclass(frozen=True, slots=True)
class Evidence:
    """The very line that shows it."""

    #: The file or the command it stands in.
    source: str
    text: str
    #: Number of the line in the file, from 1; None of what a command printed.
    line: int | None = None

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{place}: {self.text}"


@dataclass(frozen=True, slots=True)
class Process:
    """A process that a cure ends: only while the pid still has this command line."""

    pid: int
    #: As in ``/proc/PID/cmdline``, its arguments joined by spaces.
    command_line: str


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file that a cure writes, whole."""

    path: str
    content: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a cure: a command, a process to end, a file to write; with none of these, something to do by hand."""

    about: Text
    risk: Risk
    argv: tuple[str, ...] = ()
    ends: Process | None = None
    writes: FileContent | None = None
    #: What a command that failed may have printed, and the step is done all the same ("not mounted").
    done_if: tuple[str, ...] = ()

    @property
    def by_hand(self) -> bool:
        """Whether only a person can do it."""
        return not (self.argv or self.ends or self.writes)

    @property
    def command(self) -> str:
        """As one would type it; "" for what is done by hand."""
        if self.ends is not None:
            return f"kill {self.ends.pid}"
        if self.writes is not None:
            return f"printf %s {shlex.quote(self.writes.content)} > {shlex.quote(self.writes.path)}"
        return shlex.join(self.argv)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fault of one node, or of one GPU of it."""

    #: Stable: ``HRM-GPU-001``.
    code: str
    #: Name of the check that found it.
    check: str
    severity: Severity
    title: Text
    why: Text
    evidence: tuple[Evidence, ...] = ()
    #: In the order in which they are done; empty where nothing is known that helps.
    cure: tuple[Step, ...] = ()
    #: The device that has it (its UUID, or its index); None for the node as a whole.
    gpu: str | None = None

    @property
    def subject(self) -> tuple[str, str, str]:
        """What makes two findings of two rounds the same one."""
        return self.code, self.gpu or "", self.title.en


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRun:
    """That one check ran."""

    name: str
    time_s: float
    #: What it could not see, and why: a file that needs root, a command that did not answer.
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """What one round found on one node."""

    node: str
    checks_run: tuple[CheckRun, ...] = ()
    #: The worst first.
    findings: tuple[Finding, ...] = ()
    #: What nodes are compared by (``gpu.driver``: ``418.39``).
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def worst(self) -> Severity | None:
        """None where nothing was found."""
        return max((finding.severity for finding in self.findings), key=lambda severity: severity.rank, default=None)

    @property
    def healthy(self) -> bool:
        """Whether nothing above info was found."""
        return self.worst in (None, Severity.INFO)
