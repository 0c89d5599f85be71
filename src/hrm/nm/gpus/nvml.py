"""Asks NVML about all GPUs of this machine and prints the reading: ``python -m hrm.nm.gpus.nvml``.

A process of its own, because NVML can hang in the kernel where no time limit reaches it, can crash, keeps
``/dev/nvidiactl`` open (so that no driver could be unloaded under a server), and stays with the library that it
loaded when the driver is upgraded. A driver tells only what it is new enough for: each question may go unanswered.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import pynvml

from hrm.nm.gpus.reading import Failure, GpuProcess, GpuReading, Reading

T = TypeVar("T")
_MIB = 1 << 20
#: In the end nobody listens any more; whoever asked has a shorter limit of its own.
GIVE_UP_S = 120

_FAILURES = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: Failure.MISSING,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: Failure.UNLOADED,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: Failure.MISMATCH,
    pynvml.NVML_ERROR_TIMEOUT: Failure.TIMEOUT,
    pynvml.NVML_ERROR_GPU_IS_LOST: Failure.LOST,
    pynvml.NVML_ERROR_RESET_REQUIRED: Failure.RESET,
}
#: Of one GPU: what makes all further questions about it pointless.
_FATAL = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)
#: By major version of the compute capability, and by the whole where a major version covers two.
_ARCHITECTURES = {
    "3": "Kepler",
    "5": "Maxwell",
    "6": "Pascal",
    "7": "Volta",
    "7.5": "Turing",
    "8": "Ampere",
    "8.9": "Ada",
    "9": "Hopper",
    "10": "Blackwell",
    "12": "Blackwell",
}
_TOPOLOGY = {
    pynvml.NVML_TOPOLOGY_INTERNAL: "PIX",
    pynvml.NVML_TOPOLOGY_SINGLE: "PIX",
    pynvml.NVML_TOPOLOGY_MULTIPLE: "PXB",
    pynvml.NVML_TOPOLOGY_HOSTBRIDGE: "PHB",
    pynvml.NVML_TOPOLOGY_NODE: "NODE",
    pynvml.NVML_TOPOLOGY_SYSTEM: "SYS",
}


def read() -> Reading:
    """Everything that NVML tells. Never raises for what NVML says: that is part of the reading."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Reading(failure=_failure(error), message=str(error))
    try:
        count = pynvml.nvmlDeviceGetCount()
        named = [_name(index) for index in range(count)]
        handles = {gpu.uuid: handle for gpu, handle in named if handle is not None}
        gpus = tuple(gpu if handle is None else _look(gpu, handle, handles) for gpu, handle in named)
        return Reading(gpus=gpus, driver_version=_text(_ask(pynvml.nvmlSystemGetDriverVersion)))
    except pynvml.NVMLError as error:
        return Reading(failure=_failure(error), message=str(error))
    finally:
        _ask(pynvml.nvmlShutdown)


def _name(index: int) -> tuple[GpuReading, Any]:
    """The GPU by its index, with its handle; None for one that does not answer."""
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        return GpuReading(index=index, uuid=_text(pynvml.nvmlDeviceGetUUID(handle))), handle
    except pynvml.NVMLError as error:
        return GpuReading(index=index, uuid="", failure=_failure(error), message=str(error)), None


def _look(gpu: GpuReading, handle: Any, handles: dict[str, Any]) -> GpuReading:
    try:
        return GpuReading(index=gpu.index, uuid=gpu.uuid, **_facts(handle), links=_links(gpu.uuid, handles))
    except pynvml.NVMLError as error:
        return GpuReading(index=gpu.index, uuid=gpu.uuid, failure=_failure(error), message=str(error))


def _facts(handle: Any) -> dict[str, Any]:
    # A GPU that shares the machine's memory has none of its own to tell of.
    memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    major_minor = _ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    capability = ".".join(map(str, major_minor)) if major_minor else ""
    use = _ask(pynvml.nvmlDeviceGetUtilizationRates, handle)
    pci = _ask(pynvml.nvmlDeviceGetPciInfo, handle)
    mig = _ask(pynvml.nvmlDeviceGetMigMode, handle)
    remapped = _ask(pynvml.nvmlDeviceGetRemappedRows, handle)
    # Pages and rows are two generations of one mechanism; a GPU has one of them.
    _, _, rows_pending, remap_failed = remapped or (0, 0, 0, 0)
    pages_pending = _ask(pynvml.nvmlDeviceGetRetiredPagesPendingStatus, handle)
    return {
        "model": _text(_ask(pynvml.nvmlDeviceGetName, handle)),
        "compute_capability": capability,
        "architecture": _ARCHITECTURES.get(capability) or _ARCHITECTURES.get(capability.partition(".")[0], ""),
        "memory_mib": memory.total // _MIB if memory else 0,
        "memory_used_mib": memory.used // _MIB if memory else None,
        "pci_bus_id": _text(pci.busId) if pci else "",
        "minor": _ask(pynvml.nvmlDeviceGetMinorNumber, handle),
        "utilisation_percent": use.gpu if use else None,
        "temperature_c": _ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        "uncorrected_errors": _ask(
            pynvml.nvmlDeviceGetTotalEccErrors,
            handle,
            pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
            pynvml.NVML_VOLATILE_ECC,
        ),
        "retirement_pending": bool(rows_pending or pages_pending),
        "remap_failed": bool(remap_failed),
        "mig": bool(mig and mig[0]),
        "processes": _processes(handle),
    }


