"""Hadoop's configuration files (``yarn-site.xml``): properties with name, value and line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hrm.config.documents import Finding
from hrm.config.yarn.xml import Element, load_xml

_VARIABLE = re.compile(r"\$\{([^{}$\s]+)\}")
#: As Hadoop's Configuration; and no value of use is longer.
_MAX_SUBSTITUTIONS = 20
_MAX_CHARS = 1 << 16


@dataclass(frozen=True, slots=True)
class SiteProperty:
    """One property as it counts in the end."""

    name: str
    value: str
    line: int


class Site:
    """All properties of one file. Of several with one name the last counts, unless an earlier one is final."""

    def __init__(self, root: Element | None, source: str) -> None:
        """``root`` is None where there is no such file."""
        self.source = source
        self.findings: list[Finding] = []
        #: Elements that are not read: (line, what).
        self.unread: list[tuple[int, str]] = []
        self._properties: dict[str, SiteProperty] = {}
        self._final: set[str] = set()
        if root is not None:
            self._read(root)

    @classmethod
    def load(cls, path: Path | None) -> Site:
        """Read a file, or none. Raises InvalidInput where it cannot be read, BadDocument where it is no XML."""
        return cls(None, "") if path is None else cls(load_xml(path), str(path))

    @property
    def given(self) -> bool:
        """True iff there is a file."""
        return bool(self.source)

    def get(self, name: str) -> SiteProperty | None:
        return self._properties.get(name)

    def __iter__(self) -> Iterator[SiteProperty]:
        return iter(sorted(self._properties.values(), key=lambda found: found.line))

    def add(self, line: int, name: str, problem: str, *, next_step: str = "") -> None:
        """Note something wrong about a property."""
        self.findings.append(Finding(self.source, line, name, problem, next_step))

    def _read(self, root: Element) -> None:
        if root.name != "configuration":
            problem = f"is no file of Hadoop's properties: it begins with <{root.name}>, not <configuration>"
            self.add(root.line, "", problem, next_step="give fair-scheduler.xml first, then yarn-site.xml")
            return
        raw: dict[str, SiteProperty] = {}
        for element in root.children:
            if element.name == "property":
                self._read_property(element, raw)
            else:
                self.unread.append((element.line, element.name))
        values = {found.name: found.value for found in raw.values()}
        for found in raw.values():
            self._properties[found.name] = SiteProperty(found.name, self._substituted(found, values), found.line)

    def _read_property(self, element: Element, raw: dict[str, SiteProperty]) -> None:
        # Hadoop takes name and value also from attributes.
        parts = {name: text for name, text in element.attributes.items() if name in ("name", "value")}
        parts |= {child.name: child.raw_text for child in element.children}
        name = parts.get("name", "").strip()
        if not name:
            self.add(element.line, "", "a property without a name", next_step="give it a <name>")
            return
        if "value" not in parts or name in self._final:
            return
        raw[name] = SiteProperty(name, parts["value"].strip(), element.line)
        if parts.get("final", "").strip().lower() == "true":
            self._final.add(name)

    def _substituted(self, found: SiteProperty, values: Mapping[str, str]) -> str:
        """With ``${name}`` replaced where this file has such a property; the rest is left as Hadoop would."""
        text = found.value
        for _ in range(_MAX_SUBSTITUTIONS):
            known = next((match for match in _VARIABLE.finditer(text) if match.group(1) in values), None)
            if known is None or len(text) > _MAX_CHARS:
                break
            text = text[: known.start()] + values[known.group(1)] + text[known.end() :]
        return text[:_MAX_CHARS]
