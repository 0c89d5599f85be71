"""YAML files that people write, checked as a whole: every finding at once, each with file, line and key.

A `Document` holds the plain data and remembers where each key and value stands. `Document.fit` lays a pydantic model
over the data (pydantic is the validation library of this layer; it is imported only when a file is checked, because
it costs 0.2 s). Rules that concern several keys add their own findings with `Document.add`.

Scalars follow YAML 1.2's core schema: ``no`` and ``10:30`` are text, not False and 630. Files are data from people
and may be hostile: only plain mappings, lists and scalars are read, and size, depth and alias expansion are limited.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hrm.config.keys import KeyPath, read_path, show_path
from hrm.model.errors import InvalidInput

if TYPE_CHECKING:
    import yaml
    from pydantic import BaseModel

    Shape = TypeVar("Shape", bound=BaseModel)

MAX_BYTES = 1 << 20
MAX_NODES = 200_000
MAX_DEPTH = 64
MAX_FINDINGS = 100

_CORE_SCHEMA = (
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("tag:yaml.org,2002:int", r"^[-+]?[0-9]+$", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+.0123456789",
    ),
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
)


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong in a file."""

    source: str
    #: Counted from 1; 0 iff it concerns the file as a whole.
    line: int
    #: Path of the key (``queues.research.weight``), "" for the whole.
    key: str
    problem: str
    next_step: str = ""

    def __str__(self) -> str:
        where = f"{self.source}:{self.line}" if self.line else self.source
        what = f"{where}: {self.key}: {self.problem}" if self.key else f"{where}: {self.problem}"
        return f"{what} ({self.next_step})" if self.next_step else what


