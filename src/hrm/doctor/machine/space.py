"""Room on the disks of this machine: bytes and inodes. What lies on a server is the business of the area storage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hrm.doctor.checks import check
from hrm.doctor.expected import Expected
from hrm.doctor.faults import Fault
from hrm.doctor.mounts import mounts, topmost
from hrm.doctor.steps import by_hand, run
from hrm.doctor.system import CannotSee, System
from hrm.model.findings import Evidence, Finding, Severity, Step, Text

#: Full by nature, or of no account of their own.
_NO_ROOM_OF_THEIR_OWN = frozenset(
    {
        "squashfs",
        "iso9660",
        "udf",
        "erofs",
        "cramfs",
        "overlay",
        "aufs",
        "devtmpfs",
        "efivarfs",
        "autofs",
        "fuse.snapfuse",
    }
)
_SPACE = ("df", "-PTkl")
_INODES = ("df", "-PTil")
#: Smaller ones are no place for data: a full /boot of an old machine, a sandbox's own tmpfs.
_MIN_SIZE_KIB = 16 * 1024
_FULL_KIB = 16 * 1024
_LOW_PART = 0.05
_LOW_KIB = 5 * 1024 * 1024
_NEEDED_BY_ALL = ("/", "/tmp", "/var", "/var/tmp")

_CLEAR = Text(
    "Find what is large (du), remove what is not needed, or grow the disk.", "用 du 找出大文件，删除不需要的，或扩容。"
)
FULL = Fault(
    code="HRM-MACHINE-001",
    severity=Severity.ERROR,
    title=Text(
        "{point} is full: {free_mib} MiB left of {size_gib} GiB",
        "{point} 已满：{size_gib} GiB 中只剩 {free_mib} MiB",
    ),
    why=Text("Whatever writes there fails: No space left on device.", "所有写入都会失败：No space left on device。"),
    cure=_CLEAR,
)
LOW = Fault(
    code="HRM-MACHINE-002",
    severity=Severity.WARNING,
    title=Text(
        "{point} is nearly full: {used} % of {size_gib} GiB",
        "{point} 快满了：{size_gib} GiB 已用 {used} %",
    ),
    why=Text("Jobs that write there will fail soon.", "在那里写入的作业不久就会失败。"),
    cure=_CLEAR,
)
NO_INODES = Fault(
    code="HRM-MACHINE-003",
    severity=Severity.ERROR,
    title=Text("{point} has no inodes left ({used} used)", "{point} 的 inode 用完了（已用 {used}）"),
    why=Text(
        "No file can be made there, though df shows free bytes: No space left on device.",
        "虽然 df 显示还有空间，但无法再创建文件：No space left on device。",
    ),
    cure=Text(
        "Find directories with very many small files, and remove what is not needed.",
        "找出小文件极多的目录，删除不需要的。",
    ),
)
FEW_INODES = Fault(
    code="HRM-MACHINE-004",
    severity=Severity.WARNING,
    title=Text("{point} has few inodes left: {used} % are used", "{point} 的 inode 快用完了：已用 {used} %"),
    why=Text("Soon no file can be made there.", "不久就无法再创建文件。"),
    cure=Text(
        "Find directories with very many small files, and remove what is not needed.",
        "找出小文件极多的目录，删除不需要的。",
    ),
)


@dataclass(frozen=True, slots=True)
class _Room:
    point: str
    size: int
    used: int
    free: int
    line: str

    @property
    def used_part(self) -> float:
        """As `df` reckons: what is kept for root is not there for others."""
        return self.used / (self.used + self.free) if self.used + self.free else 0.0


@check("machine.disk-space", FULL, LOW, quick=True)
def disks_have_room(system: System, expected: Expected) -> Iterator[Finding]:
    """Local file systems have room."""
    for room in _rooms(system, _SPACE):
        if room.size < _MIN_SIZE_KIB:
            continue
        full = room.free < min(_FULL_KIB, room.size // 100)
        if full or (room.used_part > 1 - _LOW_PART and room.free < _LOW_KIB):
            yield (FULL if full else LOW).found(
                point=room.point,
                free_mib=room.free // 1024,
                size_gib=f"{room.size / (1024 * 1024):.1f}",
                used=f"{room.used_part * 100:.0f}",
                evidence=[Evidence(" ".join(_SPACE), room.line)],
                severity=Severity.CRITICAL if full and room.point in _NEEDED_BY_ALL else None,
                cure=_clear(room.point, "du", "-xhd1"),
            )


@check("machine.inodes", NO_INODES, FEW_INODES, quick=True)
def disks_have_inodes(system: System, expected: Expected) -> Iterator[Finding]:
    """Local file systems have inodes left."""
    for room in _rooms(system, _INODES):
        # File systems that make them as needed say 0.
        if not room.size or room.used_part <= 1 - _LOW_PART:
            continue
        none = room.free == 0
        yield (NO_INODES if none else FEW_INODES).found(
            point=room.point,
            used=room.used if none else f"{room.used_part * 100:.0f}",
            evidence=[Evidence(" ".join(_INODES), room.line)],
            severity=Severity.CRITICAL if none and room.point in _NEEDED_BY_ALL else None,
            cure=_clear(room.point, "du", "--inodes", "-xd1"),
        )


def _rooms(system: System, argv: tuple[str, ...]) -> list[_Room]:
    output = system.run(*argv)
    if output.timed_out or (not output.lines and not output.missing):
        raise CannotSee(f"{' '.join(argv)}: {'no answer in time' if output.timed_out else output.stderr.strip()}")
    closed = {mount.point for mount in topmost(mounts(system)).values() if mount.read_only or mount.network}
    found = []
    for line in output.lines[1:]:
        words = line.split(None, 6)
        if len(words) < 7 or words[1] in _NO_ROOM_OF_THEIR_OWN or words[6] in closed or not words[2].isdigit():
            continue
        if all(word.isdigit() for word in words[2:5]):
            found.append(_Room(words[6], int(words[2]), int(words[3]), int(words[4]), line))
    return found


def _clear(point: str, *argv: str) -> list[Step]:
    return [
        run(*argv, point, about=Text(f"See what takes the room on {point}.", f"查看 {point} 上占用空间的目录。")),
        by_hand(
            "Remove what is not needed. Deleted files that are still open (lsof +L1) count until their program ends. "
            "hrm clean removes logs of old jobs, docker system prune images of nobody.",
            "删除不需要的文件。已删除但仍打开的文件（lsof +L1）要等程序结束才释放。"
            "hrm clean 清理旧作业的日志，docker system prune 清理无人使用的镜像。",
        ),
    ]
