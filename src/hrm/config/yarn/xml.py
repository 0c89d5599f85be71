"""XML files as elements that know their lines. Nothing is fetched and nothing expands: a file with a DTD is refused.

Made of expat itself, because the tree builders of the standard library (and defusedxml around them) lose the lines.
Without a DTD there are no entities of a file's own, so neither "billion laughs" nor external ones can be written; size,
depth and number of elements are limited besides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from hrm.config.documents import MAX_BYTES, MAX_DEPTH, BadDocument, Finding
from hrm.model.errors import InvalidInput

MAX_ELEMENTS = 50_000
_BLOCK = 1 << 16


@dataclass(slots=True)
class Element:
    """One element: its name, attributes, own text and children, and the line where it begins."""

    name: str
    line: int
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Element] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    @property
    def raw_text(self) -> str:
        """Text directly inside it, spaces and all."""
        return "".join(self.pieces)

    @property
    def text(self) -> str:
        """Text directly inside it, without the spaces around."""
        return self.raw_text.strip()


def load_xml(path: Path) -> Element:
    """The outermost element of a file.

    Raises InvalidInput where the file cannot be read, BadDocument with the line where it is no XML or has a DTD.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(raw) > MAX_BYTES:
        raise InvalidInput(f"{path}: larger than {MAX_BYTES >> 20} MiB", next_step="is it the right file?")
    return parse_xml(raw, str(path))


def parse_xml(raw: bytes, source: str) -> Element:
    """The outermost element of a text; ``source`` is the name that findings show. Raises BadDocument."""
    return _Builder(source).build(raw)


class _Builder:
    def __init__(self, source: str) -> None:
        self._source = source
        self._open: list[Element] = []
        self._root: Element | None = None
        self._elements = 0
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.EntityDeclHandler = self._doctype
        self._parser.ExternalEntityRefHandler = self._doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters

    def build(self, raw: bytes) -> Element:
        try:
            # Block by block: what is refused early is not read to its end.
            for at in range(0, len(raw), _BLOCK):
                self._parser.Parse(raw[at : at + _BLOCK], False)
            self._parser.Parse(b"", True)
        except expat.ExpatError as error:
            problem = expat.ErrorString(error.code) or "cannot be read"
            raise self._wrong(f"not well-formed XML: {problem}", line=error.lineno) from None
        except (LookupError, ValueError) as error:  # the encoding that it declares
            raise self._wrong(f"cannot be decoded: {error}") from None
        assert self._root is not None, "expat refuses a text without an element"
        return self._root

    def _wrong(self, problem: str, *, line: int | None = None, next_step: str = "") -> BadDocument:
        return BadDocument([Finding(self._source, line or self._parser.CurrentLineNumber, "", problem, next_step)])

    def _doctype(self, *_: object) -> int:
        raise self._wrong("has a DTD or entities of its own, which are not read", next_step="remove the <!DOCTYPE …>")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > MAX_ELEMENTS or len(self._open) >= MAX_DEPTH:
            raise self._wrong(f"more than {MAX_ELEMENTS} elements or {MAX_DEPTH} levels of them")
        element = Element(name, self._parser.CurrentLineNumber, attributes)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self._root = element
        self._open.append(element)

    def _end(self, _: str) -> None:
        self._open.pop()

    def _characters(self, text: str) -> None:
        self._open[-1].pieces.append(text)
