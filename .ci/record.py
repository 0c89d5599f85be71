"""Write what `.ci/run --real` found into docs/tested.md: one dated section, newest first, the last few kept."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

KEPT_SECTIONS = 5
#: Stages whose words are worth keeping only as their verdict.
SILENT = {"install", "lint", "format", "types", "arrows"}
MAX_LINES = 40
_PYTEST_VERDICT = re.compile(r"\d+ (passed|failed|errors?|skipped|deselected)\b.* in [\d.]+s")


def machine() -> dict[str, str]:
    """What the figures depend on."""
    cpu_info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", cpu_info, re.MULTILINE)
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "CPU": model.group(1).strip() if model else platform.processor() or platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory_bytes / 2**30:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }


def commit() -> str:
    """The commit that was tested, marked where files were changed since."""
    asked = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    found = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
    return found.stdout.strip() or "no checkout"


def results_of(log: Path) -> list[str]:
    """The lines of one stage that say what came out."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    verdicts = [line.strip(" =") for line in lines if _PYTEST_VERDICT.search(line)]
    return verdicts[-1:] if verdicts else [line.rstrip() for line in lines if line.strip()][-MAX_LINES:]


def section(logs: Path, now: datetime) -> str:
    """One run as Markdown."""
    summary = (logs / "summary.txt").read_text(encoding="utf-8").rstrip()
    lines = [f"## {now:%Y-%m-%d %H:%M} UTC", ""]
    lines += [f"- {name}: {value}" for name, value in {"commit": commit(), **machine()}.items()]
    lines += ["", "```text", summary, "```", ""]
    for log in sorted(logs.iterdir(), key=lambda path: path.stat().st_mtime):
        if log.name == "summary.txt" or log.name in SILENT:
            continue
        lines += [f"### {log.name}", "", "```text", *results_of(log), "```", ""]
    return "\n".join(lines)


def with_newest(page: str, newest: str) -> str:
    """The page with ``newest`` in front of the sections it has, the oldest dropped."""
    head, *sections = re.split(r"(?m)^(?=## \d{4}-\d{2}-\d{2} )", page)
    kept = [newest, *(old.rstrip() + "\n" for old in sections)][:KEPT_SECTIONS]
    return head.rstrip() + "\n\n" + "\n".join(kept)


def main() -> None:
    """``record.py PAGE LOGS``: LOGS holds one file per stage and ``summary.txt``."""
    page, logs = Path(sys.argv[1]), Path(sys.argv[2])
    page.write_text(with_newest(page.read_text(encoding="utf-8"), section(logs, datetime.now(UTC))), encoding="utf-8")


if __name__ == "__main__":
    main()
