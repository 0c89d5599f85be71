"""Run many tasks as one application and collect what each of them found.

Shows: an array (each task learns its number from ``HRM_TASK_INDEX``), retries, following the count of ended tasks,
and reading each task's output. Leaves out: large results, which belong into files.

    python examples/array_of_tasks.py [TASKS]
"""

from __future__ import annotations

import sys

from hrm import Client
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.resources import Resources


def main() -> int:
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    squares = TaskGroupSpec(
        command=("sh", "-c", "echo $((HRM_TASK_INDEX * HRM_TASK_INDEX))"),
        tasks=tasks,
        retries=1,
        resources=Resources.parse(cpus="0.25", memory="64M"),
    )
    with Client() as client:
        application_id = client.submit(JobSpec(name="squares", groups=(squares,))).application_id
        while not (report := client.wait(application_id, timeout_s=1.0)).state.final:
            print(f"{report.tasks_succeeded} of {report.tasks_total} done {report.message}")
        found = [int(b"".join(client.logs(application_id, task=index))) for index in range(tasks)]
    print(f"{report.state}: {found}")
    return report.exit_code or 0


if __name__ == "__main__":
    sys.exit(main())
