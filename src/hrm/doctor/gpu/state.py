"""How GPUs are: memory errors, pieces of memory taken out of use, slowed clocks, persistence."""

from __future__ import annotations

from collections.abc import Iterator

from hrm.doctor.checks import Unseen, check
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.gpu.cards import cards
from hrm.doctor.gpu.smi import Answer, Line, ask
from hrm.doctor.steps import by_hand, run
from hrm.doctor.system import System
from hrm.model.findings import Evidence, Finding, Risk, Severity, Step, Text

#: NVIDIA exchanges boards with as many: https://docs.nvidia.com/deploy/dynamic-page-retirement/.
_MAX_RETIRED_PAGES = 60
#: Up to Volta "Double Bit", with a total over all memories; since Ampere by kind of memory and of code.
_UNCORRECTED = r"ECC Errors/Volatile/(Double Bit/Total|(SRAM|DRAM) Uncorrectable.*)"
_WORN = r"Remapped Rows/Remapping Failure Occurred|ECC Errors/.*SRAM Threshold Exceeded|.*Unrepairable Memory"
_PENDING = r"Remapped Rows/Pending|Retired Pages/(Pending|Pending Page Blacklist)|.*(Channel|TPC) Repair Pending"
_RETIRED = r"Retired Pages/(Single|Double) Bit ECC(/Page Count)?"
_REASONS = r"Clocks (Throttle|Event) Reasons/"
#: Power caps, application clocks and idling are no faults.
_SLOW = _REASONS + r"(HW Slowdown|HW Thermal Slowdown|HW Power Brake Slowdown|SW Thermal Slowdown)"

MEMORY_ERRORS = Fault(
    code="HRM-GPU-110",
    severity=Severity.ERROR,
    title=Text(
        "GPU {card} has uncorrectable memory errors since it was started", "GPU {card} 自启动以来有不可纠正的显存错误"
    ),
    why=Text(
        "Programs that met one were ended, and others may meet them again until the GPU starts anew and leaves the bad "
        "memory out.",
        "遇到错误的程序已被终止。在 GPU 重新启动并停用损坏显存之前，其他程序还可能遇到。",
    ),
    cure=Text(
        "Reset the GPU when nothing runs on it, or restart the node.",
        "在 GPU 空闲时复位它，或重启节点。",
    ),
)
MEMORY_PENDING = Fault(
    code="HRM-GPU-111",
    severity=Severity.WARNING,
    title=Text("GPU {card} will leave out bad memory when it next starts", "GPU {card} 将在下次启动时停用损坏的显存"),
    why=Text(
        "Until then the bad piece stays in use.",
        "在此之前损坏的部分仍在使用。",
    ),
    cure=Text(
        "Reset the GPU when nothing runs on it, or restart the node.",
        "在 GPU 空闲时复位它，或重启节点。",
    ),
)
MEMORY_WORN = Fault(
    code="HRM-GPU-112",
    severity=Severity.ERROR,
    title=Text("GPU {card} has more bad memory than it can leave out", "GPU {card} 的损坏显存已无法全部停用"),
    why=Text(
        "Errors will come again and again. The vendor exchanges such boards.", "错误会反复出现，厂商会更换这样的板卡。"
    ),
    cure=Text("Take it out of service and have it replaced.", "停用并更换该 GPU。"),
)
SLOWED_BY_HEAT = Fault(
    code="HRM-GPU-113",
    severity=Severity.WARNING,
    title=Text("GPU {card} is slowed down: {reason}", "GPU {card} 被降频：{reason}"),
    why=Text(
        "Programs on it run slower than elsewhere, and those on several GPUs wait for it.",
        "其上的程序比别处慢，使用多个 GPU 的程序会等待它。",
    ),
    cure=Text(
        "Look at fans, dust and room temperature for heat, at power supplies and their cables for power.",
        "过热：检查风扇、灰尘和机房温度；供电：检查电源及线缆。",
    ),
)
NOT_PERSISTENT = Fault(
    code="HRM-GPU-114",
    severity=Severity.INFO,
    title=Text("Persistence mode of GPU {card} is off", "GPU {card} 未开启持久模式"),
    why=Text(
        "The driver stops the GPU when nothing uses it: every program starts seconds later, and settings are lost.",
        "无程序使用时驱动会关闭该 GPU:每个程序启动慢数秒，设置也会丢失。",
    ),
    cure=Text(
        "Enable nvidia-persistenced, or `nvidia-smi -pm 1`.", "启用 nvidia-persistenced，或执行 `nvidia-smi -pm 1`。"
    ),
)
ASKS_FOR_RECOVERY = Fault(
    code="HRM-GPU-115",
    severity=Severity.ERROR,
    title=Text("GPU {card} asks for recovery: {action}", "GPU {card} 需要恢复：{action}"),
    why=Text("The driver starts no new program on it before.", "在此之前驱动不会在其上启动新程序。"),
    cure=Text("Reset the GPU when nothing runs on it, or restart the node.", "在 GPU 空闲时复位它，或重启节点。"),
)


