"""Small jobs that come while a large one runs: how long they take under one policy or another.

The question of Zaharia et al. ("Job Scheduling for Multi-User MapReduce Clusters", 2009), with run times that are
known, so that the answer can be worked out beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from hrm.model.queues import Policy
from hrm.model.resources import Resources
from hrm.model.scheduling import SchedulerOptions
from hrm.sim.simulation import Simulation
from hrm.sim.workload import Job, TaskGroup, Workload, in_order
from hrm.testing.builders import node, queue, queues

SLOT = Resources.parse(cpus=1, memory="1G")
LARGE_RUN_S, SMALL_RUN_S = 60.0, 10.0
WAIT_BEFORE_KILL_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """A large job at 0, and ``smalls`` small ones, one each ``every_s``. All tasks need one slot; times in seconds."""

    name: str
    policy: Policy
    slots: int = 20
    large_tasks: int = 600
    smalls: int = 11
    small_tasks: int = 10
    every_s: float = 150.0
    #: True: the first tasks of the large one end one after another, a slot gets free every 3 s; False: in waves.
    staggered: bool = True
    #: How long a job bears less than its fair share before tasks of others end for it; None: for ever.
    preempt_after_s: float | None = None

    def workload(self) -> Workload:
        step_s = LARGE_RUN_S / self.slots if self.staggered else 0.0
        first = tuple(LARGE_RUN_S - step_s * number for number in range(self.slots))
        runs = first + (LARGE_RUN_S,) * (self.large_tasks - self.slots)
        large = Job(name="large", submit_s=0.0, queue="all", groups=(self._tasks(runs),))
        smalls = (
            Job(name=f"small{n}", submit_s=self.every_s * n, queue="all", groups=(self._tasks((SMALL_RUN_S,)),))
            for n in range(1, self.smalls + 1)
        )
        return Workload(
            name=self.name,
            root=queues(
                queue(
                    "all",
                    policy=self.policy,
                    fair_share_preemption_timeout_s=self.preempt_after_s,
                    fair_share_preemption_threshold=1.0,
                ),
                policy="drf",
            ),
            nodes=(node("n1", cpus=self.slots, memory=f"{self.slots}G"),),
            jobs=in_order((large, *smalls)),
            options=SchedulerOptions(wait_before_kill_s=WAIT_BEFORE_KILL_S),
            preempt_every_s=None if self.preempt_after_s is None else 1.0,
        )

    def _tasks(self, runs_s: tuple[float, ...]) -> TaskGroup:
        return TaskGroup(resources=SLOT, run_s=runs_s, tasks=len(runs_s) if len(runs_s) > 1 else self.small_tasks)

    @property
    def predicted(self) -> str:
        """In words, worked out by hand from the run times alone: the large job, and the mean of the small ones."""
        large_s = self.large_tasks * LARGE_RUN_S / self.slots
        if self.policy is Policy.FIFO:
            # None begins before the last task of the large one has begun, one run time before its end.
            waits_s = large_s - LARGE_RUN_S - self.every_s * (self.smalls + 1) / 2
            return f"large {large_s:.0f} s; small {waits_s:.0f} to {waits_s + LARGE_RUN_S + 2 * SMALL_RUN_S:.0f} s"
        large_s += self.smalls * self.small_tasks * SMALL_RUN_S / self.slots
        if self.preempt_after_s is not None:
            # Timeout, wait before the kill, own run time; each of the two is seen at most a second late.
            small_s = self.preempt_after_s + WAIT_BEFORE_KILL_S + SMALL_RUN_S
            return f"large over {large_s:.0f} s; small {small_s:.0f} to {small_s + 2:.0f} s"
        # Its half of the slots gets free within one run time of a large task.
        return f"large {large_s:.0f} s; small at most {LARGE_RUN_S + SMALL_RUN_S:.0f} s"

    def play(self) -> Response:
        """Run it in virtual time."""
        simulation = Simulation(self.workload())
        simulation.run()
        took = {app.job.name: app.ended_at - app.job.submit_s for app in simulation.apps}
        small = [response_s for name, response_s in took.items() if name != "large"]
        return Response(took["large"], fmean(small), max(small))


@dataclass(frozen=True, slots=True)
class Response:
    """From submission to the end of the last task, in seconds."""

    large_s: float
    small_mean_s: float
    small_max_s: float
