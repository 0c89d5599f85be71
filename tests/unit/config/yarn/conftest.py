"""Files of YARN's, written for one test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hrm.config.documents import BadDocument
from hrm.config.yarn.importer import Imported, import_fair_scheduler

Translate = Callable[..., Imported]
Findings = Callable[..., list[str]]


@pytest.fixture
def translate(tmp_path: Path) -> Translate:
    """``translate("<queue …/>", {"yarn.acl.enable": "true"})``: what stands in ``<allocations>``, and the site."""

    def run(inside: str, site: dict[str, str] | str | None = None) -> Imported:
        allocations = tmp_path / "fair-scheduler.xml"
        allocations.write_text(f"<allocations>{inside}</allocations>")
        if site is None:
            return import_fair_scheduler(allocations)
        if isinstance(site, dict):
            site = "\n".join(
                f"<property><name>{name}</name><value>{value}</value></property>" for name, value in site.items()
            )
        path = tmp_path / "yarn-site.xml"
        path.write_text(f"<configuration>{site}</configuration>")
        return import_fair_scheduler(allocations, path)

    return run


@pytest.fixture
def findings(translate: Translate, tmp_path: Path) -> Findings:
    """The same where it is refused: the findings, by line, without the folder."""

    def run(inside: str, site: dict[str, str] | str | None = None) -> list[str]:
        with pytest.raises(BadDocument) as refused:
            translate(inside, site)
        return [str(finding).replace(f"{tmp_path}/", "") for finding in refused.value.findings]

    return run
