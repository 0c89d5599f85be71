"""The table of all faults in ``docs/doctor.md``: ``python -m hrm.doctor.table docs/doctor.md`` writes it anew.

It stands between two marks; what is around them is written by hand.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hrm.doctor.compare import CHECK, ODD_ONE_OUT, TWICE
from hrm.doctor.registry import built_in_checks
from hrm.model.findings import Text

BEGIN = "<!-- faults: begin -->"
END = "<!-- faults: end -->"
_HEADS = {
    "en": ("In English", "Code", "Severity", "Found by", "Fault", "Why it matters", "Cure"),
    "zh": ("中文", "代码", "级别", "检查", "故障", "影响", "处理"),
}


def table() -> str:
    """All faults by code, once in each language, as Markdown."""
    return "\n\n".join(_table(language) for language in _HEADS)


def with_table(document: str) -> str:
    """``document`` with what stands between the marks made anew. Raises ValueError where they are missing."""
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{BEGIN} or {END} is missing")
    return f"{head}{BEGIN}\n\n{table()}\n\n{END}{tail}"


def _table(language: str) -> str:
    title, *columns = _HEADS[language]
    found = {
        fault.code: (fault, f"`{check.name}`{' *' if check.quick else ''}")
        for check in built_in_checks()
        for fault in check.faults
    }
    found |= {fault.code: (fault, f"`{CHECK}`") for fault in (ODD_ONE_OUT, TWICE)}
    rows = [columns, ["---"] * len(columns)]
    for code in sorted(found):
        fault, check = found[code]
        texts = [_cell(text, language) for text in (fault.title, fault.why, fault.cure)]
        rows.append([f"`{code}`", str(fault.severity), check, *texts])
    return f"### {title}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(text: Text, language: str) -> str:
    # Within code: a page would take <name> for a tag.
    return text.of(language).replace("{", "`").replace("}", "`").replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")
