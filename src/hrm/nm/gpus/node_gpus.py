"""The GPUs of one node as its NodeManager keeps them: which are lent now, how each does, what is wrong.

A GPU is known by its UUID from the first reading that names it. Indexes are not names: when a GPU falls off the bus,
those behind it move up. So an allow-list is resolved once, and a GPU that was lent stays meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hrm.model.devices import DeviceProcess, DeviceState, DeviceUsage
from hrm.model.nodes import VIRTUAL_PREFIX, DeviceSpec
from hrm.nm.gpus.allow_list import Entry, find
from hrm.nm.gpus.health import condition, why_unreadable
from hrm.nm.gpus.probe import kernel_module_version
from hrm.nm.gpus.reading import Failure, GpuReading, Reading

#: What the model of a virtual GPU is called.
VIRTUAL_MODEL = "virtual"
#: Looks that may fail in a row before the GPUs are taken for sick: a machine under load answers late.
PATIENCE = 3
#: Failures that are no matter of patience: no program could use a GPU now.
_DEFINITE = (Failure.MISSING, Failure.UNLOADED, Failure.MISMATCH)
#: Control nodes, without which no program can use any GPU.
_CONTROL = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")


class NodeGpus:
    """See the module. ``allow`` is None iff all GPUs are lent."""

    def __init__(
        self,
        allow: Sequence[Entry] | None = None,
        *,
        dev: Path = Path("/dev"),
        module_version: Callable[[], str] = kernel_module_version,
    ) -> None:
        self._allow = None if allow is None else tuple(allow)
        self._dev = dev
        self._module_version = module_version
        #: The allow-list's entries with the UUIDs that they were found to mean.
        self._meant: dict[Entry, str] = {}
        self._usage: dict[str, DeviceUsage] = {}
        self._minors: dict[str, int] = {}
        self._failed_in_a_row = 0
        #: What is wrong with lent GPUs or with all of them; "" iff nothing.
        self.message = ""

    @classmethod
    def virtual(cls, node_id: str, count: int, *, dev: Path = Path("/dev")) -> NodeGpus:
        """``count`` devices that do no arithmetic, in place of whatever GPUs the machine has."""
        gpus = cls(dev=dev)
        for index in range(count):
            device = DeviceSpec(
                device_id=f"{VIRTUAL_PREFIX}{node_id}-{index}", index=index, model=VIRTUAL_MODEL, virtual=True
            )
            gpus._usage[device.device_id] = DeviceUsage(device=device)
        return gpus

    # What there is

    @property
    def devices(self) -> tuple[DeviceSpec, ...]:
        """Those that are lent and well, by index."""
        return tuple(usage.device for usage in self.usage if usage.state is DeviceState.LENT)

    @property
    def usage(self) -> tuple[DeviceUsage, ...]:
        """All that were ever seen, by index, as they were last seen."""
        return tuple(sorted(self._usage.values(), key=lambda usage: (usage.device.index, usage.device.device_id)))

    @property
    def lost(self) -> dict[str, str]:
        """Lent ones that do not answer any more, each with a sentence for those who ran on it."""
        return {
            device_id: f"{_name(usage.device)} was lost: {usage.message}"
            for device_id, usage in self._usage.items()
            if usage.state is DeviceState.LOST and self._is_meant(device_id)
        }

    def visible(self, device_ids: Sequence[str]) -> str:
        """What CUDA_VISIBLE_DEVICES is to be for these devices: UUIDs; of virtual ones the indexes.

        A program counts virtual ones by their indexes. Where there is a real driver an index would name a real GPU,
        so there they keep their ids, which CUDA knows no device by.
        """
        if (self._dev / "nvidiactl").exists():
            return ",".join(device_ids)
        return ",".join(self._index_if_virtual(device_id) for device_id in device_ids)

    def device_nodes(self, device_id: str) -> tuple[Path, ...]:
        """Paths that a program with this device must be able to open, control nodes included; none if virtual."""
        minor = self._minors.get(device_id)
        if minor is None:
            return ()
        return tuple(path for name in (f"nvidia{minor}", *_CONTROL) if (path := self._dev / name).exists())

    # What happens

    def take(self, reading: Reading, tenants: Mapping[int, DeviceProcess] | None = None) -> bool:
        """Take a new look into account; True iff what is lent, lost or wrong has changed.

        ``tenants`` says whose the processes are, by pid.
        """
        before = (self.devices, self.message, self.lost)
        if reading.failure is None:
            self._failed_in_a_row = 0
            self._see(reading, tenants or {})
            self.message = self._complaints(reading)
        else:
            self._failed_in_a_row += 1
            self.message = why_unreadable(reading, self._module_version())
            if reading.failure in _DEFINITE or self._failed_in_a_row >= PATIENCE:
                self._all_sick()
        return before != (self.devices, self.message, self.lost)

    def _see(self, reading: Reading, tenants: Mapping[int, DeviceProcess]) -> None:
        self._resolve(reading)
        here = {gpu.uuid: gpu for gpu in reading.gpus if gpu.uuid}
        for uuid, gpu in here.items():
            self._usage[uuid] = self._usage_of(gpu, tenants)
            if gpu.minor is not None:
                self._minors[uuid] = gpu.minor
        silent = next((gpu for gpu in reading.gpus if not gpu.uuid), None)
        for uuid, usage in self._usage.items():
            if uuid not in here:
                gone = silent or GpuReading(index=-1, uuid=uuid, failure=Failure.LOST, message="it has left the bus")
                self._usage[uuid] = DeviceUsage(device=usage.device, state=DeviceState.LOST, message=condition(gone)[1])

    def _resolve(self, reading: Reading) -> None:
        for entry in self._allow or ():
            if entry not in self._meant and (gpu := find(entry, reading.gpus)) is not None and gpu.uuid:
                self._meant[entry] = gpu.uuid

    def _usage_of(self, gpu: GpuReading, tenants: Mapping[int, DeviceProcess]) -> DeviceUsage:
        before = self._usage.get(gpu.uuid)
        # One that has just failed tells no more than its name.
        device = before.device if before is not None and gpu.failure is not None else _device(gpu)
        state, message = condition(gpu)
        if gpu.mig:
            state, message = DeviceState.UNLENT, "is divided into MIG instances, which are not lent"
        elif not self._is_meant(gpu.uuid):
            state, message = DeviceState.UNLENT, message
        return DeviceUsage(
            device=device,
            state=state,
            message=message,
            utilisation_percent=gpu.utilisation_percent,
            temperature_c=gpu.temperature_c,
            memory_used_mib=gpu.memory_used_mib,
            processes=tuple(
                replace(tenants.get(one.pid) or DeviceProcess(pid=one.pid), memory_mib=one.memory_mib)
                for one in gpu.processes
            ),
        )

    def _all_sick(self) -> None:
        for uuid, usage in self._usage.items():
            if usage.state is DeviceState.LENT:
                self._usage[uuid] = DeviceUsage(device=usage.device, state=DeviceState.SICK, message=self.message)

    def _complaints(self, reading: Reading) -> str:
        found = [
            f"{_name(usage.device)}: {usage.message}"
            for usage in self.usage
            if usage.message and self._is_meant(usage.device.device_id)
        ]
        found += [
            f"GPU {gpu.index} cannot be named: {gpu.message}"
            for gpu in reading.gpus
            if not gpu.uuid and not self.lost and (self._allow is None or gpu.index in self._allow)
        ]
        found += [f"gpu_devices: no GPU {entry} here" for entry in self._allow or () if entry not in self._meant]
        return "; ".join(found)

    def _is_meant(self, uuid: str) -> bool:
        return self._allow is None or uuid in self._meant.values()

    def _index_if_virtual(self, device_id: str) -> str:
        usage = self._usage.get(device_id)
        return str(usage.device.index) if usage is not None and usage.device.virtual else device_id


def _device(gpu: GpuReading) -> DeviceSpec:
    return DeviceSpec(
        device_id=gpu.uuid,
        index=gpu.index,
        model=gpu.model,
        memory_mib=gpu.memory_mib,
        architecture=gpu.architecture,
        compute_capability=gpu.compute_capability,
        pci_bus_id=gpu.pci_bus_id,
        links=tuple(sorted(gpu.links.items())),
    )


def _name(device: DeviceSpec) -> str:
    return f"GPU {device.index} ({device.device_id})"
