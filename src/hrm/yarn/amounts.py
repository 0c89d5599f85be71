"""Amounts of resources between the model's vectors and YARN's messages, and what YARN makes of a request.

YARN counts memory in MiB, and CPUs and GPUs whole. A message names memory and CPUs twice, in fields of their own and
among the others by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hrm.config.yarn_values import YarnConfig
from hrm.model.errors import InvalidInput
from hrm.model.resources import BUILT_IN, GPUS, MEMORY, VCORES, Resources
from hrm.model.units import LARGEST
from hrm.model.yarn_amounts import YARN_NAMES, single_units
from hrm.yarn.errors import InvalidResourceRequest
from hrm.yarn.proto.records_pb2 import COUNTABLE, ResourceProto, ResourceTypeInfoProto

_BUILT_IN = {theirs: ours for ours, theirs in YARN_NAMES.items()}
_MEMORY, _VCORES = YARN_NAMES[MEMORY], YARN_NAMES[VCORES]
_UNITS = {MEMORY: "Mi"}
_MIB = 1 << 20
#: What a Java client can hold.
_MAX_INT, _MAX_LONG = (1 << 31) - 1, (1 << 63) - 1


def yarn_name(name: str) -> str:
    """``memory-mb`` for ``memory_mib``; resources that are not built in have one name."""
    return YARN_NAMES.get(name, name)


def yarn_counts(amounts: Mapping[str, int], *, up: bool = False) -> dict[str, int]:
    """By YARN's names in YARN's units; parts of a CPU or GPU count as none, or with ``up`` as a whole one."""
    counts: dict[str, int] = {}
    for name in (*BUILT_IN, *(other for other in amounts if other not in BUILT_IN)):
        amount = amounts.get(name, 0)
        if name in (VCORES, GPUS):
            amount = -(-amount // 1000) if up else amount // 1000
        counts[yarn_name(name)] = min(amount, _MAX_LONG)
    return counts


def resource_message(amounts: Resources | Mapping[str, int], *, up: bool = False) -> ResourceProto:
    """What is free or there is rounded down to whole CPUs and GPUs, what is used or asked for ``up``."""
    counts = yarn_counts(amounts.as_dict() if isinstance(amounts, Resources) else amounts, up=up)
    message = ResourceProto(memory=counts[_MEMORY], virtual_cores=min(counts[_VCORES], _MAX_INT))
    for name, count in counts.items():
        message.resource_value_map.add(
            key=name, value=count, units=_UNITS.get(_BUILT_IN.get(name, ""), ""), type=COUNTABLE
        )
    return message


def resources(message: ResourceProto) -> Resources:
    """As asked for. Raises InvalidResourceRequest for what is below zero, too large or has no unit of YARN's."""
    counts = {entry.key: _count(entry.key, entry.value, entry.units) for entry in message.resource_value_map}
    if message.HasField("memory"):
        counts[_MEMORY] = message.memory
    if message.HasField("virtual_cores"):
        counts[_VCORES] = message.virtual_cores
    amounts: dict[str, int] = {}
    for name, count in counts.items():
        ours = _BUILT_IN.get(name, name)
        amount = count * 1000 if ours in (VCORES, GPUS) else count
        if not 0 <= amount <= LARGEST:
            raise InvalidResourceRequest(f"Invalid resource request, {name} is out of range: {count}")
        if ours not in BUILT_IN and name in BUILT_IN:
            raise InvalidResourceRequest(f"Invalid resource request, no resource is called {name}")
        amounts[ours] = amount
    return Resources.of(amounts)


def normalized(wanted: Resources, config: YarnConfig) -> Resources:
    """As YARN grants it: at least the minimum, a multiple of the increment (ResourceCalculator.normalize)."""
    return Resources.of(
        {
            name: _up(max(amount, config.minimum.get(name)), config.increment.get(name))
            for name, amount in {**dict(config.minimum.items()), **dict(wanted.items())}.items()
        }
    )


def requested(message: ResourceProto, config: YarnConfig, maximum: Resources) -> Resources:
    """What is granted for a request. Raises InvalidResourceRequest for one above the ``maximum``."""
    wanted = resources(message)
    if over := wanted.exceeding(maximum):
        raise InvalidResourceRequest(
            "Invalid resource request, requested resource is above the maximum allocation: "
            f"{', '.join(map(yarn_name, over))} of {_words(wanted)}; the maximum is {_words(maximum)}"
        )
    # Raised to a multiple it may be larger than the largest node: then all of that is meant.
    return normalized(wanted, config).smallest(maximum) if maximum else normalized(wanted, config)


def maximum_capability(nodes: Iterable[Mapping[str, int]], config: YarnConfig) -> Resources:
    """The largest container: no larger than the largest nodes, if there are any, and the configured maximum."""
    largest = Resources()
    for total in nodes:
        largest = largest.largest(Resources.of(total))
    if not largest:
        return config.maximum or Resources(memory_mib=_MAX_INT, vcores_milli=_MAX_INT, gpus_milli=_MAX_INT)
    return largest if config.maximum is None else largest.smallest(config.maximum)


def resource_types(names: Iterable[str]) -> list[ResourceTypeInfoProto]:
    """The built-in ones, and others by name."""
    wanted = dict.fromkeys((*BUILT_IN, *names))
    return [ResourceTypeInfoProto(name=yarn_name(name), units=_UNITS.get(name, ""), type=COUNTABLE) for name in wanted]


def _count(name: str, value: int, unit: str) -> int:
    try:
        if name == _MEMORY and unit:
            return single_units(value, unit) // _MIB
        return single_units(value, unit)
    except InvalidInput as error:
        raise InvalidResourceRequest(f"Invalid resource request, {name}: {error.message}") from None


def _up(amount: int, step: int) -> int:
    return -(-amount // step) * step if step else amount


def _words(amounts: Resources) -> str:
    """``<memory:1024, vCores:2, yarn.io/gpu: 1>``, as YARN writes them."""
    counts = yarn_counts(amounts.as_dict())
    rest = "".join(f", {name}: {count}" for name, count in counts.items() if count and name not in (_MEMORY, _VCORES))
    return f"<memory:{counts[_MEMORY]}, vCores:{counts[_VCORES]}{rest}>"
