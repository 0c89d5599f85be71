"""Submit one command, wait for its end, print what it wrote.

Shows: a job, its submission with an id of one's own (running this line twice after a crash submits once), waiting,
output. Leaves out: what to do when no server is up (`hrm up` starts one).

    python examples/submit_and_wait.py
"""

from __future__ import annotations

import sys
import uuid

from hrm import Client
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState


def main() -> int:
    job = JobSpec(
        name="greeting",
        groups=(
            TaskGroupSpec(
                command=("sh", "-c", 'echo "hello from $HRM_APPLICATION_ID"'),
                resources=Resources.parse(cpus="0.5", memory="256M"),
            ),
        ),
    )
    with Client() as client:
        submitted = client.submit(job, submit_id=str(uuid.uuid4()))
        report = client.wait(submitted.application_id)
        sys.stdout.buffer.write(b"".join(client.logs(submitted.application_id)))
    print(f"{report.application_id}: {report.state}, exit code {report.exit_code}")
    return 0 if report.state is ApplicationState.FINISHED else 1


if __name__ == "__main__":
    sys.exit(main())
