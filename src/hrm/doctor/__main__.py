"""One round in a process of its own: ``python -m hrm.doctor [--full] [--only=AREA]…``, as NodeManagers run it.

Reads `Expected` as JSON from its input and prints a `DoctorReport` as JSON; without ``--full`` of the quick checks
alone. Ends with 2, and one line on stderr, where ``--only`` names what there is not. A check that hangs in the kernel
hangs here.
"""

from __future__ import annotations

import os
import sys

import msgspec

from hrm.doctor.expected import Expected
from hrm.doctor.registry import all_checks, all_facts, chosen
from hrm.doctor.runner import examine
from hrm.doctor.system import LocalSystem
from hrm.model.errors import InvalidInput


def main() -> None:
    """See the module."""
    expected = msgspec.json.decode(sys.stdin.buffer.read() or b"{}", type=Expected)
    full = "--full" in sys.argv
    only = [word.partition("=")[2] for word in sys.argv[1:] if word.startswith("--only=")]
    try:
        checks = [check for check in chosen(all_checks(), only) if full or check.quick]
    except InvalidInput as error:
        sys.exit(_usage(error))
    report = examine(os.uname().nodename, LocalSystem(), expected, checks, all_facts() if full else ())
    sys.stdout.buffer.write(msgspec.json.encode(report))
    sys.stdout.flush()
    # Threads of checks that hang are not waited for.
    os._exit(0)


def _usage(error: InvalidInput) -> int:
    sys.stderr.write(f"{error.problem}\n")
    return 2


if __name__ == "__main__":
    main()
