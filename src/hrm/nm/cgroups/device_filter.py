"""Which GPUs a cgroup of version 2 may open: a small eBPF program, because there is no file for it.

The kernel asks the program at each open (and mknod) of a device node, with the node's kind, major and minor number;
1 allows, 0 denies (``BPF_PROG_TYPE_CGROUP_DEVICE``, Linux 4.15). Programs of cgroups above are asked too.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Collection, Iterable

#: Number of bpf(2), which the C library has no function for.
_SYSCALLS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361}
_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH = 5, 8, 9
_PROG_TYPE_CGROUP_DEVICE = 15
_ATTACH_CGROUP_DEVICE = 6
#: Programs of cgroups below are asked as well as this one.
_ALLOW_MULTI = 2
_CHARACTER_DEVICE = 2

# Opcodes, and the registers that are used: r0 is the answer, r1 points to what is asked.
_LOAD_WORD, _AND, _JUMP_IF_NOT, _JUMP_IF, _SET, _EXIT = 0x61, 0x54, 0x55, 0x15, 0xB7, 0x95
_KIND, _MAJOR, _MINOR = 2, 3, 4


def program(denied_majors: Iterable[int], allowed: Collection[tuple[int, int]]) -> bytes:
    """Instructions that deny the character devices of ``denied_majors``, but for those ``allowed`` by both numbers."""
    # struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }: the kind is the low half of the first.
    code = [
        _instruction(_LOAD_WORD, _KIND, source=1, offset=0),
        _instruction(_LOAD_WORD, _MAJOR, source=1, offset=4),
        _instruction(_LOAD_WORD, _MINOR, source=1, offset=8),
        _instruction(_SET, 0, value=1),
        _instruction(_AND, _KIND, value=0xFFFF),
        _instruction(_JUMP_IF, _KIND, offset=1, value=_CHARACTER_DEVICE),
        _instruction(_EXIT),
    ]
    for major, minor in sorted(allowed):
        code += [
            _instruction(_JUMP_IF_NOT, _MAJOR, offset=2, value=major),
            _instruction(_JUMP_IF_NOT, _MINOR, offset=1, value=minor),
            _instruction(_EXIT),
        ]
    for major in sorted(set(denied_majors)):
        code += [
            _instruction(_JUMP_IF_NOT, _MAJOR, offset=2, value=major),
            _instruction(_SET, 0, value=0),
            _instruction(_EXIT),
        ]
    code.append(_instruction(_EXIT))
    return b"".join(code)


def load(instructions: bytes) -> int:
    """A descriptor of the program in the kernel, which has checked it. Raises OSError (EPERM without rights)."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    # prog_type, insn_cnt, insns, license, log_level, log_size, log_buf, kern_version, prog_flags
    attributes = struct.pack(
        "=IIQQIIQII",
        _PROG_TYPE_CGROUP_DEVICE,
        len(instructions) // 8,
        ctypes.addressof(code),
        ctypes.addressof(licence),
        0, 0, 0, 0, 0,
    )  # fmt: skip
    fd = _bpf(_PROG_LOAD, attributes)
    os.set_inheritable(fd, False)
    return fd


def attach(cgroup_fd: int, program_fd: int) -> None:
    """From now on it is asked for everybody in the cgroup. Raises OSError."""
    _bpf(_PROG_ATTACH, struct.pack("=IIII", cgroup_fd, program_fd, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI))


def detach(cgroup_fd: int, program_fd: int) -> None:
    """Raises OSError (ENOENT if it is not attached there)."""
    _bpf(_PROG_DETACH, struct.pack("=IIII", cgroup_fd, program_fd, _ATTACH_CGROUP_DEVICE, 0))


def _instruction(opcode: int, register: int = 0, *, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhi", opcode, register | source << 4, offset, value)


def _bpf(command: int, attributes: bytes) -> int:
    number = _SYSCALLS.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"bpf(2) has no known number on {os.uname().machine}")
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = ctypes.CDLL(None, use_errno=True).syscall(number, command, buffer, len(attributes))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)
