"""What ``nvidia-smi -q`` tells of each GPU. Words and order differ from version to version; the form does not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hrm.doctor.gpu.cards import Card, Cards, bus_address
from hrm.doctor.processes import processes
from hrm.doctor.system import CannotSee, Output, System
from hrm.model.findings import Evidence

QUERY = ("nvidia-smi", "-q")
#: Without persistence it starts each GPU first.
_TIMEOUT_S = 7.0
_GPU = re.compile(r"^GPU ([0-9A-Fa-f]{4,8}:[0-9A-Fa-f:.]+)\s*$")


@dataclass(frozen=True, slots=True)
class Line:
    """One line with a value."""

    #: The headings above it and its own name, joined by "/": ``Remapped Rows/Pending``.
    name: str
    value: str
    evidence: Evidence

    @property
    def count(self) -> int:
        """0 where it is no number (``N/A``)."""
        number = re.match(r"\d+", self.value)
        return int(number[0]) if number else 0


@dataclass(frozen=True, slots=True)
class Answer:
    """All that it tells of one GPU."""

    card: Card
    lines: tuple[Line, ...]

    def like(self, pattern: str) -> Iterator[Line]:
        """Lines whose name ``pattern`` matches as a whole."""
        return (line for line in self.lines if re.fullmatch(pattern, line.name))

    def first(self, pattern: str) -> Line | None:
        """The first of `like`."""
        return next(self.like(pattern), None)


def one_hangs(system: System) -> bool:
    """Whether an nvidia-smi waits in the kernel. One more would hang beside it, and nothing could end that either."""
    return any(one.hangs and one.name.startswith("nvidia-smi") for one in processes(system))


def run_smi(system: System, *argv: str) -> Output:
    """Run nvidia-smi. Raises CannotSee where it hangs, and where one hangs already: each more would, too."""
    if system.which(argv[0]) is None:
        return Output(argv, 127)
    if one_hangs(system):
        raise CannotSee(f"{' '.join(argv)}: not run, since another nvidia-smi hangs in the kernel")
    output = system.run(*argv, timeout_s=_TIMEOUT_S)
    if output.timed_out:
        raise CannotSee(f"{' '.join(argv)} did not answer in time")
    return output


def ask(system: System, known: Cards) -> list[Answer]:
    """What it tells of each GPU; nothing where it is not installed or lists none. Raises CannotSee where it hangs."""
    output = run_smi(system, *QUERY)
    answers: list[Answer] = []
    lines: list[Line] = []
    address = ""
    headings: list[tuple[int, str]] = []
    for text in [*output.stdout.splitlines(), "GPU 0000:00:00.0"]:
        if found := _GPU.match(text):
            if address:
                answers.append(_answer(known, address, lines, len(answers)))
            address, lines, headings = bus_address(found[1]), [], []
            continue
        if not address or not text.strip():
            continue
        depth = len(text) - len(text.lstrip())
        while headings and headings[-1][0] >= depth:
            headings.pop()
        name, colon, value = text.strip().partition(" : ")
        if not colon:
            headings.append((depth, name))
            continue
        full = "/".join([*(heading for _, heading in headings), name.strip()])
        shown = f"{full}: {value.strip()}"
        lines.append(Line(full, value.strip(), Evidence(f"nvidia-smi -q (GPU {address})", shown)))
    return answers


def _answer(known: Cards, address: str, lines: list[Line], index: int) -> Answer:
    uuid = next((line.value for line in lines if line.name == "GPU UUID" and line.value.startswith("GPU-")), "")
    card = known.at(address)
    return Answer(card if card and card.uuid else Card(address=address, index=index, uuid=uuid), tuple(lines))
