"""Kinds of faults: each with its stable code, and what is said of it in both languages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hrm.model.findings import Evidence, Finding, Severity, Step, Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of fault.

    Texts may name values (``{loaded}``) that `found` gives. A code is never given to another fault, also when this one
    is no longer looked for: scripts and people know it.
    """

    #: ``HRM-AREA-NNN``.
    code: str
    severity: Severity
    title: Text
    #: Why it matters: what fails, or will.
    why: Text
    #: What cures it, in words, for the documentation; the exact commands depend on the machine.
    cure: Text

    def found(
        self,
        *,
        evidence: Sequence[Evidence] = (),
        cure: Sequence[Step] = (),
        gpu: str | None = None,
        severity: Severity | None = None,
        **values: object,
    ) -> Finding:
        """This fault on this machine; ``severity`` where it is not the usual one. The runner adds the check."""
        return Finding(
            code=self.code,
            check="",
            severity=severity or self.severity,
            title=self.title.filled(values),
            why=self.why.filled(values),
            evidence=tuple(evidence),
            cure=tuple(cure),
            gpu=gpu,
        )
