"""What nvidia-smi complains of, and whether it answers at all."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check
from hrm.doctor.evidence import said
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.gpu import libraries
from hrm.doctor.gpu.driver import loaded
from hrm.doctor.gpu.smi import one_hangs
from hrm.doctor.gpu.unloading import evidence_of, holders_of_gpus
from hrm.doctor.kernel_log import kernel_lines
from hrm.doctor.processes import Running, age_s, processes, waits_in
from hrm.doctor.steps import by_hand, reboot, run
from hrm.doctor.system import Output, System
from hrm.model.findings import Evidence, Finding, Risk, Severity, Step, Text

#: A tool that answers once has done so by then, also where the driver is busy.
STUCK_S = 120.0
SMI_TIMEOUT_S = 6.0
#: Those that go on by themselves.
_LOOPS = re.compile(r"\s(?:-l\S*|--loop\S*|dmon|pmon|daemon)")
_IN_DRIVER = re.compile(r"\b(?:os_acquire|nv_|nvidia|uvm_|rm_|_nv\d|nvkms)")

MISMATCH_SAID = Fault(
    code="HRM-DRIVER-015",
    severity=Severity.ERROR,
    title=Text(
        "nvidia-smi loads another libnvidia-ml ({library}) than the driver that is loaded ({loaded})",
        "nvidia-smi 加载的 libnvidia-ml({library})与已加载的驱动（{loaded}）不一致",
    ),
    why=Text(
        "Failed to initialize NVML: Driver/library version mismatch, though the library that the system has is right: "
        "a program with the same environment (LD_LIBRARY_PATH) fails, too.",
        "Failed to initialize NVML: Driver/library version mismatch。系统库本身正确："
        "使用同样环境（LD_LIBRARY_PATH）的程序也会失败。",
    ),
    cure=Text(
        "Find the other library (ldd, LD_LIBRARY_PATH, ldconfig -p) and take it away; ldconfig.",
        "找出另一个库（ldd、LD_LIBRARY_PATH、ldconfig -p）并移除；执行 ldconfig。",
    ),
)

LIBRARY_MISSING = Fault(
    code="HRM-DRIVER-016",
    severity=Severity.CRITICAL,
    title=Text(
        "Driver {loaded} is loaded, and nvidia-smi finds no libnvidia-ml", "驱动 {loaded} 已加载，但找不到 libnvidia-ml"
    ),
    why=Text(
        "Every program that asks for a GPU fails: the driver's libraries were removed, or the loader does not find "
        "them.",
        "所有请求 GPU 的程序都会失败：驱动库已被删除，或加载器找不到。",
    ),
    cure=Text(
        "ldconfig; else install the driver of this version again.", "执行 ldconfig；仍不行则重新安装该版本驱动。"
    ),
)

NO_ANSWER = Fault(
    code="HRM-DRIVER-017",
    severity=Severity.ERROR,
    title=Text("nvidia-smi does not answer within {limit} s", "nvidia-smi 在 {limit} 秒内没有响应"),
    why=Text(
        "Programs that ask for a GPU may hang when they begin. A driver without persistence mode on many GPUs is slow; "
        "one that waits for a GPU which no longer answers never ends.",
        "请求 GPU 的程序启动时可能卡住。未开启 persistence mode 且 GPU 很多时会慢；"
        "若驱动在等待失去响应的 GPU，则永远不会结束。",
    ),
    cure=Text(
        "Look in the kernel's log for Xid; turn persistence mode on; restart the node if it stays so.",
        "查看内核日志中的 Xid；开启 persistence mode；若仍如此则重启节点。",
    ),
)

STUCK = Fault(
    code="HRM-DRIVER-018",
    severity=Severity.CRITICAL,
    title=Text(
        "Process {pid} ({program}), {minutes} min old, is stuck in the driver and cannot be ended",
        "进程 {pid}（{program}，已存在 {minutes} 分钟）卡在驱动中，无法结束",
    ),
    why=Text(
        "The driver waits for a GPU that does not answer. Whatever asks for a GPU next hangs in the same way.",
        "驱动在等待失去响应的 GPU。之后任何请求 GPU 的程序都会同样卡住。",
    ),
    cure=Text("Restart the node: no signal reaches it (state D).", "重启节点：该进程处于 D 状态，信号无效。"),
)

NO_DEVICES = Fault(
    code="HRM-DRIVER-019",
    severity=Severity.CRITICAL,
    title=Text("The driver is loaded, and finds no GPU that it can use", "驱动已加载，但没有可用的 GPU"),
    why=Text(
        "No devices were found: GPUs failed to start (see the kernel's log), or this driver does not know them.",
        "No devices were found:GPU 初始化失败（见内核日志），或该驱动不支持此 GPU。",
    ),
    cure=Text(
        "Look in the kernel's log for NVRM and Xid; restart, with the power off where that does not help.",
        "查看内核日志中的 NVRM 和 Xid；重启，必要时断电重启。",
    ),
)

NOT_ALLOWED = Fault(
    code="HRM-DRIVER-020",
    severity=Severity.ERROR,
    title=Text("NVML is not allowed to open the GPUs", "NVML 无权打开 GPU"),
    why=Text(
        "Insufficient Permissions: only some users may open /dev/nvidia*, so jobs of others fail.",
        "Insufficient Permissions:只有部分用户可以打开 /dev/nvidia*，其他用户的作业会失败。",
    ),
    cure=Text(
        "Put the users into the group of the device files, or set NVreg_DeviceFileMode=0666 for the module.",
        "将用户加入设备文件所属的组，或为模块设置 NVreg_DeviceFileMode=0666。",
    ),
)

NO_COMMUNICATION = Fault(
    code="HRM-DRIVER-029",
    severity=Severity.CRITICAL,
    title=Text(
        "Driver {loaded} is loaded, and nvidia-smi cannot talk to it",
        "驱动 {loaded} 已加载，但 nvidia-smi 无法与其通信",
    ),
    why=Text(
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver: the device files are missing, "
        "or the driver did not start its GPUs.",
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver:"
        "缺少设备文件，或驱动未能启动 GPU。",
    ),
    cure=Text(
        "Make the device files (nvidia-modprobe), else look in the kernel's log for NVRM and restart.",
        "创建设备文件（nvidia-modprobe）；否则查看内核日志中的 NVRM 并重启。",
    ),
)


@check(
    "gpu.nvidia-smi",
    MISMATCH_SAID,
    LIBRARY_MISSING,
    NO_ANSWER,
    NO_DEVICES,
    NOT_ALLOWED,
    NO_COMMUNICATION,
)
def nvidia_smi_answers(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """nvidia-smi answers, and finds nothing wrong with the driver."""
    version, _ = loaded(system)
    if not version or system.which("nvidia-smi") is None:
        return
    if one_hangs(system):
        yield Unseen("nvidia-smi: not run, since another one hangs in the kernel")
        return
    told = system.run("nvidia-smi", "-L", timeout_s=SMI_TIMEOUT_S)
    if told.timed_out:
        yield NO_ANSWER.found(limit=f"{SMI_TIMEOUT_S:g}", evidence=(said(told),), cure=_patience())
    elif "Driver/library version mismatch" in told.text:
        yield from _mismatch(system, version, told)
    elif "couldn't communicate with the NVIDIA driver" in told.text:
        yield NO_COMMUNICATION.found(
            loaded=version, evidence=(said(told, "couldn't communicate"), *_modes(system)), cure=_device_files()
        )
    elif re.search(r"couldn't find libnvidia-ml|NVML: (?:Shared )?Library Not Found", told.text, re.IGNORECASE):
        again = by_hand(
            f"If it is still not found: install driver {version} again.", f"若仍找不到：重新安装驱动 {version}。"
        )
        yield LIBRARY_MISSING.found(
            loaded=version, evidence=(said(told, "(?i)libnvidia-ml|Not Found"),), cure=(run("ldconfig"), again)
        )
    elif "No devices were found" in told.text or "NVML: No devices" in told.text:
        look = by_hand(
            "Look in the kernel's log for NVRM and Xid: dmesg | grep -E 'NVRM|Xid'.",
            "查看内核日志：dmesg | grep -E 'NVRM|Xid'。",
        )
        yield NO_DEVICES.found(evidence=(said(told, "(?i)no devices"),), cure=(look, reboot()))
    elif "Insufficient Permissions" in told.text:
        yield NOT_ALLOWED.found(evidence=(said(told, "Insufficient"), *_modes(system)), cure=(_allow(),))


@check("gpu.driver-stuck", STUCK, quick=True)
def nothing_is_stuck_in_the_driver(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """No process waits in the driver for a GPU that does not answer."""
    if not loaded(system)[0]:
        return
    for one in processes(system):
        if one.hangs:
            place = waits_in(system, one.pid)
            proof = _blocked(system, one, place)
            if proof is not None:
                age = age_s(system, one.pid)
                yield STUCK.found(
                    pid=one.pid,
                    program=one.shown,
                    minutes="?" if age is None else round(age / 60),
                    evidence=(*proof, *_where(system, one, place)),
                    cure=(reboot(),),
                )


def _blocked(system: System, one: Running, place: str) -> tuple[Evidence, ...] | None:
    """What shows that it is not busy but stuck; None where nothing does. Programs that work are in state D at times."""
    if one.name == "nvidia-smi" and not _LOOPS.search(one.command_line):
        age = age_s(system, one.pid)
        if age is not None and age >= STUCK_S:
            return ()
    if not (one.name.startswith(("nvidia-", "nv-")) or _IN_DRIVER.search(place)):
        return None
    told = [line.evidence for line, _ in kernel_lines(system, rf"task \S+:{one.pid} blocked for more than")]
    return tuple(told[-1:]) or None


def _mismatch(system: System, version: str, told: Output) -> Iterator[Finding]:
    """What nvidia-smi says of it; nothing where the library of the system is the wrong one: that is another check's."""
    own = next(iter(libraries.nvml(system)), None)
    if own is not None and own.version != version:
        return
    # Since driver 510 it says which library it has: "NVML library version: 535.129".
    library = re.search(rf"NVML library version: ({libraries.VERSION})", told.text)
    yield MISMATCH_SAID.found(
        library=library[1] if library else "?",
        loaded=version,
        evidence=(said(told, "mismatch"), *((said(told, "NVML library version"),) if library else ())),
        cure=(
            run("ldconfig"),
            by_hand(
                "Look which one is loaded: LD_DEBUG=libs nvidia-smi 2>&1 | grep libnvidia-ml; take it away, or its "
                "directory out of LD_LIBRARY_PATH and /etc/ld.so.conf.d.",
                "查看实际加载的库：LD_DEBUG=libs nvidia-smi 2>&1 | grep libnvidia-ml；将其移除，"
                "或从 LD_LIBRARY_PATH 和 /etc/ld.so.conf.d 中删除其目录。",
            ),
        ),
    )


