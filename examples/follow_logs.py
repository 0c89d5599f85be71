"""Follow a task's output while it is written, as `hrm logs -f` does.

Shows: `logs(follow=True)`, which waits for a task that has not begun, goes on through its retries, and takes a broken
connection up again where it was. Leaves out: standard error (``stream="stderr"``, one more follower).

    python examples/follow_logs.py [APPLICATION_ID]
"""

from __future__ import annotations

import sys

from hrm import Client
from hrm.model.jobs import JobSpec, TaskGroupSpec

COUNTDOWN = "for n in 3 2 1; do echo $n; sleep 0.2; done; echo lift-off"


def main() -> int:
    with Client() as client:
        if len(sys.argv) > 1:
            application_id = sys.argv[1]
        else:
            job = JobSpec(groups=(TaskGroupSpec(command=("sh", "-c", COUNTDOWN)),))
            application_id = client.submit(job).application_id
        for piece in client.logs(application_id, follow=True):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        return client.wait(application_id).exit_code or 0


if __name__ == "__main__":
    sys.exit(main())
