"""The doctor's rounds, each in a process of its own as nodes run them: how long, and how much memory.

    python benches/doctor.py [--rounds 10]

The targets: a quick round within 1 s and 30 MB, all checks within 15 s. What is installed decides which checks
have something to do.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

#: Name, and what the process is told.
CASES = (("quick", ()), ("all checks", ("--full",)))


@dataclass(frozen=True)
class Round:
    """One process, from its start to its end."""

    took_s: float
    cpu_s: float
    peak_mib: float
    checks: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    for name, arguments in CASES:
        rounds = [measure(*arguments) for _ in range(options.rounds)]
        took, cpu = statistics.median(one.took_s for one in rounds), statistics.median(one.cpu_s for one in rounds)
        peak, longest = max(one.peak_mib for one in rounds), max(one.took_s for one in rounds)
        print(
            f"{name}: {rounds[0].checks} checks, median {took:.2f} s (longest {longest:.2f} s), "
            f"{cpu:.2f} s of CPU, at most {peak:.0f} MiB"
        )


def measure(*arguments: str) -> Round:
    """Of the process and those that it starts: CPU; memory of the largest of them."""
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "hrm.doctor", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.read())
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, "the round ended badly"
    cpu_s = used.ru_utime + used.ru_stime
    return Round(time.perf_counter() - began, cpu_s, used.ru_maxrss / 1024, len(told["checks_run"]))


if __name__ == "__main__":
    main()
