"""Jobs of kind `ray`: a gang whose containers form a private Ray cluster for one script."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

from hrm.config import ray_program
from hrm.model.errors import InvalidInput
from hrm.model.jobs import GangSpec, JobSpec

#: The program goes along in the environment: nothing of HRM need be installed for the job's Python.
PROGRAM = "HRM_RAY_JOB"
TOKEN = "HRM_RAY_JOB_TOKEN"
_RUN = f"import os; exec(compile(os.environ['{PROGRAM}'], 'hrm_ray_job', 'exec'))"
_PYTHON = "python3"


def ray_job(job: JobSpec) -> JobSpec:
    """``job``, whose command is a Python script with its arguments, as a gang that runs it on Ray.

    With each call another token: who has it may run anything in the job's cluster. Raises InvalidInput.
    """
    if len(job.groups) != 1:
        raise InvalidInput("a job of kind ray has one group", field="groups", next_step="one script, and `tasks`")
    if job.master is not None:
        raise InvalidInput("a job of kind ray has no master of its own", field="kind")
    [group] = job.groups
    if group.resources.memory_mib < ray_program.LEAST_MIB:
        raise InvalidInput(
            f"a job of kind ray needs {ray_program.LEAST_MIB} MiB for each task, for Ray's own processes",
            field="memory",
            next_step="ask for 1G or more",
        )
    program = Path(ray_program.__file__).read_text(encoding="utf-8")
    env = {**group.env, PROGRAM: program, TOKEN: secrets.token_hex(32)}
    group = replace(group, command=(_PYTHON, "-c", _RUN, *group.command), env=env)
    return replace(job, groups=(group,), gang=job.gang or GangSpec())
