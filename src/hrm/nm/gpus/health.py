"""Which GPUs are well enough to be lent, by what NVML tells.

Xid messages of the kernel's log are not visible here; what they announce shows in these figures soon after.
"""

from __future__ import annotations

from hrm.model.devices import DeviceState
from hrm.nm.gpus.reading import Failure, GpuReading, Reading


def condition(gpu: GpuReading) -> tuple[DeviceState, str]:
    """LENT and no words for a GPU that is well, else SICK or LOST and what is wrong."""
    match gpu.failure:
        case Failure.LOST:
            return DeviceState.LOST, f"{gpu.message or 'GPU is lost'}; the machine has to be restarted"
        case Failure.RESET:
            return DeviceState.LOST, f"{gpu.message or 'GPU requires restart'} (`nvidia-smi --gpu-reset`)"
        case None:
            return _by_memory(gpu)
        case _:
            return DeviceState.SICK, f"cannot be read: {gpu.message}"


def _by_memory(gpu: GpuReading) -> tuple[DeviceState, str]:
    if gpu.remap_failed:
        return DeviceState.SICK, "broken memory: a row could not be replaced; the GPU has to be exchanged"
    if gpu.retirement_pending:
        return DeviceState.SICK, "broken memory waits to be taken out of use; reset the GPU or restart the machine"
    if gpu.uncorrected_errors:
        return (
            DeviceState.SICK,
            f"{gpu.uncorrected_errors} memory errors could not be corrected; reset the GPU or restart the machine",
        )
    return DeviceState.LENT, ""


def why_unreadable(reading: Reading, module_version: str) -> str:
    """Words for a reading that failed as a whole, with the cure where one is known."""
    match reading.failure:
        case Failure.MISSING:
            return f"no NVML on this machine ({reading.message})"
        case Failure.UNLOADED:
            return (
                "the NVIDIA kernel module is not loaded (`modprobe nvidia`; `dkms status` shows whether it was built)"
            )
        case Failure.MISMATCH:
            loaded = f" {module_version}" if module_version else ""
            return (
                f"Driver/library version mismatch: the kernel module{loaded} that is loaded is not of NVML's version"
                " (restart the machine, or unload and load the module)"
            )
        case _:
            return reading.message
