"""A task that saves its work, ends when others are due, and goes on from there when it is run again.

    hrm submit --queue batch --gpus 1 --tasks 4 -- python examples/checkpointed_task.py --state /data/run7 --steps 600

Each task keeps a file of its own in the directory, so that whichever node it is run on next must see that directory
too. What is done in a step here is to wait; the rest is what a real program needs:

- at the start it goes on from the last checkpoint;
- now and then it saves one, whole or not at all, and touches `HRM_CHECKPOINT_FILE`, so that the scheduler knows what
  would be lost;
- told to end (TERM, and the file that `HRM_PREEMPTION_FILE` names), it finishes its step, saves, and ends with an exit
  code that is not 0, because it is not done. HRM does not count that as a failure.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import time
from pathlib import Path
from types import FrameType

#: EX_TEMPFAIL: not done, to be run again.
NOT_DONE = 75


class Work:
    """So many steps, and how many of them are done and saved."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.done = int(file.read_text()) if file.exists() else 0

    def save(self) -> None:
        """Whole or not at all: a name is changed in one go."""
        new = self._file.with_suffix(".new")
        new.write_text(str(self.done))
        new.replace(self._file)
        if told := os.environ.get("HRM_CHECKPOINT_FILE"):
            Path(told).touch()


class Notice:
    """Whether this task is to end for others."""

    def __init__(self) -> None:
        self._file = Path(os.environ.get("HRM_PREEMPTION_FILE", "/nonexistent"))
        self._stopped = False
        signal.signal(signal.SIGTERM, self._hear)

    def _hear(self, _signum: int, _frame: FrameType | None) -> None:
        # No more than a mark: what is in the middle of something must not be stopped there. With the file TERM says
        # what the file says, and if that goes again this task is spared; without it somebody stops this task.
        self._stopped = self._stopped or not self._file.exists()

    @property
    def ends(self) -> bool:
        """True iff it is time to save and end."""
        return self._stopped or self._file.exists()

    @property
    def reason(self) -> str:
        try:
            return str(json.loads(self._file.read_text())["reason"])
        except FileNotFoundError:
            return "told to end"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, help="directory for checkpoints, seen by all nodes")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--step-s", type=float, default=0.1, help="seconds that a step takes")
    parser.add_argument("--save-every", type=int, default=50, help="steps between two checkpoints")
    options = parser.parse_args()

    notice = Notice()
    options.state.mkdir(parents=True, exist_ok=True)
    work = Work(options.state / f"task-{os.environ.get('HRM_TASK_INDEX', '0')}")
    print(f"goes on after step {work.done}, restart {os.environ.get('HRM_RESTART_COUNT', '0')}", flush=True)
    while work.done < options.steps:
        time.sleep(options.step_s)
        work.done += 1
        if notice.ends:
            work.save()
            print(f"saved step {work.done}: {notice.reason}", flush=True)
            return NOT_DONE
        if work.done % options.save_every == 0:
            work.save()
    work.save()
    print(f"done after step {work.done}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
