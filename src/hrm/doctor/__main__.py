"""One quick round in a process of its own: ``python -m hrm.doctor``, as NodeManagers run it.

Reads `Expected` as JSON from its input and prints a `DoctorReport` as JSON. A check that hangs in the kernel hangs
here, and not in the server.
"""

from __future__ import annotations

import os
import sys

import msgspec

from hrm.doctor.expected import Expected
from hrm.doctor.registry import all_checks
from hrm.doctor.runner import examine
from hrm.doctor.system import LocalSystem


def main() -> None:
    """See the module."""
    expected = msgspec.json.decode(sys.stdin.buffer.read() or b"{}", type=Expected)
    checks = [check for check in all_checks() if check.quick]
    report = examine(os.uname().nodename, LocalSystem(), expected, checks)
    sys.stdout.buffer.write(msgspec.json.encode(report))
    sys.stdout.flush()
    # Threads of checks that hang are not waited for.
    os._exit(0)


if __name__ == "__main__":
    main()
