"""A network as darknet's ``.cfg`` describes it.

The file is a list of sections (``[convolutional]``) of ``key=value`` lines; ``[net]`` comes first, every other section
is one layer that reads the layer before it unless it says otherwise. Keys and defaults are those of darknet's
``parser.c``. What would change the result and is not understood here is refused, never skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hrm.model.errors import InvalidInput

MAX_CFG_BYTES = 1 << 20
MAX_LAYERS = 1000
MAX_SIDE_PIXELS = 4096
MAX_CHANNELS = 65_536
#: Keys that only training reads.
_TRAINING_KEYS = frozenset({"jitter", "ignore_thresh", "truth_thresh", "random", "max", "stopbackward", "dontload"})
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Shape:
    """What a layer hands on."""

    channels: int
    height: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolutional:
    """A convolution with its bias or batch norm, and its activation."""

    inputs: Shape
    output: Shape
    size: int
    stride: int
    #: On each side.
    padding: int
    groups: int
    batch_normalize: bool
    #: "leaky" (slope 0.1) or "linear".
    activation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool:
    """The largest value of each window."""

    output: Shape
    size: int
    stride: int
    #: Of both sides together; the odd one lies at the end, so that size 2 with stride 1 keeps the shape.
    padding: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The outputs of ``sources`` one after the other along the channels."""

    output: Shape
    sources: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsample:
    """Each value repeated ``stride`` times along both sides."""

    output: Shape
    stride: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """The layer before, plus the output of ``source``."""

    output: Shape
    source: int
    activation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Yolo:
    """One head: for each cell of its grid and each anchor, x, y, width, height, objectness and a score per class."""

    output: Shape
    #: (width, height) in pixels of the network's input, one per box of a cell.
    anchors: tuple[tuple[float, float], ...]
    classes: int


Layer = Convolutional | MaxPool | Route | Upsample | Shortcut | Yolo


@dataclass(frozen=True, slots=True)
class Network:
    """All layers in order, as the file lists them."""

    #: Of the picture that it reads.
    inputs: Shape
    layers: tuple[Layer, ...]

    @property
    def heads(self) -> tuple[Yolo, ...]:
        return tuple(layer for layer in self.layers if isinstance(layer, Yolo))