@check(
    "gpu.state",
    MEMORY_ERRORS,
    MEMORY_PENDING,
    MEMORY_WORN,
    SLOWED_BY_HEAT,
    NOT_PERSISTENT,
    ASKS_FOR_RECOVERY,
    timeout_s=10.0,
)
def states(system: System, expected: Expected) -> Iterator[Finding | Unseen]:
    """GPUs have no memory errors, are not slowed, and stay started."""
    known = cards(system)
    if not known.all:
        return
    for answer in ask(system, known):
        yield from _memory(answer)
        yield from _recovery(answer)
        yield from _slowed(answer)
        persistence = answer.first("Persistence Mode")
        if persistence is not None and persistence.value == "Disabled":
            yield NOT_PERSISTENT.found(
                card=answer.card.shown,
                gpu=answer.card.id,
                evidence=(persistence.evidence,),
                cure=_persist(system, answer),
            )


def _memory(answer: Answer) -> Iterator[Finding]:
    retired = list(answer.like(_RETIRED))
    worn = [
        *(line for line in answer.like(_WORN) if line.value == "Yes"),
        *(retired if sum(line.count for line in retired) >= _MAX_RETIRED_PAGES else ()),
    ]
    for fault, lines, cure in (
        (MEMORY_ERRORS, [line for line in answer.like(_UNCORRECTED) if line.count], _reset(answer)),
        (MEMORY_PENDING, [line for line in answer.like(_PENDING) if line.value == "Yes"], _reset(answer)),
        (MEMORY_WORN, worn, _replace(answer)),
    ):
        if lines:
            yield fault.found(card=answer.card.shown, gpu=answer.card.id, evidence=_evidence(lines), cure=cure)


def _recovery(answer: Answer) -> Iterator[Finding]:
    """What newer drivers say by themselves; older ones answer every question by it."""
    action = answer.first("GPU Recovery Action")
    if action is None or action.value in ("None", "N/A"):
        lost = ("requires reset", "is lost")
        action = next((line for line in answer.lines if any(words in line.value for words in lost)), None)
    if action is not None:
        yield ASKS_FOR_RECOVERY.found(
            card=answer.card.shown,
            action=action.value.strip("[]"),
            gpu=answer.card.id,
            evidence=_evidence([action]),
            cure=_reset(answer),
        )


def _slowed(answer: Answer) -> Iterator[Finding]:
    active = [line for line in answer.like(_SLOW) if line.value == "Active"]
    if not active:
        return
    # "HW Slowdown" is said beside its reason, where that is known.
    last = [line.name.rpartition("/")[2] for line in active]
    reasons = [name for name in last if name != "HW Slowdown"] or last
    temperature = answer.first("Temperature/GPU Current Temp")
    shown = [*active, *([temperature] if temperature else [])]
    yield SLOWED_BY_HEAT.found(
        card=answer.card.shown,
        reason=", ".join(reasons),
        gpu=answer.card.id,
        evidence=_evidence(shown),
        cure=(
            by_hand(
                "Look at fans, dust, room temperature; for a power brake at power supplies and cables.",
                "检查风扇、灰尘和机房温度；若为供电限制，检查电源和线缆。",
            ),
        ),
    )


def _evidence(lines: list[Line]) -> tuple[Evidence, ...]:
    return tuple(line.evidence for line in lines[:4])


def _reset(answer: Answer) -> tuple[Step, ...]:
    return (
        run(
            *("nvidia-smi", "--gpu-reset", "-i", answer.card.uuid or str(answer.card.index)),
            about=Text(
                "Reset the GPU. It fails while a program is on it, and ends none.",
                "复位该 GPU。若有程序正在使用则会失败，不会终止程序。",
            ),
            risk=Risk.DISRUPTIVE,
        ),
        by_hand("Where it cannot be reset, restart the node.", "若无法复位，重启节点。", risk=Risk.REBOOT),
    )


def _replace(answer: Answer) -> tuple[Step, ...]:
    return (
        by_hand(
            f"Test it (dcgmi diag -r 3 -i {answer.card.id}), and have it replaced.",
            f"检测（dcgmi diag -r 3 -i {answer.card.id}）并更换。",
            risk=Risk.DISRUPTIVE,
        ),
    )


def _persist(system: System, answer: Answer) -> tuple[Step, ...]:
    if system.which("nvidia-persistenced") and system.which("systemctl"):
        about = Text("Have the GPUs stay started, also after a restart.", "使 GPU 保持启动，重启后仍有效。")
        return (run("systemctl", "enable", "--now", "nvidia-persistenced", about=about),)
    return (
        run(
            *("nvidia-smi", "-i", answer.card.uuid or str(answer.card.index), "-pm", "1"),
            about=Text("Have the GPU stay started, until the node restarts.", "使 GPU 保持启动，直到节点重启。"),
        ),
    )
