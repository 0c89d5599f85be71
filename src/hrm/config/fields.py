"""Types of single values in files: amounts, durations and shares in human forms, read by the model's own parsers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainValidator
from pydantic_core import PydanticCustomError

from hrm.config.shares import GivenShare, parse_amounts, parse_limit, parse_share
from hrm.model.access import EVERYBODY, AccessList
from hrm.model.errors import InvalidInput
from hrm.model.inventory import EVERY_LABEL, check_label
from hrm.model.resources import Resources
from hrm.model.units import parse_age_s, parse_duration_s, parse_memory_mib, parse_milli

NEVER = "never"
_ACCESS_EXAMPLE = "write {users: [ada], groups: [staff]}, {} for nobody or '*' for everybody"
#: As which ``none`` is read for a share of masters (YARN's -1).
NO_LIMIT = -1.0


class Strict(BaseModel):
    """Base of every mapping in a file: no unknown keys, no silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def reader(parse: Callable[[Any], Any]) -> PlainValidator:
    """Let ``parse`` read a value; the InvalidInput it raises becomes a finding."""

    def read(value: Any) -> Any:
        try:
            return parse(value)
        except InvalidInput as error:
            problem = f"{error.field}: {error.problem}" if error.field else error.problem
            raise PydanticCustomError("hrm", "{problem}", {"problem": problem, "next_step": error.next_step}) from None

    return PlainValidator(read)


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, (dict, list)):
        raise InvalidInput("must be a single value", next_step="quote it if it is text")
    return value


def _gpus(value: Any) -> int:
    return Resources.parse(gpus=value).gpus_milli


def _umask(value: Any) -> int:
    """Octal digits, which YAML takes for a decimal number."""
    text = str(value)
    if isinstance(value, bool) or not 1 <= len(text) <= 4 or not set(text) <= set("01234567") or int(text, 8) > 0o777:
        raise InvalidInput(f"not a umask: {value!r:.40}", next_step="write octal digits, for example 022 or 077")
    return int(text, 8)


def _waiting(value: Any) -> float:
    """Seconds, or infinity for ``never``."""
    return math.inf if value == NEVER else parse_age_s(value, field="")


def _am_share(value: Any) -> float:
    """0 to 1, or NO_LIMIT."""
    if value == "none":
        return NO_LIMIT
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise InvalidInput(f"neither from 0 to 1 nor 'none': {value!r:.40}", next_step="write 'none' for no limit")
    return float(value)


def _part_of_all(value: Any) -> float:
    """A percentage, as a part of 1."""
    share = parse_share(value) if isinstance(value, str) else None
    if share is None or not share.part_of_all:
        raise InvalidInput(f"not a percentage above 0: {value!r:.40}", next_step="write for example 100% or 50%")
    return share.part_of_all


def _access(value: Any) -> AccessList:
    if value == "*":
        return EVERYBODY
    lists = value if isinstance(value, dict) else None
    if lists is None or lists.keys() - {"users", "groups"}:
        raise InvalidInput("names neither users nor groups", next_step=_ACCESS_EXAMPLE)
    for key, names in lists.items():
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise InvalidInput("must be a list of names", field=key, next_step=_ACCESS_EXAMPLE)
    return AccessList(users=tuple(lists.get("users", ())), groups=tuple(lists.get("groups", ())))


def _labels(value: Any) -> tuple[str, ...]:
    if value == EVERY_LABEL:
        return (EVERY_LABEL,)
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InvalidInput("must be a list of node labels", next_step="write [gpu, ssd], [] for none or '*' for all")
    return tuple(name if name == EVERY_LABEL else check_label(name, "") for name in value)


def _gpu_device(value: Any) -> int | str:
    """An index, or the UUID of a GPU or the beginning of one."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and value.upper().startswith("GPU-"):
        return value
    raise InvalidInput(
        f"neither an index nor a UUID of a GPU: {value!r:.60}",
        next_step="write 0, 1 … or GPU-…, as `nvidia-smi -L` shows them",
    )


Milli = Annotated[int, reader(lambda value: parse_milli(value, field=""))]
Gpus = Annotated[int, reader(_gpus)]
MemoryMib = Annotated[int, reader(lambda value: parse_memory_mib(value, field=""))]
Seconds = Annotated[float, reader(lambda value: parse_duration_s(value, field=""))]
Age = Annotated[float, reader(lambda value: parse_age_s(value, field=""))]
Umask = Annotated[int, reader(_umask)]
GpuDevice = Annotated[int | str, reader(_gpu_device)]
Share = Annotated[GivenShare, reader(parse_share)]
#: A share that is no percentage.
AmountsOf = Annotated[Resources, reader(parse_amounts)]
#: The same as a limit: what is not named is not limited.
AmountsLimit = Annotated[Resources, reader(parse_limit)]
#: Above 0, at most 1.
PartOfAll = Annotated[float, reader(_part_of_all)]
LabelList = Annotated[tuple[str, ...], reader(_labels)]
Access = Annotated[AccessList, reader(_access)]
#: How long to wait before something happens that may never: infinity then.
Waiting = Annotated[float, reader(_waiting)]
AmShare = Annotated[float, reader(_am_share)]
#: Text, number or truth value; what was written counts (`Document.text`).
Scalar = Annotated[Any, reader(_scalar)]