class BadDocument(InvalidInput):
    """A file with findings; the message lists all of them."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(sorted(findings))
        shown = [str(finding) for finding in self.findings[:MAX_FINDINGS]]
        if more := len(self.findings) - len(shown):
            shown.append(f"… and {more} more")
        super().__init__("\n".join(shown))


class Document:
    """One YAML file as plain data, and where each part of it stands."""

    def __init__(self, text: str, source: str) -> None:
        """Parse ``text``; ``source`` is the name that findings show. Raises BadDocument where it is no YAML at all."""
        self.source = source
        self.findings: list[Finding] = []
        self._key_lines: dict[KeyPath, int] = {(): 1}
        self._texts: dict[KeyPath, str] = {}
        self._nodes_read = 0
        #: Identities of the nodes that are being read, from the whole to the part.
        self._within: set[int] = set()
        root = self._compose(text)
        #: None for an empty file.
        self.data: Any = None if root is None else self._read(root, ())

    @classmethod
    def load(cls, path: Path) -> Document:
        """Read a file. Raises InvalidInput where it cannot be read, BadDocument where it is no YAML."""
        try:
            with path.open("rb") as stream:
                raw = stream.read(MAX_BYTES + 1)
        except OSError as error:
            raise InvalidInput(f"{path}: cannot be read: {error.strerror or error}") from error
        if len(raw) > MAX_BYTES:
            raise InvalidInput(f"{path}: larger than {MAX_BYTES >> 20} MiB", next_step="is it the right file?")
        try:
            return cls(raw.decode("utf-8-sig"), str(path))
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise BadDocument([Finding(str(path), line, "", "is not UTF-8 text")]) from error

    def line_of(self, path: KeyPath) -> int:
        """Line of the key, or of the nearest one above it that the file has."""
        while path not in self._key_lines:
            path = path[:-1]
        return self._key_lines[path]

    def text(self, path: KeyPath) -> str:
        """A scalar as it was written: ``1.50`` and ``true`` where the data holds 1.5 and True."""
        return self._texts[path]

    def add(self, path: KeyPath, problem: str, *, next_step: str = "") -> None:
        """Note something wrong at ``path``."""
        self.findings.append(Finding(self.source, self.line_of(path), show_path(path), problem, next_step))

    def add_error(self, path: KeyPath, error: InvalidInput) -> None:
        """Note an error that a value of the model raised about what stands at ``path``."""
        self.add(path + read_path(error.field), error.problem, next_step=error.next_step)

    def raise_findings(self) -> None:
        """Raises BadDocument iff there is any finding."""
        if self.findings:
            raise BadDocument(self.findings)

    def fit(self, shape: type[Shape]) -> Shape | None:
        """The data as ``shape``, without what does not fit, for which findings are added.

        So rules can still look at the rest. None iff nothing fits.
        """
        from pydantic import ValidationError

        from hrm.config.wording import word_findings

        data = {} if self.data is None else copy.deepcopy(self.data)
        try:
            return shape.model_validate(data)
        except ValidationError as errors:
            for path, problem, next_step in word_findings(errors, shape):
                self.add(path, problem, next_step=next_step)
                _remove(data, path)
        try:
            return shape.model_validate(data)
        except ValidationError:
            return None

    def _compose(self, text: str) -> yaml.Node | None:
        import yaml

        try:
            loader = _core_loader()(text)
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            problem = f"has the control character U+{error.character:04X}, which YAML does not allow"
            raise BadDocument([Finding(self.source, line, "", problem)]) from None
        try:
            return loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 0
            raise BadDocument([Finding(self.source, line, "", f"not YAML: {error.problem or error.context}")]) from None
        except RecursionError:
            raise BadDocument([Finding(self.source, 0, "", "nested too deeply")]) from None
        finally:
            loader.dispose()

    def _read(self, node: yaml.Node, path: KeyPath) -> Any:
        import yaml

        self._nodes_read += 1
        # An alias stands for the whole it names, so a few lines can mean billions of values.
        if self._nodes_read > MAX_NODES or len(path) > MAX_DEPTH:
            problem = f"more than {MAX_NODES} values or {MAX_DEPTH} levels, aliases followed"
            raise BadDocument([Finding(self.source, node.start_mark.line + 1, show_path(path[:8]), problem)])
        if isinstance(node, yaml.ScalarNode):
            self._texts[path] = node.value
            return self._scalar(node, path)
        if id(node) in self._within:
            problem, step = "an alias of what it stands in, which would never end", "write out what is meant"
            raise BadDocument([Finding(self.source, self.line_of(path), show_path(path), problem, step)])
        self._within.add(id(node))
        read = self._read_mapping(node, path) if isinstance(node, yaml.MappingNode) else self._read_list(node, path)
        self._within.remove(id(node))
        return read

    def _read_list(self, node: yaml.Node, path: KeyPath) -> list[Any]:
        items = []
        for index, item in enumerate(node.value):
            self._key_lines[(*path, index)] = item.start_mark.line + 1
            items.append(self._read(item, (*path, index)))
        return items

    def _read_mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        import yaml

        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.findings.append(Finding(self.source, line, show_path(path), "a key must be plain text"))
                continue
            key = str(key_node.value)
            here = (*path, key)
            if key in mapping:
                first = self._key_lines[here]
                self.findings.append(
                    Finding(self.source, line, show_path(here), f"given twice, first on line {first}", "keep one")
                )
                continue
            self._key_lines[here] = line
            mapping[key] = self._read(value_node, here)
        return mapping

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        kind, text = node.tag.rpartition(":")[2], node.value
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return text.lower() == "true"
            if kind == "int":
                return int(text)
            if kind == "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            self.add(path, f"not a number: {text[:40]!r}")
            return None
        if kind != "str":
            self.add(path, f"has the tag {node.tag!r}, which is not read here", next_step="write plain values")
        return text


def _remove(data: Any, path: KeyPath) -> None:
    for part in path[:-1]:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(data, dict) and path:
        data.pop(path[-1], None)


def walk_keys(shape: type[BaseModel], path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Every key that ``shape`` knows, with its description; below a mapping of names the name is ``*``."""
    from hrm.config.wording import inner_shape

    for name, field in shape.model_fields.items():
        here = (*path, name)
        yield here, field.description or ""
        inner, wild = inner_shape(field.annotation)
        if inner is not None and inner is not shape:
            yield from walk_keys(inner, (*here, *wild))


_loader_class: type[yaml.SafeLoader] | None = None


def _core_loader() -> type[yaml.SafeLoader]:
    global _loader_class
    if _loader_class is None:
        import yaml

        class CoreLoader(yaml.SafeLoader):
            """Resolves scalars by YAML 1.2's core schema; `Document` reads its nodes itself."""

            yaml_implicit_resolvers: dict[str, list[Any]] = {}

        for tag, pattern, first in _CORE_SCHEMA:
            CoreLoader.add_implicit_resolver(tag, re.compile(pattern), list(first))
        _loader_class = CoreLoader
    return _loader_class
