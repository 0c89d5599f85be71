"""Who may look into an application and who may change it, when they come by YARN's door.

The rule of the house (its owner, admins, whom its queue's admin ACL names), and whom the application's own access lists
name.
"""

from __future__ import annotations

from hrm.rm.facade import Facade
from hrm.yarn.applications import Application
from hrm.yarn.calls import Caller
from hrm.yarn.errors import AccessDenied


class Rights:
    """Asks the facade for groups and queues; owners and admins cost nothing."""

    def __init__(self, facade: Facade) -> None:
        self._facade = facade

    async def may_look(self, caller: Caller, application: Application) -> bool:
        return (
            owns(caller, application)
            or application.yarn.may_view(caller.user, await self._groups(caller, application.yarn.view_acl))
            or await self.may_change(caller, application)
        )

    async def may_change(self, caller: Caller, application: Application) -> bool:
        return (
            owns(caller, application)
            or application.yarn.may_modify(caller.user, await self._groups(caller, application.yarn.modify_acl))
            or await self._facade.administers(application.report.queue, user=caller.user)
        )

    async def check_look(self, caller: Caller, application: Application) -> None:
        """Raises AccessDenied."""
        if not await self.may_look(caller, application):
            raise self._denied(caller, application, "VIEW_APP")

    async def check_change(self, caller: Caller, application: Application) -> None:
        """Raises AccessDenied."""
        if not await self.may_change(caller, application):
            raise self._denied(caller, application, "MODIFY_APP")

    async def _groups(self, caller: Caller, acl: str) -> frozenset[str]:
        """Looked up only where the list names groups."""
        return frozenset(await self._facade.groups(caller.user)) if acl.partition(" ")[2].strip() else frozenset()

    def _denied(self, caller: Caller, application: Application, operation: str) -> AccessDenied:
        report = application.report
        return AccessDenied(
            f"User {caller.user} cannot perform operation {operation} on {report.application_id}: "
            f"it belongs to {report.user}"
        )


def owns(caller: Caller, application: Application) -> bool:
    return caller.admin or caller.user == application.report.user
