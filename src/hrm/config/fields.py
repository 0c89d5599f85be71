"""Types of single values in files: amounts, durations and shares in human forms, read by the model's own parsers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainValidator
from pydantic_core import PydanticCustomError

from hrm.model.errors import InvalidInput
from hrm.model.resources import BUILT_IN, GPUS, MEMORY, VCORES, Resources
from hrm.model.units import LARGEST, format_milli, parse_age_s, parse_duration_s, parse_memory_mib, parse_milli

_SHARE_KEYS = {
    "cpus": (VCORES, parse_milli),
    "memory": (MEMORY, parse_memory_mib),
    "gpus": (GPUS, parse_milli),
}
_SHARE_WORDS = {
    **dict.fromkeys(("vcore", "vcores", "cpu", "cpus", "core", "cores"), "cpus"),
    **dict.fromkeys(("gpu", "gpus"), "gpus"),
}
_SHARE_EXAMPLE = "write for example '4 vcores, 8G' or {cpus: 4, memory: 8G, gpus: 1}"


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


def parse_share(value: Any) -> dict[str, int]:
    """Amounts by name from ``"4 vcores, 8G"`` or ``{cpus:, memory:, gpus:}``: only what was named.

    Raises InvalidInput naming the part that is wrong.
    """
    if isinstance(value, str):
        value = _split_share(value)
    if not isinstance(value, dict) or not value:
        raise InvalidInput("not a share", next_step=_SHARE_EXAMPLE)
    amounts: dict[str, int] = {}
    for key, amount in value.items():
        if key not in _SHARE_KEYS:
            raise InvalidInput(f"unknown resource {key!r}", next_step=_SHARE_EXAMPLE)
        name, parse = _SHARE_KEYS[key]
        amounts[name] = parse(amount, field=key)
    return amounts


def least(amounts: dict[str, int] | None) -> Resources:
    """A minimum: what was not named is not guaranteed."""
    return Resources.of(amounts or {})


def most(amounts: dict[str, int] | None) -> Resources | None:
    """A maximum: what was not named is not limited (as YARN's maxResources)."""
    return None if amounts is None else Resources.of({**dict.fromkeys(BUILT_IN, LARGEST), **amounts})


def show_share(share: Resources) -> dict[str, str]:
    """As `parse_share` reads it; what is not limited is left out."""
    shown = {"cpus": format_milli(share.vcores_milli), "memory": f"{share.memory_mib}M"}
    shown["gpus"] = format_milli(share.gpus_milli)
    return {key: text for key, text in shown.items() if share.get(_SHARE_KEYS[key][0]) < LARGEST}


def _split_share(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in text.split(","):
        number, _, word = part.strip().partition(" ")
        key = _SHARE_WORDS.get(word.strip().lower(), "memory")
        if key in parts:
            raise InvalidInput(f"names {key} twice: {text!r}", next_step=_SHARE_EXAMPLE)
        parts[key] = part.strip() if key == "memory" else number
    return parts


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
Share = Annotated[dict[str, int], reader(parse_share)]
#: Text, number or truth value; what was written counts (`Document.text`).
Scalar = Annotated[Any, reader(_scalar)]
