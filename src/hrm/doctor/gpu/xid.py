"""Xid messages: what the driver tells the kernel's log of GPUs that fail, and of programs that fail on them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from hrm.doctor.checks import Unseen, check
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.gpu.cards import Cards, bus_address, cards
from hrm.doctor.gpu.xid_meanings import Action, Meaning, meaning_of
from hrm.doctor.kernel_log import KernelLine, kernel_lines
from hrm.doctor.steps import by_hand, reboot
from hrm.doctor.system import System
from hrm.model.findings import Evidence, Finding, Risk, Severity, Step, Text

#: What programs did longer ago is of no use to anybody.
_PROGRAMS_WITHIN_S = 86400.0
_MAX_EVIDENCE = 3
#: Once the driver is loaded anew, GPUs start anew, and what was before is over.
_DRIVER_LOADS = r"NVRM: loading NVIDIA UNIX"
_XID = r"NVRM: Xid \((?:(?:PCI:)?(?P<xid_at>[0-9A-Fa-f:.]+)[^)]*)\): (?P<number>\d+)(?:, (?P<words>.*))?"
#: Before 2012, and beside Xid 79 ever since; newest drivers spread it over three lines.
_OFF_BUS = r"NVRM: GPU (?:at )?(?:PCI:)?(?P<off_at>[0-9A-Fa-f:.]+?):? (?:GPU )?has fallen off the bus"
_OFF_BUS_OPENS = r"NVRM: The NVIDIA GPU (?P<opens_at>[0-9A-Fa-f:.]+)"
_OFF_BUS_ENDS = r"(?P<ends>NVRM: fallen off the bus and is not responding)"
_INIT = r"NVRM: GPU (?P<init_at>[0-9A-Fa-f:.]+?):? RmInitAdapter failed"
_INIT_MINOR = r"NVRM: rm_init_adapter(?:\(\))? failed for device bearing minor number (?P<minor>\d+)"
_UUID = r"NVRM: GPU at (?:PCI:)?(?P<uuid_at>[0-9A-Fa-f:.]+?): (?P<uuid>GPU-[0-9a-f-]{36})"
_SXID = r"nvidia-nvswitch\d+: SXid \((?:PCI:)?(?P<switch>[0-9A-Fa-f:.]+)\): (?P<sxid>\d+), (?P<bad>Fatal)"
_ALL = "|".join((_DRIVER_LOADS, _XID, _OFF_BUS, _OFF_BUS_OPENS, _OFF_BUS_ENDS, _INIT_MINOR, _INIT, _UUID, _SXID))
_FALLEN_OFF = 79
_RECOVERY = 154


def _title(en: str, zh: str) -> Text:
    return Text(f"GPU {{card}}: Xid {{number}}, {{meaning}} ({en})", f"GPU {{card}}:Xid {{number}},{{meaning}}({zh})")


XID_TO_IGNORE = Fault(
    code="HRM-XID-001",
    severity=Severity.INFO,
    title=_title("nothing to do", "无需处理"),
    why=Text(
        "The driver tells what it did. Nothing has to be done about this one alone.",
        "驱动记录了它的操作，单独出现时无需处理。",
    ),
    cure=Text("None is needed. Other Xids of the same GPU say more.", "无需处理。若同一 GPU 还有其他 Xid，以其为准。"),
)
XID_OF_A_PROGRAM = Fault(
    code="HRM-XID-002",
    severity=Severity.INFO,
    title=_title("check the program", "检查程序"),
    why=Text(
        "A program did something wrong on the GPU and was ended. The GPU is fine unless good programs meet it too.",
        "某个程序在 GPU 上出错并被终止。除非正常的程序也遇到，否则 GPU 没有问题。",
    ),
    cure=Text(
        "Check the program: run it under compute-sanitizer. If different programs meet it here only, test the GPU.",
        "检查该程序：用 compute-sanitizer 运行它。若不同程序只在此 GPU 上遇到，再检测该 GPU。",
    ),
)
XID_NEEDS_REBOOT = Fault(
    code="HRM-XID-003",
    severity=Severity.ERROR,
    title=_title("restart the node", "重启节点"),
    why=Text(
        "The GPU does not work properly: programs on it fail, hang or compute wrongly until it is started anew.",
        "该 GPU 已不能正常工作：在重新启动之前，其上的程序会失败、卡住或算错。",
    ),
    cure=Text(
        "Restart the node when its other GPUs are free. If it comes again, check power, cooling and seat.",
        "待其他 GPU 空闲后重启节点。若再次出现，检查供电、散热和插槽。",
    ),
)
XID_NEEDS_REPLACEMENT = Fault(
    code="HRM-XID-004",
    severity=Severity.ERROR,
    title=_title("replace it", "更换"),
    why=Text(
        "The hardware is worn out or damaged. Starting it anew does not help for long.",
        "硬件老化或损坏，重新启动不能长久解决。",
    ),
    cure=Text(
        "Check cables and seat, test it with `dcgmi diag -r 3`, and have it replaced.",
        "检查线缆和插槽，用 `dcgmi diag -r 3` 检测，然后更换。",
    ),
)
XID_UNKNOWN = Fault(
    code="HRM-XID-005",
    severity=Severity.WARNING,
    title=Text("GPU {card}: Xid {number}, whose meaning is not known", "GPU {card}:Xid {number}，含义未知"),
    why=Text(
        "The driver tells of an error that its makers do not explain to the public.",
        "驱动报告了一个厂商未公开说明的错误。",
    ),
    cure=Text(
        "Look the number up in NVIDIA's Xid catalogue. If it comes again, restart the node and tell the vendor.",
        "在 NVIDIA 的 Xid 目录中查询该编号。若再次出现，重启节点并联系厂商。",
    ),
)
GPU_CANNOT_START = Fault(
    code="HRM-XID-006",
    severity=Severity.ERROR,
    title=Text("The driver cannot start GPU {card}", "驱动无法启动 GPU {card}"),
    why=Text(
        "nvidia-smi does not show the GPU, and no program can use it.",
        "nvidia-smi 不显示该 GPU，任何程序都无法使用它。",
    ),
    cure=Text(
        "Restart the node. If it stays so, check power cables and seat, then replace the GPU.",
        "重启节点。若仍然如此，检查供电线和插槽，然后更换 GPU。",
    ),
)
SWITCH_FATAL = Fault(
    code="HRM-XID-007",
    severity=Severity.ERROR,
    title=Text("NVSwitch {switch}: fatal SXid {number}", "NVSwitch {switch}：致命错误 SXid {number}"),
    why=Text(
        "GPUs cannot reach each other by this switch: programs on several GPUs fail or hang.",
        "GPU 之间无法通过该交换芯片通信：使用多个 GPU 的程序会失败或卡住。",
    ),
    cure=Text(
        "End what runs on the GPUs and restart the node. If it comes again, have the board checked.",
        "结束 GPU 上的程序并重启节点。若再次出现，请检修主板。",
    ),
)
_FAULTS = {
    Action.IGNORE: XID_TO_IGNORE,
    Action.CHECK_PROGRAM: XID_OF_A_PROGRAM,
    Action.REBOOT: XID_NEEDS_REBOOT,
    Action.REPLACE: XID_NEEDS_REPLACEMENT,
}


@dataclass(slots=True)
class _Log:
    """What the log says since the driver was loaded."""

    #: By address ("" where none is given) and number.
    xids: dict[tuple[str, int], list[tuple[KernelLine, str]]] = field(default_factory=dict)
    #: GPUs that could not be started: address or minor number, and the lines.
    unstarted: dict[str, list[KernelLine]] = field(default_factory=dict)
    switches: dict[tuple[str, str], list[KernelLine]] = field(default_factory=dict)
    #: By address; the log says them beside the first Xid of a GPU.
    uuids: dict[str, str] = field(default_factory=dict)


@check(
    "gpu.xid",
    XID_TO_IGNORE,
    XID_OF_A_PROGRAM,
    XID_NEEDS_REBOOT,
    XID_NEEDS_REPLACEMENT,
    XID_UNKNOWN,
    GPU_CANNOT_START,
    SWITCH_FATAL,
    quick=True,
)
def xids(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """The kernel's log tells of no GPU that fails."""
    log = _read(system)
    known = cards(system)
    for (address, number), all_lines in log.xids.items():
        meaning = meaning_of(number, all_lines[-1][1])
        lines = all_lines
        if meaning is not None and meaning.action in (Action.IGNORE, Action.CHECK_PROGRAM):
            since = system.now() - _PROGRAMS_WITHIN_S
            lines = [(line, words) for line, words in lines if line.at is None or line.at >= since]
        if lines:
            yield _found(known, log, address, number, meaning, lines)
    for where, init_lines in log.unstarted.items():
        card = known.by_minor(int(where)) if where.isdecimal() else known.at(where)
        yield GPU_CANNOT_START.found(
            card=card.shown if card else where,
            gpu=card.id if card else log.uuids.get(where) or where,
            # It was started once, so this may have been for a moment; nvidia-smi is asked by another check.
            severity=Severity.WARNING if card and card.uuid else None,
            evidence=_evidence(init_lines),
            cure=_reboot_cure(),
        )
    for (switch, sxid), switch_lines in log.switches.items():
        yield SWITCH_FATAL.found(switch=switch, number=sxid, evidence=_evidence(switch_lines), cure=_reboot_cure())


