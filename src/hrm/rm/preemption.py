"""Containers that are to end for other applications: warned, spared where nobody needs that any more, or killed.

The scheduler decides whom and when (`hrm.core.preemption`). Here that is written down, and told to the container by
its node and to its master. A warning outlives a restart as far as it explains an end; the new scheduler knows of none,
so what still runs then is spared and looked at anew.
"""

from __future__ import annotations

from dataclasses import replace

from hrm.core.commands import KillContainer, PreemptContainer, ReclaimContainer, Starvation
from hrm.core.wording import say_amount, say_figure
from hrm.model.containers import Preemption
from hrm.model.phrases import Phrase, phrase, say
from hrm.model.resources import GPUS, Resources
from hrm.model.states import ContainerState
from hrm.rm.applications import LiveContainer
from hrm.rm.containers import Containers
from hrm.rm.kernel import Kernel
from hrm.rm.turn import Turn


class Preemptions:
    """In the turns of the manager."""

    def __init__(self, kernel: Kernel, containers: Containers) -> None:
        self._kernel = kernel
        self._containers = containers
        #: Those whose warning stands.
        self._warned: dict[str, LiveContainer] = {}

    def warn(self, turn: Turn, command: PreemptContainer) -> None:
        """The scheduler wants it to end by a time."""
        container = self._containers.get(str(command.container_id))
        if container is None or container.row.state is ContainerState.STOPPING:
            # Over, or on its way out for another reason; should it still be there at the time, it is killed.
            return
        beneficiary = self._kernel.applications.get(command.beneficiary)
        queue = beneficiary.row.queue if beneficiary else ""
        said = reason(command, container.row.resources, queue)
        preemption = Preemption(
            warned_at=turn.now,
            kill_at=command.kill_at,
            reason=say(said),
            beneficiary=str(command.beneficiary),
            said=said,
        )
        self._warned[container.row.container_id] = container
        self._change(turn, container, preemption)
        self._tell(turn, container)
        self._record(
            turn,
            "container_warned",
            container,
            message=preemption.reason,
            said=said.as_dict(),
            kill_at=command.kill_at,
            beneficiary=preemption.beneficiary,
            beneficiary_queue=queue,
            starvation=command.starvation.value,
            starved_s=command.starved_s,
            beneficiary_used=command.beneficiary_used.as_dict(),
            beneficiary_fair_share=command.beneficiary_fair_share.as_dict(),
            left=command.left_to_victim.as_dict(),
            fair_share=command.victim_fair_share.as_dict(),
        )

    def kill(self, turn: Turn, command: KillContainer) -> None:
        """Its time is over, and it has not ended."""
        container = self._containers.get(str(command.container_id))
        if container is None:
            return
        self._warned.pop(container.row.container_id, None)
        why = f"preempted for {command.beneficiary}"
        if (preemption := container.row.preemption) is not None:
            why = preemption.reason
            if container.row.state is not ContainerState.STOPPING:
                self._change(turn, container, replace(preemption, killed=True))
                said = None if preemption.said is None else preemption.said.as_dict()
                self._record(turn, "container_killed", container, message=why, said=said)
        self._containers.kill(turn, container, why)

    def reclaim(self, turn: Turn, command: ReclaimContainer) -> None:
        """It is opportunistic, and in the way of somebody guaranteed: it ends without a warning."""
        container = self._containers.get(str(command.container_id))
        if container is None:
            return
        said = phrase("preempted.shrunk")
        if command.beneficiary is not None:
            beneficiary = self._kernel.applications.get(command.beneficiary)
            queue = beneficiary.row.queue if beneficiary else ""
            said = phrase("preempted.reclaimed", app=str(command.beneficiary), queue=queue)
        if container.row.state is not ContainerState.STOPPING:
            preemption = Preemption(
                warned_at=turn.now,
                kill_at=turn.now,
                reason=say(said),
                beneficiary=str(command.beneficiary or ""),
                killed=True,
                said=said,
            )
            self._change(turn, container, preemption)
            self._record(turn, "container_killed", container, message=preemption.reason, said=said.as_dict())
        self._containers.kill(turn, container, say(said))

    def look(self, turn: Turn) -> None:
        """Spare those that the scheduler wants nothing from any more."""
        for name, container in list(self._warned.items()):
            if name not in self._containers:
                del self._warned[name]
                continue
            view = self._kernel.scheduler.container_view(container.id)
            if view is None or view.ends_for is None:
                self._spare(turn, container)

    def registered(self, turn: Turn, container: LiveContainer, *, recovering: bool) -> None:
        """Its node came back with it. ``recovering``: to a new server, whose scheduler knows of no warning."""
        preemption = container.row.preemption
        if preemption is None:
            return
        if preemption.killed:
            turn.stop(container.row.node_id, container.row.container_id, 0.0)
        elif preemption.stands and recovering:
            self._spare(turn, container)
        else:
            # It may not have heard.
            self._tell(turn, container)

    def _spare(self, turn: Turn, container: LiveContainer) -> None:
        preemption = container.row.preemption
        assert preemption is not None, "only who was warned is spared"
        self._warned.pop(container.row.container_id, None)
        self._change(turn, container, replace(preemption, spared_at=turn.now))
        self._tell(turn, container)
        self._record(turn, "container_spared", container, beneficiary=preemption.beneficiary)

    def _change(self, turn: Turn, container: LiveContainer, preemption: Preemption) -> None:
        container.change(preemption=preemption)
        turn.touch(container)
        if app := self._kernel.applications.get(container.id.attempt.application):
            app.preemptions[container.row.container_id] = preemption
            self._kernel.stir(app)

    def _tell(self, turn: Turn, container: LiveContainer) -> None:
        row = container.row
        if row.preemption is not None and row.task_index is not None and self._kernel.nodes.is_up(row.node_id):
            turn.warn(row.node_id, row.container_id, row.preemption.notice if row.preemption.stands else None)

    def _record(self, turn: Turn, kind: str, container: LiveContainer, **facts: object) -> None:
        row = container.row
        self._kernel.record(
            turn,
            kind,
            application_seq=row.application_seq,
            container_id=row.container_id,
            node_id=row.node_id,
            task_index=row.task_index,
            attempt=row.task_attempt,
            **facts,
        )


def reason(command: PreemptContainer, held: Resources, queue: str) -> Phrase:
    """``preempted for application_1_0002 of queue research, which had 1 of its fair share of 4 GPUs for 30s``.

    Of the resources that the container holds, it is the one that the other lacked most of its share of.
    """
    who, seconds = str(command.beneficiary), command.starved_s
    if command.starvation is Starvation.MIN_SHARE:
        return phrase("preempted.min_share", app=who, queue=queue, seconds=seconds)
    share, used = command.beneficiary_fair_share, command.beneficiary_used
    lacking = {
        name: (used.get(name) / amount, name != GPUS, at)
        for at, (name, amount) in enumerate(share.items())
        if amount and held.get(name)
    }
    if not lacking:
        return phrase("preempted.fair_share", app=who, queue=queue, seconds=seconds)
    name = min(lacking, key=lambda one: lacking[one])
    return phrase(
        "preempted.had",
        app=who,
        queue=queue,
        used=say_figure(name, used.get(name)),
        share=say_amount(name, share.get(name)),
        seconds=seconds,
    )
