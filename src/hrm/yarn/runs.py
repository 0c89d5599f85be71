"""What clients ask about the runs of a master and about single containers."""

from __future__ import annotations

import signal
from typing import Any

from hrm.model.errors import CallerError
from hrm.model.ids import AttemptId, ContainerId
from hrm.model.reports import AttemptReport
from hrm.rm.facade import Facade
from hrm.yarn.application_messages import Links, attempt_report, ended_container, is_of_attempt, live_container
from hrm.yarn.applications import Application, Applications
from hrm.yarn.calls import Caller
from hrm.yarn.errors import ApplicationAttemptNotFound, ContainerNotFound
from hrm.yarn.ids import application_id, attempt_id, container_id
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.rights import Rights

_SIGNALS = {
    service.OUTPUT_THREAD_DUMP: signal.SIGQUIT,
    service.GRACEFUL_SHUTDOWN: signal.SIGTERM,
    service.FORCEFUL_SHUTDOWN: signal.SIGKILL,
}


class Runs:
    """Part of the clients' service."""

    def __init__(
        self, facade: Facade, applications: Applications, rights: Rights, *, links: Links, nodes: NodeAddresses
    ) -> None:
        self._facade = facade
        self._applications = applications
        self._rights = rights
        self._links = links
        self._nodes = nodes
        self.handlers: dict[str, Any] = {
            "getApplicationAttemptReport": self.attempt,
            "getApplicationAttempts": self.attempts,
            "failApplicationAttempt": self.fail,
            "getContainerReport": self.container,
            "getContainers": self.containers,
            "signalToContainer": self.signal,
        }

    async def attempt(
        self, request: service.GetApplicationAttemptReportRequestProto, caller: Caller
    ) -> service.GetApplicationAttemptReportResponseProto:
        application, report = await self._attempt(attempt_id(request.application_attempt_id))
        return service.GetApplicationAttemptReportResponseProto(
            application_attempt_report=await self._told(report, application, caller)
        )

    async def attempts(
        self, request: service.GetApplicationAttemptsRequestProto, caller: Caller
    ) -> service.GetApplicationAttemptsResponseProto:
        name = str(application_id(request.application_id))
        application = await self._applications.find(name)
        reports = await self._applications.attempts(name)
        return service.GetApplicationAttemptsResponseProto(
            application_attempts=[await self._told(report, application, caller) for report in reports]
        )

    async def fail(
        self, request: service.FailApplicationAttemptRequestProto, caller: Caller
    ) -> service.FailApplicationAttemptResponseProto:
        """End the run of a master as if it had failed: another begins, if there may be one."""
        attempt = attempt_id(request.application_attempt_id)
        application, report = await self._attempt(attempt)
        await self._rights.check_change(caller, application)
        if not report.state.final:
            # What is over YARN leaves as it is, and says so to nobody.
            await self._facade.fail_attempt(str(attempt), by=caller.user)
        return service.FailApplicationAttemptResponseProto()

    async def container(
        self, request: service.GetContainerReportRequestProto, caller: Caller
    ) -> service.GetContainerReportResponseProto:
        container = container_id(request.container_id)
        application = await self._applications.find(str(container.attempt.application))
        await self._rights.check_look(caller, application)
        return service.GetContainerReportResponseProto(container_report=await self._container(container, application))

    async def containers(
        self, request: service.GetContainersRequestProto, caller: Caller
    ) -> service.GetContainersResponseProto:
        """Those of one run that are not over, as YARN's ResourceManager tells; the master's is among them."""
        attempt = attempt_id(request.application_attempt_id)
        application, _ = await self._attempt(attempt)
        await self._rights.check_look(caller, application)
        user = application.report.user
        return service.GetContainersResponseProto(
            containers=[
                live_container(report, user, nodes=self._nodes)
                for report in self._facade.containers(str(attempt.application))
                if is_of_attempt(report.container_id, attempt)
            ]
        )

    async def signal(
        self, request: service.SignalContainerRequestProto, caller: Caller
    ) -> service.SignalContainerResponseProto:
        container = container_id(request.container_id)
        name = str(container.attempt.application)
        application = await self._applications.find(name)
        await self._rights.check_change(caller, application)
        if str(container) not in {report.container_id for report in self._facade.containers(name)}:
            raise ContainerNotFound(f"{container} does not run")
        await self._facade.signal(name, _SIGNALS[request.command], container_id=str(container))
        return service.SignalContainerResponseProto()

    async def _attempt(self, attempt: AttemptId) -> tuple[Application, AttemptReport]:
        """Raises ApplicationNotFound and ApplicationAttemptNotFound."""
        application = await self._applications.find(str(attempt.application))
        reports = await self._applications.attempts(str(attempt.application))
        for report in reports:
            if report.attempt_id == str(attempt):
                return application, report
        raise ApplicationAttemptNotFound(f"ApplicationAttempt with id '{attempt}' doesn't exist in RM.")

    async def _told(
        self, report: AttemptReport, application: Application, caller: Caller
    ) -> records.ApplicationAttemptReportProto:
        may_look = await self._rights.may_look(caller, application)
        return attempt_report(report, application, links=self._links, may_look=may_look)

    async def _container(self, container: ContainerId, application: Application) -> records.ContainerReportProto:
        name, app = str(container), application.report
        for live in self._facade.containers(app.application_id):
            if live.container_id == name:
                return live_container(live, app.user, nodes=self._nodes)
        try:
            ended = await self._facade.history(app.application_id)
        except CallerError:
            ended = []
        for report in ended:
            if report.container_id == name:
                return ended_container(report, nodes=self._nodes)
        raise ContainerNotFound(f"Container with id '{container}' doesn't exist in RM.")
