"""GPUs that a Mesos agent lends: how many, which ones, and whether tasks are kept to theirs.

Rules are those of Mesos' ``NvidiaGpuAllocator`` and ``NvidiaGpuIsolatorProcess``, which refuse to start the agent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hrm.doctor.checks import check
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.mesos.settings import AGENT, Mesos, Setting, mesos
from hrm.doctor.steps import by_hand
from hrm.doctor.system import System
from hrm.model.findings import Evidence, Finding, Severity, Step, Text

ISOLATION = "filesystem/linux,cgroups/devices,gpu/nvidia"
_GPUS = "/proc/driver/nvidia/gpus"
_LENT = re.compile(r"\bgpus(?:\([^)]*\))?:\s*([0-9.]+)")

_START = Text(
    "Start the agent with isolation, list and number that fit each other.",
    "用互相一致的隔离方式、设备列表和数量启动 agent。",
)
_REFUSES = Text("The agent refuses to start: {said}", "agent 拒绝启动：{said}")

COUNT_DIFFERS = Fault(
    code="HRM-MESOS-030",
    severity=Severity.ERROR,
    title=Text(
        "The agent lends {count} GPUs by resources, but lists {listed}",
        "resources 写了 {count} 块 GPU，而设备列表是 {listed}",
    ),
    why=_REFUSES,
    cure=_START,
)
NO_ISOLATOR = Fault(
    code="HRM-MESOS-031",
    severity=Severity.ERROR,
    title=Text(
        "GPUs are listed, but isolation has no gpu/nvidia ({isolation})",
        "列出了 GPU，但 isolation 中没有 gpu/nvidia({isolation})",
    ),
    why=_REFUSES,
    cure=_START,
)
HALF_SAID = Fault(
    code="HRM-MESOS-032",
    severity=Severity.ERROR,
    title=Text("{said} is set without {missing}", "设了 {said}，却没有 {missing}"),
    why=Text("The agent refuses to start: one cannot be set without the other.", "agent 拒绝启动：两者必须同时设置。"),
    cure=_START,
)
NEEDED_ISOLATORS = Fault(
    code="HRM-MESOS-033",
    severity=Severity.ERROR,
    title=Text("isolation has gpu/nvidia, but not {missing}", "isolation 有 gpu/nvidia，但缺少 {missing}"),
    why=Text(
        "The agent refuses to start: gpu/nvidia needs the devices cgroup and a mount namespace of each container.",
        "agent 拒绝启动：gpu/nvidia 需要 devices cgroup 和每个容器自己的挂载命名空间。",
    ),
    cure=_START,
)
NO_SUCH_GPU = Fault(
    code="HRM-MESOS-034",
    severity=Severity.ERROR,
    title=Text(
        "The agent lists GPU {index}, but this machine has {present}",
        "agent 列出了 GPU {index}，而本机只有 {present} 块",
    ),
    why=Text("The agent refuses to start, or lends a GPU that is not there.", "agent 拒绝启动，或借出不存在的 GPU。"),
    cure=_START,
)
DUPLICATES = Fault(
    code="HRM-MESOS-035",
    severity=Severity.ERROR,
    title=Text("The agent's list of GPUs has duplicates: {listed}", "agent 的 GPU 列表有重复：{listed}"),
    why=Text(
        "The agent refuses to start: '--nvidia_gpu_devices' contains duplicates.",
        "agent 拒绝启动：'--nvidia_gpu_devices' contains duplicates。",
    ),
    cure=_START,
)
ALL_LENT = Fault(
    code="HRM-MESOS-036",
    severity=Severity.INFO,
    title=Text("Mesos lends all {present} GPUs of this machine", "Mesos 借出本机全部 {present} 块 GPU"),
    why=Text(
        "Without --nvidia_gpu_devices every GPU is lent, also one that another system lends too: two jobs meet on it.",
        "没有 --nvidia_gpu_devices 时会借出所有 GPU，若别的系统也在使用，两个作业就会撞在同一块上。",
    ),
    cure=Text("Name the GPUs that Mesos may lend.", "写明 Mesos 可以借出的 GPU。"),
)
NOT_ISOLATED = Fault(
    code="HRM-MESOS-037",
    severity=Severity.WARNING,
    title=Text(
        "Tasks of Mesos see all {present} GPUs: the agent's isolation has no gpu/nvidia",
        "Mesos 的任务能看到全部 {present} 块 GPU:agent 的 isolation 没有 gpu/nvidia",
    ),
    why=Text(
        "GPUs are neither counted nor kept apart: every task may use every GPU, also those that others were given.",
        "GPU 既不计数也不隔离：每个任务都能使用任何 GPU，包括分给别人的。",
    ),
    cure=_START,
)
OTHERS_THAN_EXPECTED = Fault(
    code="HRM-MESOS-038",
    severity=Severity.ERROR,
    title=Text("Mesos lends the GPUs {lent}, and is to lend {wanted}", "Mesos 借出的 GPU 是 {lent}，应为 {wanted}"),
    why=Text(
        "A GPU that is lent twice has two jobs on it; one that is lent by nobody idles.",
        "被借出两次的 GPU 会有两个作业；没人借出的则闲置。",
    ),
    cure=_START,
)
NO_CONTAINERIZER = Fault(
    code="HRM-MESOS-039",
    severity=Severity.ERROR,
    title=Text(
        "GPUs need the containerizer mesos, and only {said} is set", "GPU 需要 mesos containerizer，而只设了 {said}"
    ),
    why=Text("The Docker containerizer of Mesos lends no GPUs.", "Mesos 的 docker containerizer 不支持 GPU。"),
    cure=_START,
)


@check(
    "mesos.gpus",
    COUNT_DIFFERS,
    NO_ISOLATOR,
    HALF_SAID,
    NEEDED_ISOLATORS,
    NO_SUCH_GPU,
    DUPLICATES,
    NO_CONTAINERIZER,
)
def settings_of_gpus_fit_each_other(system: System, expected: Expected) -> Iterator[Finding]:
    """Number, list and isolation of GPUs are such as the agent starts with."""
    told = mesos(system, expected)
    listed, resources, isolation = (told.get(AGENT, flag) for flag in ("nvidia_gpu_devices", "resources", "isolation"))
    count = _count(resources)
    isolators = _words(isolation)
    cure = _cure(told, system, expected)
    if listed is not None and "gpu/nvidia" not in isolators:
        yield NO_ISOLATOR.found(
            isolation=isolation.value if isolation else "posix/cpu,posix/mem",
            said="'--nvidia_gpus_devices' can only be specified if the `--isolation` flag contains 'gpu/nvidia'",
            evidence=_evidence(listed, isolation),
            cure=cure,
        )
    if listed is not None and count is None:
        yield HALF_SAID.found(
            said="nvidia_gpu_devices", missing="gpus in resources", evidence=_evidence(listed), cure=cure
        )
    if count and listed is None:
        yield HALF_SAID.found(
            said=f"gpus:{count:g} in resources", missing="nvidia_gpu_devices", evidence=_evidence(resources), cure=cure
        )
    if listed is not None:
        devices = _words(listed)
        if count is not None and count != len(devices):
            yield COUNT_DIFFERS.found(
                count=f"{count:g}",
                listed=listed.value,
                said="'--resources' and '--nvidia_gpu_devices' specify different numbers of GPU devices",
                evidence=_evidence(resources, listed),
                cure=cure,
            )
        if len(set(devices)) != len(devices):
            yield DUPLICATES.found(listed=listed.value, evidence=_evidence(listed), cure=cure)
        present = gpus_present(system)
        for device in devices if present else ():
            if not device.isdigit() or int(device) >= present:
                yield NO_SUCH_GPU.found(index=device, present=present, evidence=_evidence(listed), cure=cure)
    if "gpu/nvidia" in isolators:
        needed = [] if "cgroups/all" in isolators or "cgroups/devices" in isolators else ["cgroups/devices"]
        needed += [] if "filesystem/linux" in isolators else ["filesystem/linux"]
        if needed:
            yield NEEDED_ISOLATORS.found(missing=", ".join(needed), evidence=_evidence(isolation), cure=cure)
        containerizers = told.get(AGENT, "containerizers")
        if containerizers is not None and "mesos" not in _words(containerizers):
            yield NO_CONTAINERIZER.found(said=containerizers.value, evidence=_evidence(containerizers), cure=cure)


@check("mesos.gpus-lent", ALL_LENT, NOT_ISOLATED, OTHERS_THAN_EXPECTED)
def gpus_are_lent_as_meant(system: System, expected: Expected) -> Iterator[Finding]:
    """Of a machine with GPUs: the agent lends those that it is to lend, and keeps tasks apart."""
    told = mesos(system, expected)
    present = gpus_present(system)
    if AGENT not in told.roles or not present:
        return
    listed, isolation = told.get(AGENT, "nvidia_gpu_devices"), told.get(AGENT, "isolation")
    cure = _cure(told, system, expected)
    if "gpu/nvidia" not in _words(isolation):
        if listed is None:
            where = _evidence(isolation) or [Evidence(_GPUS, f"{present} GPUs, isolation is not set")]
            yield NOT_ISOLATED.found(present=present, evidence=where, cure=cure)
        return
    wanted = expected.mesos.gpus
    lent = sorted(int(word) for word in _words(listed) if word.isdigit()) if listed else list(range(present))
    if wanted is not None and sorted(wanted) != lent:
        yield OTHERS_THAN_EXPECTED.found(
            lent=_comma(lent), wanted=_comma(sorted(wanted)), evidence=_evidence(listed or isolation), cure=cure
        )
    elif listed is None and wanted is None and _count(told.get(AGENT, "resources")) is None:
        yield ALL_LENT.found(present=present, evidence=_evidence(isolation), cure=cure)


def gpus_present(system: System) -> int:
    """How many GPUs the driver has; 0 where it is not loaded."""
    return len(system.list(_GPUS))


def _cure(told: Mesos, system: System, expected: Expected) -> list[Step]:
    """The command line as it should be: the expected GPUs, or those that are listed and there."""
    listed = told.get(AGENT, "nvidia_gpu_devices")
    present = gpus_present(system)
    devices = [word for word in dict.fromkeys(_words(listed)) if word.isdigit()]
    if expected.mesos.gpus is not None:
        devices = [str(index) for index in expected.mesos.gpus]
    devices = [device for device in devices if not present or int(device) < present] or ["0"]
    flags = f'--isolation="{ISOLATION}" --nvidia_gpu_devices="{",".join(devices)}" --resources="gpus:{len(devices)}"'
    return [
        by_hand(
            f"Start the agent with: {flags}. Where it ran with others before, remove meta/slaves/latest of its "
            "work_dir in between: it refuses changed resources.",
            f"用以下参数启动 agent:{flags}。若之前用过别的参数，启动前先删除 work_dir 下的 meta/slaves/latest:"
            "agent 不接受改变了的资源。",
        )
    ]


def _count(resources: Setting | None) -> float | None:
    """GPUs among the resources; None where they say nothing of them."""
    found = _LENT.search(resources.value) if resources else None
    if found is None and resources is not None and '"gpus"' in resources.value:
        # The same in JSON.
        found = re.search(r'"gpus".*?"value"\s*:\s*([0-9.]+)', resources.value, re.DOTALL)
    return float(found[1]) if found else None


def _words(setting: Setting | None) -> list[str]:
    return [word.strip() for word in setting.value.split(",") if word.strip()] if setting else []


def _evidence(*settings: Setting | None) -> list[Evidence]:
    return list(dict.fromkeys(setting.evidence for setting in settings if setting is not None))


def _comma(numbers: list[int]) -> str:
    return ",".join(str(number) for number in numbers) or "none"