def read_network(path: Path) -> Network:
    """Read a ``.cfg``. Raises InvalidInput naming file, line and key of what is wrong."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CFG_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}", field=str(path)) from error
    if len(data) > MAX_CFG_BYTES:
        raise InvalidInput(f"larger than {MAX_CFG_BYTES} bytes: not a network", field=str(path))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput("not a text file", field=str(path), next_step="give darknet's .cfg file") from error
    return parse_network(text, source=str(path))


def parse_network(text: str, *, source: str) -> Network:
    """As `read_network`, from the text itself; ``source`` names it in errors."""
    sections = _sections(text, source)
    if not sections or sections[0].kind not in ("net", "network"):
        line = sections[0].line if sections else 1
        raise InvalidInput("the first section must be [net]", field=f"{source}:{line}")
    net = sections[0]
    inputs = Shape(
        net.integer("channels", 3, at_least=1, at_most=4),
        net.integer("height", at_least=8, at_most=MAX_SIDE_PIXELS),
        net.integer("width", at_least=8, at_most=MAX_SIDE_PIXELS),
    )
    layers: list[Layer] = []
    for section in sections[1:]:
        layers.append(_layer(section, inputs, layers))
        section.refuse_unread()
    network = Network(inputs, tuple(layers))
    if not network.heads:
        raise InvalidInput("has no [yolo] section: this network finds no boxes", field=source)
    return network


class _Section:
    """One section; hands its values out by key and remembers which were asked for."""

    def __init__(self, kind: str, line: int, source: str) -> None:
        self.kind = kind
        self.line = line
        self.source = source
        self.values: dict[str, tuple[str, int]] = {}
        self._unread: set[str] = set()

    def add(self, key: str, value: str, line: int) -> None:
        if key in self.values:
            raise self.error(f"{key} is given twice", line)
        self.values[key] = (value, line)
        self._unread.add(key)

    def error(self, problem: str, line: int | None = None) -> InvalidInput:
        return InvalidInput(f"[{self.kind}] {problem}", field=f"{self.source}:{line or self.line}")

    def text(self, key: str, default: str) -> str:
        self._unread.discard(key)
        return self.values.get(key, (default, 0))[0]

    def integer(self, key: str, default: int | None = None, *, at_least: int, at_most: int = 1 << 20) -> int:
        return self._list(key, int, None if default is None else (default,), 1, at_least, at_most)[0]

    def integers(self, key: str, default: tuple[int, ...] | None = None, *, at_least: int) -> tuple[int, ...]:
        return self._list(key, int, default, None, at_least, 1 << 20)

    def numbers(self, key: str) -> tuple[float, ...]:
        return self._list(key, float, None, None, 0.0, float(1 << 20))

    def flag(self, key: str) -> bool:
        return self.integer(key, 0, at_least=0, at_most=1) == 1

    def _list(
        self,
        key: str,
        kind: Callable[[str], _T],
        default: tuple[_T, ...] | None,
        count: int | None,
        at_least: float,
        at_most: float,
    ) -> tuple[_T, ...]:
        if key not in self.values:
            if default is None:
                raise self.error(f"has no {key}")
            return default
        self._unread.discard(key)
        text, line = self.values[key]
        try:
            parsed = tuple(kind(part) for part in text.rstrip(",").split(","))
        except ValueError:
            raise self.error(f"{key}={text}: not {'a number' if count == 1 else 'numbers'}", line) from None
        if count not in (None, len(parsed)):
            raise self.error(f"{key}={text}: must be one number", line)
        if not all(at_least <= value <= at_most for value in parsed):  # type: ignore[operator]
            raise self.error(f"{key}={text}: must be from {at_least} to {at_most}", line)
        return parsed

    def refuse_unread(self) -> None:
        for key in sorted(self._unread - _TRAINING_KEYS):
            raise self.error(f"{key} is not understood, and could change the result", self.values[key][1])


def _sections(text: str, source: str) -> list[_Section]:
    sections: list[_Section] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        # As darknet's strip(): blanks count nowhere.
        line = "".join(raw.split())
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            if line[-1] != "]":
                raise InvalidInput(f"not a section: {line[:80]!r}", field=f"{source}:{number}")
            sections.append(_Section(line[1:-1], number, source))
            if len(sections) > MAX_LAYERS + 1:
                raise InvalidInput(f"more than {MAX_LAYERS} layers", field=f"{source}:{number}")
            continue
        key, equals, value = line.partition("=")
        if not equals or not key:
            raise InvalidInput(f"not key=value: {line[:80]!r}", field=f"{source}:{number}")
        if not sections:
            raise InvalidInput("a value stands before the first section", field=f"{source}:{number}")
        sections[-1].add(key, value, number)
    return sections


def _layer(section: _Section, inputs: Shape, layers: list[Layer]) -> Layer:
    before = layers[-1].output if layers else inputs
    match section.kind:
        case "convolutional" | "conv":
            return _convolutional(section, before)
        case "maxpool" | "max":
            size = section.integer("size", section.integer("stride", 1, at_least=1), at_least=1, at_most=64)
            stride = section.integer("stride", 1, at_least=1, at_most=64)
            padding = section.integer("padding", size - 1, at_least=0, at_most=2 * (size - 1))
            height, width = (_steps(section, side + padding, size, stride) for side in (before.height, before.width))
            return MaxPool(output=Shape(before.channels, height, width), size=size, stride=stride, padding=padding)
        case "route":
            given = section.integers("layers", at_least=-MAX_LAYERS)
            sources = tuple(_index(section, "layers", each, layers) for each in given)
            shapes = [layers[source].output for source in sources]
            if len({(shape.height, shape.width) for shape in shapes}) != 1:
                raise section.error(f"joins layers of different sizes: {_sizes(shapes)}")
            channels = sum(shape.channels for shape in shapes)
            return Route(output=Shape(channels, shapes[0].height, shapes[0].width), sources=sources)
        case "upsample":
            stride = section.integer("stride", 2, at_least=1, at_most=64)
            if section.text("scale", "1") not in ("1", "1.", "1.0"):
                raise section.error("a scale other than 1 is not understood")
            output = Shape(before.channels, before.height * stride, before.width * stride)
            return Upsample(output=output, stride=stride)
        case "shortcut":
            source = _index(section, "from", section.integer("from", at_least=-MAX_LAYERS), layers)
            if layers[source].output != before:
                raise section.error(f"adds layers of different sizes: {_sizes([before, layers[source].output])}")
            return Shortcut(output=before, source=source, activation=_activation(section, "linear"))
        case "yolo":
            return _yolo(section, before)
    raise section.error("layers of this kind are not understood")


def _convolutional(section: _Section, before: Shape) -> Convolutional:
    filters = section.integer("filters", 1, at_least=1, at_most=MAX_CHANNELS)
    size = section.integer("size", 1, at_least=1, at_most=64)
    stride = section.integer("stride", 1, at_least=1, at_most=64)
    padding = section.integer("padding", 0, at_least=0, at_most=64)
    if section.flag("pad"):
        padding = size // 2
    groups = section.integer("groups", 1, at_least=1, at_most=MAX_CHANNELS)
    if before.channels % groups or filters % groups:
        raise section.error(f"{before.channels} channels into {filters} filters cannot be split into {groups} groups")
    height, width = (_steps(section, side + 2 * padding, size, stride) for side in (before.height, before.width))
    return Convolutional(
        inputs=before,
        output=Shape(filters, height, width),
        size=size,
        stride=stride,
        padding=padding,
        groups=groups,
        batch_normalize=section.flag("batch_normalize"),
        activation=_activation(section, "logistic"),
    )


def _yolo(section: _Section, before: Shape) -> Yolo:
    classes = section.integer("classes", 20, at_least=1, at_most=MAX_CHANNELS)
    numbers = section.numbers("anchors")
    total = section.integer("num", 1, at_least=1, at_most=1000)
    if len(numbers) != 2 * total:
        raise section.error(f"num={total} needs {2 * total} anchors, not {len(numbers)}")
    mask = section.integers("mask", tuple(range(total)), at_least=0)
    if any(chosen >= total for chosen in mask):
        raise section.error(f"mask names anchors that are not there: {mask} of {total}")
    needed = len(mask) * (5 + classes)
    if before.channels != needed:
        raise section.error(
            f"reads {before.channels} channels, but {len(mask)} anchors of {classes} classes need {needed}"
        )
    anchors = tuple((numbers[2 * chosen], numbers[2 * chosen + 1]) for chosen in mask)
    return Yolo(output=before, anchors=anchors, classes=classes)


def _activation(section: _Section, default: str) -> str:
    name = section.text("activation", default)
    if name not in ("leaky", "linear"):
        raise section.error(f"activation={name} is not understood (leaky and linear are)")
    return name


def _index(section: _Section, key: str, given: int, layers: list[Layer]) -> int:
    """A layer's number: below zero counts back from this one."""
    index = len(layers) + given if given < 0 else given
    if not 0 <= index < len(layers):
        raise section.error(f"{key}={given}: no such layer before this one, which is number {len(layers)}")
    return index


def _steps(section: _Section, side: int, size: int, stride: int) -> int:
    if side < size:
        raise section.error(f"size={size} is larger than what it reads ({side} pixels)")
    return (side - size) // stride + 1


def _sizes(shapes: list[Shape]) -> str:
    return ", ".join(f"{shape.channels}×{shape.height}×{shape.width}" for shape in shapes)