def _read(system: System) -> _Log:
    log = _Log()
    opened = ""
    for line, found in kernel_lines(system, _ALL):
        said = found.groupdict()
        if said["number"]:
            address, number, words = bus_address(said["xid_at"]), int(said["number"]), said["words"] or ""
            if number == _RECOVERY and "(None)" in words.rpartition(" to ")[2]:
                # It was reset, and is well.
                log.xids = {key: lines for key, lines in log.xids.items() if key[0] != address}
            else:
                log.xids.setdefault((address, number), []).append((line, words))
        elif said["uuid"]:
            log.uuids[bus_address(said["uuid_at"])] = said["uuid"]
        elif said["opens_at"]:
            opened = bus_address(said["opens_at"])
        elif said["off_at"] or said["ends"]:
            address = bus_address(said["off_at"]) if said["off_at"] else opened
            log.xids.setdefault((address, _FALLEN_OFF), []).append((line, ""))
        elif said["init_at"] or said["minor"]:
            log.unstarted.setdefault(bus_address(said["init_at"]) if said["init_at"] else said["minor"], []).append(
                line
            )
        elif said["sxid"]:
            log.switches.setdefault((said["switch"], said["sxid"]), []).append(line)
        else:
            log = _Log()
    return log


def _found(
    known: Cards,
    log: _Log,
    address: str,
    number: int,
    meaning: Meaning | None,
    lines: list[tuple[KernelLine, str]],
) -> Finding:
    card = known.at(address)
    gpu = card.id if card and card.uuid else log.uuids.get(address) or (card.id if card else address)
    shown = card.shown if card else address
    evidence = _evidence([line for line, _ in lines])
    if meaning is None:
        return XID_UNKNOWN.found(card=shown, number=number, gpu=gpu, evidence=evidence, cure=_UNKNOWN_CURE)
    # Both texts have the same names, but a meaning is in one language.
    fault = _FAULTS[meaning.action]
    found = fault.found(
        card=shown,
        number=number,
        meaning=meaning.text.en,
        gpu=gpu,
        severity=meaning.severity,
        evidence=evidence,
        cure=_cure(meaning.action, lines[-1][1], gpu),
    )
    return replace(found, title=Text(found.title.en, found.title.zh.replace(meaning.text.en, meaning.text.zh)))


