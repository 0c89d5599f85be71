"""Applications that may not live longer than to some moment, whatever they do (YARN's lifetime timeout)."""

from __future__ import annotations

from hrm.model.errors import Conflict, InvalidInput
from hrm.model.ids import ApplicationId
from hrm.rm.kernel import Kernel
from hrm.rm.turn import Turn


def set_deadline(turn: Turn, kernel: Kernel, application_id: ApplicationId, at: float | None, by: str) -> None:
    """``at`` is epoch seconds; None: it may live for ever. Raises Conflict (it is over) and InvalidInput (past)."""
    app = kernel.applications.get(application_id)
    if app is None or app.row.state.final or app.row.kill_requested:
        raise Conflict(f"{application_id} is over", next_step="`hrm ps` lists those that are not")
    if at is not None and at <= turn.now:
        raise InvalidInput("is over already", field="deadline", next_step="name a time to come, or end it")
    app.change(deadline_at=at)
    turn.touch(app)
    kernel.record(turn, "application_deadline_changed", application_seq=app.row.seq, deadline_at=at, user=by)


def end_overdue(turn: Turn, kernel: Kernel) -> None:
    """End those whose time is over; suspended or not, as in YARN."""
    for app in list(kernel.applications.values()):
        deadline = app.row.deadline_at
        if deadline is not None and deadline <= turn.now and not app.row.kill_requested:
            kernel.kill(turn, app.id, "Application killed due to exceeding its lifetime period")