def _where(system: System, one: Running, place: str) -> tuple[Evidence, ...]:
    state = Evidence(f"/proc/{one.pid}/stat", f"state D{f', in {place}' if place else ''}: {one.shown}")
    held = holders_of_gpus(system).found
    return (state, *(evidence_of(holder) for holder in held if holder.process.pid == one.pid))


def _patience() -> tuple[Step, ...]:
    return (
        run("nvidia-persistenced", about=Text("Keep the GPUs awake.", "保持 GPU 唤醒。"), done_if=("already running",)),
        reboot(),
    )


def _modes(system: System) -> tuple[Evidence, ...]:
    found = system.stat("/dev/nvidiactl")
    if found is None:
        return (Evidence("/dev/nvidiactl", "not there"),)
    return (Evidence("/dev/nvidiactl", f"mode {found.mode & 0o777:04o}, group {found.gid}"),)


def _device_files() -> tuple[Step, ...]:
    about = Text("Make the device files.", "创建设备文件。")
    return (run("nvidia-modprobe", "-u", "-c", "0", about=about), run("nvidia-smi", "-L"), reboot())


def _allow() -> Step:
    return by_hand(
        "usermod -aG video USER for each user, or `options nvidia NVreg_DeviceFileMode=0666` in /etc/modprobe.d and "
        "load the module again.",
        "对每个用户执行 usermod -aG video 用户名，或在 /etc/modprobe.d 中设置 options nvidia NVreg_DeviceFileMode=0666 "
        "并重新加载模块。",
        risk=Risk.DISRUPTIVE,
    )
