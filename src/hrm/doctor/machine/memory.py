"""Memory: how much there is and how much is left, whether the machine swaps itself to death, and errors of modules."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hrm.doctor.addresses import read_value
from hrm.doctor.checks import check
from hrm.doctor.evidence import line_of
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.steps import by_hand, run
from hrm.doctor.system import System
from hrm.model.findings import Evidence, Finding, Risk, Severity, Step, Text

MEMINFO = "/proc/meminfo"
PRESSURE = "/proc/pressure/memory"
EDAC = "/sys/devices/system/edac/mc"
_CPUS = "/sys/devices/system/cpu/online"
#: Available memory below both is little.
_LITTLE_PART = 0.03
_LITTLE_KIB = 1024 * 1024
#: Part of the time in which every task waited for memory, in percent over a minute.
_THRASHES_PERCENT = 20.0
#: KiB a second, in and out, of `vmstat`.
_THRASHES_KIB = 4096
_MANY_CORRECTED = 100
#: Firmware and the kernel keep some for themselves.
_KEPT_PART = 0.06

LITTLE_LEFT = Fault(
    code="HRM-MEMORY-001",
    severity=Severity.WARNING,
    title=Text("Only {left} MiB of {total} MiB memory are available", "{total} MiB 内存中只剩 {left} MiB 可用"),
    why=Text(
        "What asks for more is killed by the kernel, or makes it kill others.",
        "再申请内存的程序会被内核结束，或导致别的程序被结束。",
    ),
    cure=Text(
        "End what takes too much, or give jobs their memory as a limit.", "结束占用过多的程序，或给作业设置内存上限。"
    ),
)
THRASHES = Fault(
    code="HRM-MEMORY-002",
    severity=Severity.WARNING,
    title=Text("The machine waits for memory more than it works ({measure})", "机器忙于换页，几乎不干活（{measure}）"),
    why=Text(
        "Programs wait for their own memory to come back from disk: all of them are slow, and timeouts are missed.",
        "程序在等待自己的内存从磁盘换回：都很慢，并会超时。",
    ),
    cure=Text(
        "End what takes too much memory; on compute nodes turn swap off.",
        "结束占用内存过多的程序；计算节点应关闭 swap。",
    ),
)
UNCORRECTED = Fault(
    code="HRM-MEMORY-003",
    severity=Severity.ERROR,
    title=Text(
        "{module} had {count} memory errors that could not be corrected", "{module} 有 {count} 个无法纠正的内存错误"
    ),
    why=Text("Programs crash on it, or reckon on with wrong data.", "程序会崩溃，或带着错误数据继续计算。"),
    cure=Text("Replace the module.", "更换该内存条。"),
)
CORRECTED = Fault(
    code="HRM-MEMORY-004",
    severity=Severity.WARNING,
    title=Text("{module} had {count} corrected memory errors", "{module} 有 {count} 个已纠正的内存错误"),
    why=Text("So many of them announce that the module will fail.", "这么多错误说明该内存条即将损坏。"),
    cure=Text("Plan to replace the module.", "安排更换该内存条。"),
)
SMALLER = Fault(
    code="HRM-MEMORY-005",
    severity=Severity.ERROR,
    title=Text(
        "The machine has {total} MiB of memory, and is to have {wanted} MiB",
        "本机内存为 {total} MiB，应为 {wanted} MiB",
    ),
    why=Text(
        "A module is not seen any more, or was taken out: jobs that need it do not fit.",
        "有内存条未被识别或被取走：需要它的作业放不下。",
    ),
    cure=Text("Seat the modules anew, look at the firmware's list of them.", "重新插好内存条，查看固件中的内存列表。"),
)
FEWER_CPUS = Fault(
    code="HRM-MEMORY-006",
    severity=Severity.WARNING,
    title=Text(
        "The machine has {count} CPUs online, and is to have {wanted}", "本机在线 CPU 为 {count} 个，应为 {wanted} 个"
    ),
    why=Text("Some were turned off, or the firmware hides them.", "有些被关闭，或被固件隐藏。"),
    cure=Text(
        "Turn them on (/sys/devices/system/cpu/cpuN/online), or mend the firmware's settings.",
        "开启它们（/sys/devices/system/cpu/cpuN/online），或改正固件设置。",
    ),
)


@check("memory.available", LITTLE_LEFT, quick=True)
def memory_is_left(system: System, expected: Expected) -> Iterator[Finding]:
    """There is memory left for programs."""
    known = _meminfo(system)
    total, left = known.get("MemTotal"), known.get("MemAvailable")
    if total is None or left is None:
        return
    if left[0] < _LITTLE_KIB and left[0] < total[0] * _LITTLE_PART:
        yield LITTLE_LEFT.found(
            left=left[0] // 1024,
            total=total[0] // 1024,
            evidence=[total[1], left[1]],
            cure=[
                run(
                    "ps", "-eo", "pid,user,rss,args", "--sort=-rss", about=Text("See who has it.", "查看谁占用了内存。")
                ),
                by_hand(
                    "End what takes too much, or have it ended by its owner.", "结束占用过多的程序，或请其所有者结束。"
                ),
            ],
        )


@check("memory.swapping", THRASHES, quick=True)
def memory_is_not_swapped_to_and_fro(system: System, expected: Expected) -> Iterator[Finding]:
    """Programs do not wait for their memory to come back from disk (pressure stall information, Linux 4.20)."""
    for number, line in enumerate((system.read(PRESSURE) or "").splitlines(), 1):
        found = re.match(r"full .*\bavg60=([0-9.]+)", line)
        if found and float(found[1]) > _THRASHES_PERCENT:
            yield THRASHES.found(
                measure=f"{float(found[1]):.0f} % of the last minute",
                evidence=[line_of(PRESSURE, number, line)],
                cure=_calm(),
            )


@check("memory.swap-rate", THRASHES)
def older_kernels_do_not_swap_to_and_fro(system: System, expected: Expected) -> Iterator[Finding]:
    """The same on kernels that do not tell of pressure, where swap is used."""
    known = _meminfo(system)
    total, free = known.get("SwapTotal", (0, None))[0], known.get("SwapFree", (0, None))[0]
    if system.stat(PRESSURE) is not None or total == free:
        return
    output = system.run("vmstat", "1", "2")
    # The first line of figures is of all the time since boot.
    words = output.lines[-1].split() if output.ok and len(output.lines) >= 4 else []
    if (
        len(words) > 7
        and words[6].isdigit()
        and words[7].isdigit()
        and min(int(words[6]), int(words[7])) > _THRASHES_KIB
    ):
        yield THRASHES.found(
            measure=f"{words[6]} KiB/s in, {words[7]} KiB/s out",
            evidence=[Evidence("vmstat 1 2", output.lines[-1].strip())],
            cure=_calm(),
        )


@check("memory.ecc", UNCORRECTED, CORRECTED, quick=True)
def modules_have_no_errors(system: System, expected: Expected) -> Iterator[Finding]:
    """Memory controllers count no errors (EDAC)."""
    for controller in system.list(EDAC):
        if not re.fullmatch(r"mc\d+", controller):
            continue
        place = f"{EDAC}/{controller}"
        modules = [f"{place}/{name}" for name in system.list(place) if re.fullmatch(r"(dimm|rank)\d+", name)]
        for directory, prefix in [(module, "dimm_") for module in modules] or [(place, "")]:
            name = read_value(system, f"{directory}/dimm_label") or directory.removeprefix(f"{EDAC}/")
            for kind, fault, least in (("ue", UNCORRECTED, 1), ("ce", CORRECTED, _MANY_CORRECTED)):
                path = f"{directory}/{prefix}{kind}_count"
                count = read_value(system, path)
                if count.isdigit() and int(count) >= least:
                    yield fault.found(
                        module=name,
                        count=int(count),
                        evidence=[Evidence(path, count)],
                        cure=[
                            by_hand(f"Drain the node and replace {name}.", f"排空节点并更换 {name}。", risk=Risk.REBOOT)
                        ],
                    )


@check("memory.size", SMALLER, FEWER_CPUS, quick=True)
def machine_is_as_large_as_it_is_to_be(system: System, expected: Expected) -> Iterator[Finding]:
    """Memory and CPUs are as many as are expected."""
    wanted_mib, wanted_cpus = expected.machine.memory_mib, expected.machine.cpus
    total = _meminfo(system).get("MemTotal")
    if wanted_mib is not None and total is not None and total[0] // 1024 < wanted_mib * (1 - _KEPT_PART):
        yield SMALLER.found(
            total=total[0] // 1024,
            wanted=wanted_mib,
            evidence=[total[1]],
            cure=[
                by_hand(
                    "Seat the modules anew; dmidecode -t memory lists them.",
                    "重新插好内存条；dmidecode -t memory 可列出。",
                    risk=Risk.REBOOT,
                )
            ],
        )
    online = (system.read(_CPUS) or "").strip()
    if wanted_cpus is not None and online and _count(online) < wanted_cpus:
        yield FEWER_CPUS.found(
            count=_count(online),
            wanted=wanted_cpus,
            evidence=[Evidence(_CPUS, online)],
            cure=[
                by_hand(
                    "Turn them on, or look at the firmware's settings.", "开启它们，或检查固件设置。", risk=Risk.REBOOT
                )
            ],
        )


def _meminfo(system: System) -> dict[str, tuple[int, Evidence]]:
    """KiB by name, with the line."""
    known = {}
    for number, line in enumerate((system.read(MEMINFO) or "").splitlines(), 1):
        words = line.split()
        if len(words) > 1 and words[1].isdigit():
            known[words[0].rstrip(":")] = (int(words[1]), line_of(MEMINFO, number, line))
    return known


def _count(ranges: str) -> int:
    """Of ``0-15,32``."""
    bounds = [part.partition("-") for part in ranges.split(",")]
    return sum(int(last or first) - int(first) + 1 for first, _, last in bounds)


def _calm() -> list[Step]:
    return [
        run(
            "ps",
            "-eo",
            "pid,user,rss,args",
            "--sort=-rss",
            about=Text("See who takes the memory.", "查看谁占用了内存。"),
        ),
        by_hand(
            "End what takes too much. On compute nodes: swapoff -a.",
            "结束占用过多的程序。计算节点：swapoff -a。",
            risk=Risk.DISRUPTIVE,
        ),
    ]
