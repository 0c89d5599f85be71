"""What the numbers of Xid messages mean, and what is done about each.

After NVIDIA's catalogue, https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html, and its older table for
GPUs up to Volta, https://docs.nvidia.com/deploy/xid-errors/. What they say to do comes down to four actions here; where
they ask for a reset of the GPU it is the reboot, since a reset needs every program off the GPU just the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hrm.model.findings import Severity, Text


class Action(StrEnum):
    """What is done about an Xid. There is nothing else."""

    IGNORE = "ignore"
    CHECK_PROGRAM = "check the program"
    REBOOT = "reboot"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Meaning:
    """Of one number."""

    text: Text
    action: Action
    #: None: as usual for the action.
    severity: Severity | None = None


def meaning_of(number: int, words: str) -> Meaning | None:
    """``words``: what follows the number in the message. None where the catalogue does not tell what to do."""
    if number == 154:
        return _recovery(words)
    if number in range(144, 151):
        # They come with a word of their own for how bad it is.
        fatal = "nonfatal" not in words.lower().replace("-", "") and "fatal" in words.lower()
        return Meaning(Text("error of NVLink", "NVLink 错误"), Action.REBOOT if fatal else Action.IGNORE)
    return _MEANINGS.get(number)


def _recovery(words: str) -> Meaning:
    """The driver says itself what it needs: ``changed from 0x0 (None) to 0x1 (GPU Reset Required)``."""
    wanted = words.rpartition(" to ")[2].lower()
    calm = "(none)" in wanted
    text = Text("the driver says what the GPU needs to recover", "驱动说明了该 GPU 恢复所需的操作")
    return Meaning(text, Action.IGNORE if calm else Action.REBOOT)


def _of(action: Action, en: str, zh: str, *numbers: int, severity: Severity | None = None) -> dict[int, Meaning]:
    return {number: Meaning(Text(en, zh), action, severity) for number in numbers}


_MEANINGS: dict[int, Meaning] = {
    **_of(
        Action.CHECK_PROGRAM,
        "the program left the GPU without an answer for too long",
        "程序使 GPU 长时间无响应",
        8,
        43,
    ),
    **_of(
        Action.CHECK_PROGRAM, "invalid or corrupted commands to the GPU", "发给 GPU 的命令无效或已损坏", 11, 25, 32, 80
    ),
    **_of(
        Action.CHECK_PROGRAM,
        "exception in a kernel of the program (often an address out of bounds)",
        "程序的核函数异常（常为越界访问）",
        13,
    ),
    **_of(Action.CHECK_PROGRAM, "the program touched GPU memory that is not its own", "程序访问了不属于它的显存", 31),
    **_of(
        Action.CHECK_PROGRAM,
        "exception of a copy engine",
        "拷贝引擎异常",
        *(39, 40, 41, 70, 71, 72, 75, 76, 77, 85, *range(126, 136)),
    ),
    **_of(
        Action.CHECK_PROGRAM,
        "exception of a video or image engine",
        "视频或图像引擎异常",
        *(60, 68, 82, 83, 84, 86, 88, 89, *range(96, 106), 139, 142),
    ),
    **_of(Action.CHECK_PROGRAM, "the program used the graphics engine wrongly", "程序错误地使用了图形引擎", 69),
    **_of(
        Action.CHECK_PROGRAM,
        "memory error that was contained: only the program that met it ended",
        "显存错误已被隔离，只有遇到它的程序被终止",
        94,
    ),
    **_of(
        Action.IGNORE, "message of the driver's for its makers", "仅供驱动开发者参考的消息", 14, 37, 38, 44, 66, 67, 141
    ),
    **_of(Action.IGNORE, "clean-up after a program that ended or failed", "程序结束或出错后的清理", 45),
    **_of(Action.IGNORE, "error of a display", "显示器错误", 16, 56),
    **_of(
        Action.IGNORE,
        "a bad piece of GPU memory was exchanged; it takes effect when the GPU next starts",
        "已替换损坏的显存单元，GPU 下次启动时生效",
        63,
    ),
    **_of(Action.IGNORE, "wear limit of the GPU's settings memory", "GPU 配置存储的磨损上限", 93),
    **_of(Action.IGNORE, "test message", "测试消息", 106, 107),
    **_of(Action.IGNORE, "an NVLink peer refused an access", "NVLink 对端拒绝访问", 108, 137),
    **_of(Action.IGNORE, "corrected error of the link to the CPU", "与 CPU 之间链路的可纠正错误", 121),
    **_of(Action.IGNORE, "error of the deep learning accelerator", "深度学习加速单元错误", 152, 153),
    **_of(Action.IGNORE, "a channel was taken out of use", "一个通道已停用", 160, 161),
    **_of(Action.IGNORE, "state of the power smoothing", "功率平滑状态", 162, 163),
    **_of(
        Action.IGNORE, "details of an uncorrectable memory error (Xid 48)", "不可纠正显存错误（Xid 48）的详情", 171, 172
    ),
    **_of(
        Action.REBOOT,
        "the GPU stopped working on a program and cannot be freed",
        "GPU 停止处理程序且无法释放",
        46,
        109,
        158,
    ),
    **_of(Action.REBOOT, "uncorrectable memory error (double-bit ECC)", "不可纠正的显存错误（双比特 ECC）", 48),
    **_of(Action.REBOOT, "the GPU's memory interface is unstable", "GPU 显存接口不稳定", 57, 58),
    **_of(
        Action.REBOOT,
        "a controller within the GPU warns",
        "GPU 内部控制器告警",
        61,
        severity=Severity.WARNING,
    ),
    **_of(Action.REBOOT, "a controller within the GPU has halted", "GPU 内部控制器已停止", 62, 169),
    **_of(Action.REBOOT, "error of NVLink", "NVLink 错误", 74, 136, 155),
    **_of(Action.REBOOT, "the GPU has fallen off the bus", "GPU 已从总线上掉线", 79),
    **_of(
        Action.REBOOT,
        "memory error that was not contained: all programs on the GPU are affected",
        "显存错误未被隔离，该 GPU 上所有程序受影响",
        95,
    ),
    **_of(Action.REBOOT, "security fault of the GPU", "GPU 安全故障", 110),
    **_of(Action.REBOOT, "the GPU's system processor (GSP) does not answer", "GPU 系统处理器（GSP）无响应", 119, 120),
    **_of(Action.REBOOT, "uncorrectable error in the GPU's memory (ECC)", "GPU 存储的不可纠正错误（ECC）", 140),
    **_of(Action.REBOOT, "the GPU cannot be started", "GPU 无法初始化", 143),
    **_of(
        Action.REBOOT,
        "a part of the GPU was taken out of use; a start of the GPU completes it",
        "GPU 的部分单元已停用，重新启动 GPU 后生效",
        156,
    ),
    **_of(Action.REBOOT, "the PCIe link to the GPU timed out", "GPU 的 PCIe 链路超时", 167),
    **_of(Action.REPLACE, "the power cable of the GPU is not connected", "GPU 辅助供电线未连接", 54),
    **_of(Action.REPLACE, "bad GPU memory could not be exchanged any more", "损坏的显存已无法再替换", 64, 157),
    **_of(
        Action.REPLACE,
        "many corrected memory errors: the memory is ageing",
        "可纠正的显存错误过多，显存正在老化",
        92,
        severity=Severity.WARNING,
    ),
    **_of(
        Action.REPLACE,
        "the power smoothing circuit is worn out",
        "功率平滑电路寿命耗尽",
        164,
        165,
        severity=Severity.WARNING,
    ),
    **_of(Action.REPLACE, "memory that the GPU needs for itself is bad", "GPU 自身所需的存储已损坏", 168),
}