def _processes(handle: Any) -> tuple[GpuProcess, ...]:
    """Those that compute and those that draw; one that does both is one."""
    found: dict[int, GpuProcess] = {}
    for kind in ("Compute", "Graphics"):
        for pid, used_bytes in _running(handle, kind):
            memory_mib = None if used_bytes is None else used_bytes // _MIB
            found[pid] = GpuProcess(pid=pid, memory_mib=memory_mib)
    return tuple(found[pid] for pid in sorted(found))


class _ProcessInfoV1(ctypes.Structure):
    """nvmlProcessInfo_v1_t of nvml.h: all that drivers before 450 know."""

    _fields_ = [("pid", ctypes.c_uint), ("used_bytes", ctypes.c_ulonglong)]


def _running(handle: Any, kind: str) -> Iterable[tuple[int, int | None]]:
    for version in ("_v3", "_v2"):
        try:
            processes = getattr(pynvml, f"nvmlDeviceGet{kind}RunningProcesses{version}")(handle)
        except pynvml.NVMLError as error:
            if error.value == pynvml.NVML_ERROR_FUNCTION_NOT_FOUND:
                continue
            _raise_if_fatal(error)
            return []
        return [(process.pid, process.usedGpuMemory) for process in processes]
    return _running_v1(handle, f"nvmlDeviceGet{kind}RunningProcesses")


def _running_v1(handle: Any, function: str) -> list[tuple[int, int | None]]:
    """pynvml has no way any more to ask drivers before 450, of which many are in use."""
    try:
        # The library is loaded already: this is the same one.
        ask = getattr(ctypes.CDLL("libnvidia-ml.so.1"), function)
    except (OSError, AttributeError):
        return []
    capacity = 64
    while capacity <= 4096:
        count = ctypes.c_uint(capacity)
        infos = (_ProcessInfoV1 * capacity)()
        status = ask(handle, ctypes.byref(count), infos)
        if status == pynvml.NVML_SUCCESS:
            unknown = pynvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value
            return [
                (info.pid, None if info.used_bytes == unknown else info.used_bytes) for info in infos[: count.value]
            ]
        if status != pynvml.NVML_ERROR_INSUFFICIENT_SIZE:
            return []
        capacity *= 4
    return []


def _links(uuid: str, handles: dict[str, Any]) -> dict[str, str]:
    others = {other: handle for other, handle in handles.items() if other != uuid}
    if not others:
        return {}
    nvlinks = _nvlinks(handles[uuid])
    return {other: _between(handles[uuid], handle, nvlinks) for other, handle in others.items()}


def _between(here: Any, there: Any, nvlinks: Sequence[str]) -> str:
    if _ask(pynvml.nvmlDeviceGetP2PStatus, here, there, pynvml.NVML_P2P_CAPS_INDEX_NVLINK) == pynvml.NVML_P2P_STATUS_OK:
        pci = _ask(pynvml.nvmlDeviceGetPciInfo, there)
        # Through a switch every NVLink leads to every GPU, and its other end is the switch.
        return f"NV{(pci and nvlinks.count(_text(pci.busId))) or len(nvlinks)}"
    level = _ask(pynvml.nvmlDeviceGetTopologyCommonAncestor, here, there)
    return _TOPOLOGY.get(level, "SYS") if level is not None else ""


def _nvlinks(handle: Any) -> list[str]:
    """The PCI address at the other end of each NVLink that is up."""
    ends = []
    for link in range(pynvml.NVML_NVLINK_MAX_LINKS):
        up = _ask(pynvml.nvmlDeviceGetNvLinkState, handle, link)
        if up is None:
            break
        if up and (end := _ask(pynvml.nvmlDeviceGetNvLinkRemotePciInfo, handle, link)):
            ends.append(_text(end.busId))
    return ends


def _ask(question: Callable[..., T], *arguments: Any) -> T | None:
    """The answer, None where this driver or this GPU has none. Raises NVMLError where the GPU itself is gone."""
    try:
        return question(*arguments)
    except pynvml.NVMLError as error:
        _raise_if_fatal(error)
    except pynvml.NVMLLibraryMismatchError:
        pass  # a function that this driver is too old for
    return None


def _raise_if_fatal(error: pynvml.NVMLError) -> None:
    if error.value in _FATAL:
        raise error


def _failure(error: pynvml.NVMLError) -> Failure:
    return _FAILURES.get(error.value, Failure.OTHER)


def _text(value: Any) -> str:
    """Some versions of pynvml answer in bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


if __name__ == "__main__":
    # A signal that is not handled ends also a process that waits in C.
    signal.alarm(GIVE_UP_S)
    sys.stdout.write(read().to_json())
