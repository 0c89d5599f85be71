"""Applications that are suspended: all their containers are halted, and what they hold stays theirs.

Written down with the application, so that a restart changes nothing; told to the nodes after that, and once more
whenever a node registers. The time that it takes counts for no time limit (as with Slurm's suspend).
"""

from __future__ import annotations

from hrm.model.errors import Conflict
from hrm.model.ids import ApplicationId
from hrm.model.states import ApplicationState, ContainerState
from hrm.rm.applications import LiveApplication, LiveContainer
from hrm.rm.kernel import Kernel
from hrm.rm.turn import Turn


def suspend(turn: Turn, kernel: Kernel, application_id: ApplicationId, by: str) -> None:
    """Halt what runs of it, and ask for nothing new. Again does nothing. Raises Conflict."""
    app = _running(kernel, application_id)
    if app.row.suspended_at is not None:
        return
    app.change(suspended_at=turn.now)
    turn.touch(app)
    app.master.pause()
    kernel.stir(app)
    for container in app.containers.values():
        tell(turn, kernel, app, container)
    kernel.record(turn, "application_suspended", application_seq=app.row.seq, user=by)


def resume(turn: Turn, kernel: Kernel, application_id: ApplicationId, by: str) -> None:
    """Let it go on. Nothing happens to one that is not suspended. Raises Conflict."""
    app = _running(kernel, application_id)
    if app.row.suspended_at is not None:
        lift(turn, kernel, app)
        kernel.record(turn, "application_resumed", application_seq=app.row.seq, user=by)


def lift(turn: Turn, kernel: Kernel, app: LiveApplication) -> None:
    """It is suspended no more: because it goes on, or because it ends."""
    suspended_at = app.row.suspended_at
    assert suspended_at is not None, "asked before"
    app.change(suspended_at=None)
    turn.touch(app)
    delays = {}
    for name, container in app.containers.items():
        began_at = container.row.started_at or turn.now
        delays[name] = max(0.0, turn.now - max(suspended_at, began_at))
        container.change(suspended_s=(container.row.suspended_s or 0.0) + delays[name])
        turn.touch(container)
        tell(turn, kernel, app, container)
    app.master.go_on(delays)
    kernel.stir(app)


def tell(turn: Turn, kernel: Kernel, app: LiveApplication, container: LiveContainer) -> None:
    """Its node, if that is there: one that comes back is told then."""
    row = container.row
    launched = row.task_index is not None and row.state in (ContainerState.ALLOCATED, ContainerState.RUNNING)
    if launched and kernel.nodes.is_up(row.node_id):
        turn.freeze(row.node_id, row.container_id, frozen=app.row.suspended_at is not None)


def registered(turn: Turn, kernel: Kernel, container: LiveContainer) -> None:
    """Its node came back with it. Who was suspended once may not have heard that it goes on."""
    app = kernel.applications.get(container.id.attempt.application)
    if app is not None and (app.row.suspended_at is not None or container.row.suspended_s is not None):
        tell(turn, kernel, app, container)


def _running(kernel: Kernel, application_id: ApplicationId) -> LiveApplication:
    app = kernel.applications.get(application_id)
    if app is None or app.row.state.final:
        raise Conflict(f"{application_id} is over")
    if app.row.kill_requested:
        raise Conflict(f"{application_id} is being ended")
    if app.row.state is not ApplicationState.RUNNING:
        raise Conflict(f"nothing of {application_id} runs yet", next_step="`hrm kill` takes it out of its queue")
    return app
