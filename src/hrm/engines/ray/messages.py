"""What the server and an agent say to each other.

The first words (`Greeting`, `Welcome`) are mappings of plain values, so that they are understood whatever versions
meet. After them both sides run the same version, and speak in the values of `hrm.model`.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

#: Of the talk between server and agent.
PROTOCOL = 1
#: Ray hands a larger argument over by its object store, which is slower.
_PACK_ABOVE_BYTES = 8 << 10


class Verdict(StrEnum):
    """What an agent makes of a call."""

    DONE = "done"
    STALE = "stale"  #: of a session that another has taken the place of
    LAPSED = "lapsed"  #: sent so long ago that the server has given the node up meanwhile


@dataclass(frozen=True, slots=True)
class Report:
    """Something that happened on the node: the name of a method of the listener, and its arguments."""

    number: int
    what: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Parcel:
    """What an agent has to tell; told again until the server says that it has heard of it."""

    verdict: Verdict
    #: The node's monotonic clock when this was sent: what the server answers with it cannot be older.
    stamp: float = 0.0
    reports: bytes = b""


def pack(value: Any) -> bytes:
    """Small: a thousand launches of one job are nearly the same, thousand times."""
    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    return b"z" + zlib.compress(data, 1) if len(data) > _PACK_ABOVE_BYTES else b"p" + data


def unpack(data: bytes) -> Any:
    """Only for what the other side of a link packed: it can make this side do anything, and may."""
    return pickle.loads(zlib.decompress(data[1:]) if data[:1] == b"z" else data[1:])


def unpack_reports(parcel: Parcel) -> Sequence[Report]:
    reports: Sequence[Report] = unpack(parcel.reports) if parcel.reports else ()
    return reports
