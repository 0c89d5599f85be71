"""Who may do what. As with squeue, everybody sees what is queued and runs; what is inside is its owner's.

Others see an application's name, user, queue, state, resources and places. Its output, its messages (they quote
paths and commands), the details of its events, and anything that changes it are the owner's and an admin's. Whom the
admin ACL of a queue names may end, suspend, move and put before others what is in it, and sees no more of it than
others do.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import replace
from typing import Annotated, TypeVar

from fastapi import Depends, Path
from starlette.requests import HTTPConnection

from hrm.api.guards import IDENTITY
from hrm.api.tokens import Identity
from hrm.model.errors import Forbidden, InvalidInput, NotFound
from hrm.model.explanations import Explanation
from hrm.model.ids import ApplicationId, AttemptId
from hrm.model.phrases import phrase
from hrm.model.reports import ApplicationReport, EventReport, TaskAttemptReport, TaskReport
from hrm.rm.facade import Facade

Owned = TypeVar("Owned", ApplicationReport, TaskAttemptReport)


async def _identity(connection: HTTPConnection) -> Identity:
    identity: Identity = connection.scope[IDENTITY]
    return identity


async def _admin(connection: HTTPConnection) -> Identity:
    identity = await _identity(connection)
    check_admin(identity)
    return identity


async def _application_id(
    application_id: Annotated[str, Path(description="for example application_1763900000000_0017")],
) -> str:
    try:
        return str(ApplicationId.parse(application_id))
    except InvalidInput as error:
        raise InvalidInput(error.problem, field="application_id", next_step=error.next_step) from None


async def _attempt_id(
    connection: HTTPConnection,
    attempt_id: Annotated[str, Path(description="for example appattempt_1763900000000_0017_000001")],
) -> str:
    """The attempt, if it calls itself: no other attempt, user or admin speaks in its place."""
    identity = await _identity(connection)
    try:
        named = str(AttemptId.parse(attempt_id))
    except InvalidInput as error:
        raise InvalidInput(error.problem, field="attempt_id", next_step=error.next_step) from None
    if identity.attempt_id != named:
        raise Forbidden(f"only the master of {named} may call this", next_step="send the token in its HRM_AM_TOKEN")
    return named


#: Parameters of routes.
Caller = Annotated[Identity, Depends(_identity)]
Admin = Annotated[Identity, Depends(_admin)]
ApplicationPath = Annotated[str, Depends(_application_id)]
MasterPath = Annotated[str, Depends(_attempt_id)]


def check_admin(identity: Identity) -> None:
    """Raises Forbidden for everybody else."""
    if not identity.admin:
        raise Forbidden(f"{identity.user} is no admin of this server", next_step="ask its operator")


async def check_owner(facade: Facade, identity: Identity, application_id: str) -> ApplicationReport:
    """The application, if it is the caller's own or the caller an admin. Raises NotFound and Forbidden."""
    report = await facade.application(application_id)
    if not owns(identity, report.user):
        raise Forbidden(f"{application_id} belongs to {report.user}", next_step="ask them, or an admin")
    return report


async def check_changer(facade: Facade, identity: Identity, application_id: str) -> ApplicationReport:
    """As `check_owner`, but whom an admin ACL of its queue names may, too: they end, move and change what is there."""
    report = await facade.application(application_id)
    if not owns(identity, report.user) and not await facade.administers(report.queue, user=identity.user):
        raise Forbidden(
            f"{application_id} belongs to {report.user}, and {identity.user} does not administer {report.queue}",
            next_step="ask them, or an admin (`hrm queues access` names those of the queue)",
        )
    return report


def owns(identity: Identity, user: str) -> bool:
    return identity.admin or identity.user == user


def seen_by(identity: Identity, reports: Iterable[Owned]) -> list[Owned]:
    """The reports, those of other users without their messages."""
    if identity.admin:
        return list(reports)
    return [report if identity.user == report.user else _without_message(report) for report in reports]


def _without_message(report: Owned) -> Owned:
    if isinstance(report, ApplicationReport):
        return replace(report, message="", said=None)
    return replace(report, message="") if report.message else report


def tasks_seen_by(identity: Identity, owner: str, tasks: Iterable[TaskReport]) -> list[TaskReport]:
    """The same for tasks, all of them of one ``owner``."""
    if owns(identity, owner):
        return list(tasks)
    return [replace(task, message="") if task.message else task for task in tasks]


def explanation_seen_by(identity: Identity, owner: str, explanation: Explanation) -> Explanation:
    """Why it waits is everybody's; the lines to copy have its command, and how it ended has its messages."""
    if owns(identity, owner):
        return explanation
    changes = [replace(change, command="") for change in explanation.changes]
    ended = explanation.ended
    if ended is None:
        return replace(explanation, changes=changes)
    if ended.first_failure is not None:
        ended = replace(ended, first_failure=replace(ended.first_failure, message=""))
    said = phrase(f"ended.{explanation.reason}")
    return replace(explanation, message=explanation.reason, said=said, changes=changes, ended=ended)


async def events_seen_by(
    identity: Identity, facade: Facade, events: AsyncIterator[EventReport]
) -> AsyncGenerator[EventReport, None]:
    """Events as they come, those about other users' applications without details."""
    last_id, last_owned = "", False  # events of one application come in runs
    async for event in events:
        if identity.admin or event.application_id is None:
            yield event
            continue
        if event.application_id != last_id:
            last_id = event.application_id
            try:
                last_owned = (await facade.application(last_id)).user == identity.user
            except NotFound:
                last_owned = False
        yield event if last_owned else replace(event, detail={})
