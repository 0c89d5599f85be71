"""The containers that are not over: how they are granted, begin, are told to end, and end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import replace

from hrm.am.protocol import Container
from hrm.core.commands import Allocate, ContainerEnded, ContainerResized, EndCause, ExecutionTypeChanged
from hrm.core.events import CheckpointSaved, ContainerFinished
from hrm.model.containers import ContainerUsage, ExitReason, ExitRecord, StartRecord
from hrm.model.requests import ExecutionType
from hrm.model.states import ApplicationState, ContainerState
from hrm.rm.applications import LiveContainer
from hrm.rm.kernel import Kernel
from hrm.rm.records import ContainerRow
from hrm.rm.turn import STOP_GRACE_S, Turn


class Containers(Mapping[str, LiveContainer]):
    """By the text of their ids. In the turns of the manager."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._live: MutableMapping[str, LiveContainer] = {}
        #: Those whose start is not written yet: most end before it is worth a write of its own.
        self._started_unwritten: dict[str, LiveContainer] = {}

    def __getitem__(self, name: str) -> LiveContainer:
        return self._live[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._live)

    def __len__(self) -> int:
        return len(self._live)

    def expect(self, container: LiveContainer) -> None:
        """After a restart: the store says that this one was not over."""
        self._live[container.row.container_id] = container

    # --- beginning

    def granted(self, turn: Turn, grant: Allocate) -> None:
        """The scheduler decided so; its master is to hear of it."""
        app = self._kernel.applications[grant.container_id.attempt.application]
        name = str(grant.container_id)
        container = LiveContainer(
            grant.container_id,
            ContainerRow(
                container_id=name,
                application_seq=app.row.seq,
                attempt_number=grant.container_id.attempt.number,
                node_id=grant.node_id,
                resources=grant.resources,
                device_ids=grant.device_ids,
                priority=grant.priority,
                state=ContainerState.ALLOCATED,
                allocated_at=turn.now,
                tags=tuple(sorted(grant.tags)) or None,
                execution_type=grant.execution_type,
            ),
        )
        app.containers[name] = container
        self._live[name] = container
        turn.touch(container)
        app.granted.append(
            Container(
                container_id=name,
                node_id=grant.node_id,
                resources=grant.resources,
                device_ids=grant.device_ids,
                priority=grant.priority,
                allocation_request_id=grant.allocation_request_id,
                tags=tuple(sorted(grant.tags)),
                execution_type=grant.execution_type,
            )
        )
        if app.row.state is ApplicationState.ACCEPTED:
            app.move(ApplicationState.RUNNING, started_at=turn.now)
            turn.touch(app)
            self._kernel.record(turn, "application_running", application_seq=app.row.seq)
        self._kernel.stir(app)

    def resized(self, turn: Turn, command: ContainerResized) -> None:
        """The scheduler lets it hold more, or has taken back what it gave up: its node is to hold it to that."""
        container = self._live.get(str(command.container_id))
        if container is None:
            return
        name, before, now = container.row.container_id, container.row.resources, command.resources
        container.change(resources=now)
        turn.touch(container)
        turn.resize(command.node_id, name, now)
        app = self._kernel.applications.get(command.container_id.attempt.application)
        if app is not None:
            self._kernel.record(
                turn,
                "container_resized",
                application_seq=app.row.seq,
                container_id=name,
                node_id=command.node_id,
                before=before.as_dict(),
                now=now.as_dict(),
            )
            app.resized[name] = now
            self._kernel.stir(app)
        if not before.fits_in(now):
            self._kernel.pacer.room(command.node_id)

    def retyped(self, turn: Turn, command: ExecutionTypeChanged) -> None:
        """The scheduler promoted or demoted it. Its node need not know: it runs as before."""
        container = self._live.get(str(command.container_id))
        if container is None:
            return
        name = container.row.container_id
        container.change(execution_type=command.execution_type)
        turn.touch(container)
        app = self._kernel.applications.get(command.container_id.attempt.application)
        if app is not None:
            self._kernel.record(
                turn,
                "container_promoted" if command.execution_type is ExecutionType.GUARANTEED else "container_demoted",
                application_seq=app.row.seq,
                container_id=name,
                node_id=command.node_id,
            )
            app.retyped[name] = command.execution_type
            self._kernel.stir(app)
        if command.execution_type is ExecutionType.OPPORTUNISTIC:
            # For others it is as if it had ended.
            self._kernel.pacer.room(command.node_id)

    def started(self, turn: Turn, node_id: str, record: StartRecord) -> None:
        """A node says so. What nobody owns, or not any more, must not run."""
        name = record.container_id
        container = self._live.get(name)
        if container is None:
            turn.stop(node_id, name)
        elif container.row.pid is None:
            container.begin(record)
            self._started_unwritten[name] = container
            if app := self._kernel.applications.get(container.id.attempt.application):
                app.master.started(name, record.started_at)
        if container is not None and record.launch > (container.row.launches or 1):
            self._relaunched(turn, container, record)

    def _relaunched(self, turn: Turn, container: LiveContainer, record: StartRecord) -> None:
        """Its node started it anew in place, maybe more than once since it was last heard of."""
        container.change(launches=record.launch, pid=record.pid)
        turn.touch(container)
        self._kernel.record(
            turn,
            "container_relaunched",
            application_seq=container.row.application_seq,
            container_id=record.container_id,
            node_id=container.row.node_id,
            launch=record.launch,
            message=record.message,
        )

    def write_starts(self, turn: Turn) -> None:
        """Those that are still running by now."""
        for container in self._started_unwritten.values():
            turn.touch(container)
        self._started_unwritten.clear()

    def used(self, turn: Turn, usage: ContainerUsage) -> None:
        """A node says what a container uses, how far its task is, and when that saved its work last."""
        container = self._live.get(usage.container_id)
        if container is None:
            return
        saved_at = container.usage.saved_at if container.usage else None
        container.usage = usage
        if usage.saved_at is not None and usage.saved_at != saved_at:
            self._kernel.tell(turn, CheckpointSaved(container.id, usage.saved_at))
        app = self._kernel.applications.get(container.id.attempt.application)
        if usage.progress is not None and app is not None:
            app.master.report_progress(usage.container_id, usage.progress)

    # --- being told to end

    def stop(self, turn: Turn, container: LiveContainer, reason: str, *, grace_s: float = STOP_GRACE_S) -> None:
        """Have its node end it. One whose node is away is stopped when that comes back."""
        stopping = container.row.state is ContainerState.STOPPING
        if not stopping:
            container.move(ContainerState.STOPPING, message=reason)
            turn.touch(container)
        if (not stopping or grace_s < STOP_GRACE_S) and self._kernel.nodes.is_up(container.row.node_id):
            turn.stop(container.row.node_id, container.row.container_id, grace_s)

    def stop_named(self, turn: Turn, stop: tuple[str, str]) -> None:
        """Stop one by its id, for the reason; no error if it has ended."""
        name, reason = stop
        if container := self._live.get(name):
            self.stop(turn, container, reason)

    def kill(self, turn: Turn, container: LiveContainer, reason: str) -> None:
        """End it without delay, launched or not. The scheduler still has it on its books."""
        if container.row.task_index is None:
            self._kernel.tell(turn, ContainerFinished(container.id))
            self._never_began(turn, container, reason)
            self._kernel.pacer.room(container.row.node_id)
        else:
            self.stop(turn, container, reason, grace_s=0.0)

    def lose_devices(self, turn: Turn, node_id: str, lost: Mapping[str, str]) -> None:
        """Work on these devices cannot go on, and might never notice: each with the reason, for whose work it was."""
        for container in list(self._live.values()):
            if container.row.node_id == node_id and container.lost_device is None:
                why = next((lost[one] for one in container.row.device_ids if one in lost), None)
                if why is not None:
                    container.lost_device = why
                    self.stop(turn, container, why)

    # --- ending

    def off_the_books(self, turn: Turn, ended: ContainerEnded) -> None:
        """The scheduler took a container off its books by itself."""
        container = self._live.get(str(ended.container_id))
        if container is None:
            return
        if ended.cause is EndCause.NODE_LOST:
            self.lose(turn, container, "its node was lost")
        elif container.row.task_index is None:
            self._never_began(turn, container, f"given back unused ({ended.cause})")
        else:
            self.stop(turn, container, f"off the books ({ended.cause})")

    def finished(self, turn: Turn, node_id: str, record: ExitRecord) -> None:
        """A node says so, perhaps again: it goes on until it hears that the end is on disk."""
        turn.acknowledge(node_id, record.container_id)
        container = self._live.get(record.container_id)
        if container is None:
            return
        self._kernel.tell(turn, ContainerFinished(container.id))
        if container.lost_device is not None and record.exit_code:
            record = replace(record, reason=ExitReason.LOST, exit_code=None, detail=container.lost_device)
        self._end(turn, container, record)
        self._kernel.pacer.room(node_id)

    def lose(self, turn: Turn, container: LiveContainer, why: str) -> None:
        """Nobody knows how it ended; it does not run any more, or nobody will ever know."""
        record = ExitRecord(
            container_id=container.row.container_id,
            reason=ExitReason.LOST,
            exit_code=None,
            started_at=container.row.started_at,
            ended_at=turn.now,
            detail=why,
        )
        self._end(turn, container, record)

    def _never_began(self, turn: Turn, container: LiveContainer, why: str) -> None:
        """Granted, never launched: there is no process whose end could be reported."""
        record = ExitRecord(
            container_id=container.row.container_id,
            reason=ExitReason.NOT_STARTED,
            exit_code=None,
            started_at=None,
            ended_at=turn.now,
            detail=why,
        )
        self._end(turn, container, record)

    def _end(self, turn: Turn, container: LiveContainer, record: ExitRecord) -> None:
        name = container.row.container_id
        del self._live[name]
        if not self._live:
            turn.after_commit(lambda: self._kernel.on_idle())
        self._started_unwritten.pop(name, None)
        app = self._kernel.applications.get(container.id.attempt.application)
        owned = app is not None and not app.attempt.row.state.final
        container.end(record, owned=owned)
        turn.touch(container)
        if app is not None and owned:
            if container.row.task_index is None:
                app.containers.pop(name, None)
            app.completed.append(record)
            self._kernel.stir(app)
