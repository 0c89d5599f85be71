"""The one seam to NVML: whoever has a `GpuProbe` can tell what GPUs there are and how they do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from hrm.nm.gpus.reading import Failure, Reading

#: Without persistence mode the driver wakes each GPU first, which takes a second or two.
TIME_LIMIT_S = 10.0
_MODULE = "hrm.nm.gpus.nvml"
_NVIDIA = "0x10de"
_DISPLAY_CLASS = "0x03"


class GpuProbe(Protocol):
    """Looks at the GPUs of a machine."""

    async def read(self) -> Reading:
        """One look. Never raises and never takes longer than the probe's limit: a failure is a reading, too."""


class NvmlProbe:
    """Asks NVML in a child process and waits no longer than ``time_limit_s``.

    A child that hangs in the kernel cannot be killed; then no second one is started until it has gone. ``command``
    prints a reading.
    """

    def __init__(self, *, time_limit_s: float = TIME_LIMIT_S, command: Sequence[str] = ()) -> None:
        self._time_limit_s = time_limit_s
        # -P: what lies in the working directory must not be imported.
        self._command = tuple(command) or (sys.executable, "-P", "-m", _MODULE)
        self._hanging: asyncio.subprocess.Process | None = None

    async def read(self) -> Reading:
        if self._hanging is not None and self._hanging.returncode is None:
            return Reading(
                failure=Failure.TIMEOUT, message=f"process {self._hanging.pid}, which asked NVML, still hangs"
            )
        self._hanging = None
        try:
            child = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                # Ctrl-C is for the server, which ends the child itself.
                start_new_session=True,
            )
        except OSError as error:
            return Reading(failure=Failure.OTHER, message=f"cannot ask NVML: {error.strerror}")
        try:
            out, complaint = await asyncio.wait_for(child.communicate(), self._time_limit_s)
        except TimeoutError:
            self._hanging = child
            return Reading(failure=Failure.TIMEOUT, message=f"NVML did not answer within {self._time_limit_s:g} s")
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
        if child.returncode:
            last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
            return Reading(
                failure=Failure.OTHER, message=f"the process that asks NVML ended with {child.returncode}: {last}"
            )
        try:
            return Reading.from_json(out)
        except ValueError as error:
            return Reading(failure=Failure.OTHER, message=str(error))


def has_nvidia_hardware(root: Path = Path("/")) -> bool:
    """Whether asking NVML could be worth while: there is a driver, or a display device of NVIDIA's on the PCI bus.

    Files only, for a machine without GPUs is not to pay for a child process at each start.
    """
    # /dev/dxg: the way to the GPU inside of WSL.
    if any((root / sign).exists() for sign in ("proc/driver/nvidia", "dev/nvidiactl", "dev/dxg")):
        return True
    devices = root / "sys/bus/pci/devices"
    try:
        names = os.listdir(devices)
    except OSError:
        return False
    return any(
        _read(devices / name / "vendor") == _NVIDIA and _read(devices / name / "class").startswith(_DISPLAY_CLASS)
        for name in names
    )


def kernel_module_version(root: Path = Path("/")) -> str:
    """Of the NVIDIA driver that is loaded; "" iff none is."""
    words = _read(root / "proc/driver/nvidia/version").split()
    # "NVRM version: NVIDIA UNIX x86_64 Kernel Module  418.39  Sat Feb  9 …"; newer ones differ before the number.
    return next((word for word in words if word[:1].isdigit() and "." in word), "")


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