def _cure(action: Action, words: str, gpu: str) -> tuple[Step, ...]:
    if action is Action.IGNORE:
        return ()
    if action is Action.CHECK_PROGRAM:
        name, pid = re.search(r"name=([^,<]+)", words), re.search(r"pid='?(\d+)", words)
        program = " ".join((*(name.groups() if name else ()), *((f"(pid {pid[1]})",) if pid else ())))
        return (
            by_hand(
                f"Look into the program {program}: run it under compute-sanitizer, and on another GPU.",
                f"检查程序 {program}：用 compute-sanitizer 运行，并换一个 GPU 试。",
            ),
        )
    if action is Action.REBOOT:
        return _reboot_cure()
    return (
        by_hand(
            f"Look at the GPU's power cables and seat; test it: dcgmi diag -r 3 -i {gpu}. Then have it replaced.",
            f"检查该 GPU 的供电线和插槽，并检测：dcgmi diag -r 3 -i {gpu}。然后更换。",
            risk=Risk.DISRUPTIVE,
        ),
    )


def _reboot_cure() -> tuple[Step, ...]:
    return (reboot(),)


def _evidence(lines: list[KernelLine]) -> tuple[Evidence, ...]:
    return tuple(line.evidence for line in lines[-_MAX_EVIDENCE:])


_UNKNOWN_CURE = (
    by_hand(
        "Look the number up: https://docs.nvidia.com/deploy/xid-errors/",
        "查询该编号：https://docs.nvidia.com/deploy/xid-errors/",
    ),
)
