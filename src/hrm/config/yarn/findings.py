"""What a translation collects on its way: findings, and what became of each property."""

from __future__ import annotations

from hrm.config.documents import Finding
from hrm.config.keys import KeyPath, show_path
from hrm.config.yarn.properties import Property
from hrm.config.yarn.report import Honoured, ImportReport, NotApplicable, Warned
from hrm.config.yarn.yaml_text import Block, Origin
from hrm.model.errors import InvalidInput

YARNS_DEFAULT = "YARN's default"


class Notes:
    """Findings and report of one file."""

    def __init__(self, source: str, report: ImportReport, findings: list[Finding]) -> None:
        self.source = source
        self.report = report
        self.findings = findings

    def origin(self, line: int, name: str, of: str = "") -> Origin:
        return Origin(self.source, line, f"{of}: {name}" if of else name)

    def wrong(self, line: int, name: str, problem: str, *, of: str = "", next_step: str = "") -> None:
        """Note something that keeps the file from being imported."""
        self.findings.append(Finding(self.source, line, self.origin(line, name, of).name, problem, next_step))

    def error(self, line: int, name: str, error: InvalidInput, *, of: str = "") -> None:
        """The same, of an error that a parser raised."""
        self.wrong(line, name, error.problem, of=of, next_step=error.next_step)

    def warn(self, line: int, name: str, text: str, *, of: str = "") -> None:
        self.report.warnings.append(Warned(self.source, line, name, of, text))

    def not_applicable(self, line: int, name: str, why: str, *, of: str = "") -> None:
        self.report.not_applicable.append(NotApplicable(self.source, line, name, of, why))

    def honoured(self, line: int, name: str, key: str, value: str, *, of: str = "") -> None:
        """Report a property whose key is written elsewhere."""
        self.report.honoured.append(Honoured(self.source, line, name, of, key, value))

    def honour(
        self, block: Block, path: KeyPath, found: Property, value: str, line: int, *, of: str = "", name: str = ""
    ) -> None:
        """Write ``value`` at ``path``, whose last part is a key of ``block``, and report it."""
        name = name or found.name
        self.honoured(line, name, show_path(path), value, of=of)
        block.put(str(path[-1]), value, comment=f"{name}, line {line}", origin=self.origin(line, name, of))

    def default(self, block: Block, path: KeyPath, value: str) -> None:
        """Write what YARN does where nothing is said."""
        block.put(str(path[-1]), value, comment=YARNS_DEFAULT)
