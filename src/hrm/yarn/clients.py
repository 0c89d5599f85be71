"""What clients of YARN ask the ResourceManager for (ApplicationClientProtocol), answered through the facade."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from hrm.config.yarn_values import YarnConfig
from hrm.model.errors import InvalidInput
from hrm.model.ids import ApplicationId, AttemptId
from hrm.model.resources import BUILT_IN, Resources
from hrm.rm.facade import Facade
from hrm.yarn import cluster_messages as cluster
from hrm.yarn import profiles as profiling
from hrm.yarn.amounts import maximum_capability, resource_message, resource_types
from hrm.yarn.application_messages import Links, application_report, parse_time
from hrm.yarn.applications import NATIVE_TYPE, Application, Applications
from hrm.yarn.calls import Caller, Handler, Service
from hrm.yarn.client_tokens import ClientTokens
from hrm.yarn.cluster_view import ClusterView
from hrm.yarn.errors import ApplicationIdNotProvided, IllegalArgument, InvalidResourceRequest
from hrm.yarn.filters import filters_of
from hrm.yarn.ids import application_id, application_message
from hrm.yarn.node_words import NodeWords
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.protocols import APPLICATION_CLIENT
from hrm.yarn.rights import Rights
from hrm.yarn.runs import Runs
from hrm.yarn.submission import job_of
from hrm.yarn.tokens.brought import BroughtTokens
from hrm.yarn.tokens.credentials import Credentials
from hrm.yarn.tokens.secrets import TokenSecrets

#: Methods that must not be done twice.
_CHANGES = frozenset(
    {
        "submitApplication",
        "forceKillApplication",
        "failApplicationAttempt",
        "moveApplicationAcrossQueues",
        "updateApplicationPriority",
        "updateApplicationTimeouts",
        "signalToContainer",
        "getDelegationToken",
        "renewDelegationToken",
        "cancelDelegationToken",
    }
)


def application_client_service(clients: Clients, tokens: ClientTokens) -> Service:
    handlers = {**clients.handlers, **tokens.handlers}
    return Service(APPLICATION_CLIENT, handlers=handlers, changes=_CHANGES)


class Clients:
    """Translates and checks rights; decides nothing. A method that is left out is answered as not supported."""

    def __init__(
        self,
        facade: Facade,
        *,
        config: YarnConfig,
        secrets: TokenSecrets,
        nodes: NodeAddresses,
        links: Links,
        check_submitter: Callable[[str], Awaitable[None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``check_submitter`` raises Forbidden for a user whose jobs cannot run here."""
        self._facade = facade
        self._config = config
        #: Names of what every node is to run beside containers.
        self.services = tuple(service.name for service in config.auxiliary_services)
        self._secrets = secrets
        self._nodes = nodes
        self._links = links
        self._check_submitter = check_submitter
        self._clock = clock
        # A report of one application must not look at each node of a thousand.
        self._cluster = ClusterView(facade, config, nodes)
        self.known = Applications(facade, clock)
        self.rights = Rights(facade)
        #: The tokens of submissions; whoever opens the door has it `run`.
        self.brought = BroughtTokens(secrets, self.known.is_gone, clock)
        self.runs = Runs(facade, self.known, self.rights, links=links, nodes=nodes)
        own: dict[str, Handler] = {
            name: getattr(self, method)
            for name, method in {
                "getNewApplication": "new_application",
                "submitApplication": "submit",
                "forceKillApplication": "kill",
                "getApplicationReport": "application",
                "getApplications": "applications",
                "moveApplicationAcrossQueues": "move",
                "updateApplicationPriority": "set_priority",
                "updateApplicationTimeouts": "set_timeouts",
                "getClusterMetrics": "metrics",
                "getClusterNodes": "cluster_nodes",
                "getQueueInfo": "queue",
                "getQueueUserAcls": "queue_acls",
                "getResourceTypeInfo": "types",
                "getResourceProfiles": "profiles",
                "getResourceProfile": "profile",
            }.items()
        }
        self.handlers: dict[str, Handler] = {
            **own,
            **NodeWords(facade, nodes).handlers,
            **self.runs.handlers,
        }

    # --- applications

    async def new_application(
        self, request: service.GetNewApplicationRequestProto, caller: Caller
    ) -> service.GetNewApplicationResponseProto:
        new = ApplicationId.parse(await self._facade.new_application_id())
        return service.GetNewApplicationResponseProto(
            application_id=application_message(new), maximumCapability=resource_message(self._maximum())
        )

    def _maximum(self) -> Resources:
        return maximum_capability((report.total for report in self._facade.nodes()), self._config)

    async def submit(
        self, request: service.SubmitApplicationRequestProto, caller: Caller
    ) -> service.SubmitApplicationResponseProto:
        """Answers when it is on disk. Said again it is the same application."""
        context = request.application_submission_context
        if not context.HasField("application_id"):
            raise ApplicationIdNotProvided("ApplicationId is not provided in ApplicationSubmissionContext")
        new = application_id(context.application_id)
        await self._check_submitter(caller.user)
        try:
            job = job_of(context, config=self._config, maximum=self._maximum())
            await self._facade.submit(job, user=caller.user, application_id=str(new), admin=caller.admin)
        except InvalidInput as error:
            if error.field.endswith("resources"):
                raise InvalidResourceRequest(f"Invalid resource request, {error}") from None
            raise
        # After it: a token of what was refused is nobody's. A client that heard no answer says it again.
        await self.brought.take(
            Credentials.read(context.am_container_spec.tokens).tokens.values(),
            str(new),
            owner=caller.user,
            cancel=context.cancel_tokens_when_complete,
        )
        return service.SubmitApplicationResponseProto()

    async def kill(
        self, request: service.KillApplicationRequestProto, caller: Caller
    ) -> service.KillApplicationResponseProto:
        """Clients ask again and again until it has ended."""
        application = await self._changeable(request.application_id, caller)
        if not application.report.state.final:
            message = request.diagnostics or f"Application killed by user {caller.user}"
            await self._facade.kill(application.report.application_id, by=caller.user, message=message)
            application = await self.known.find(application.report.application_id)
        return service.KillApplicationResponseProto(is_kill_completed=application.report.state.final)

    async def application(
        self, request: service.GetApplicationReportRequestProto, caller: Caller
    ) -> service.GetApplicationReportResponseProto:
        application = await self.known.find(str(application_id(request.application_id)))
        return service.GetApplicationReportResponseProto(application_report=await self._told(application, caller))

    async def applications(
        self, request: service.GetApplicationsRequestProto, caller: Caller
    ) -> service.GetApplicationsResponseProto:
        filters = filters_of(request, own=caller.user)
        response = service.GetApplicationsResponseProto()
        if filters.limit == 0:
            return response
        visible_only = request.scope == service.VIEWABLE
        async for application in self.known.listed(states=filters.states, user=filters.user):
            if not filters.let_pass(application):
                continue
            if visible_only and not await self.rights.may_look(caller, application):
                continue
            response.applications.append(await self._told(application, caller))
            if filters.limit is not None and len(response.applications) >= filters.limit:
                break
        return response

    async def _told(self, application: Application, caller: Caller) -> records.ApplicationReportProto:
        may_look = await self.rights.may_look(caller, application)
        message = application_report(
            application,
            links=self._links,
            cluster=self._cluster.fresh().total,
            now=self._clock(),
            may_look=may_look,
        )
        attempt = application.attempt
        if not may_look or attempt is None or application.is_over or application.yarn.application_type == NATIVE_TYPE:
            return message
        attempt_id = AttemptId.parse(attempt.attempt_id)
        # By it whoever may look inside speaks with the master, which knows its key since it registered.
        service = f"{attempt.host}:{attempt.rpc_port}" if attempt.host and attempt.rpc_port > 0 else ""
        message.client_to_am_token.CopyFrom(self._secrets.issue_client_to_am(attempt_id, caller.user, service=service))
        if application.yarn.unmanaged:
            # A master that runs elsewhere gets by this what others find in their container.
            message.am_rm_token.CopyFrom(self._secrets.issue_amrm(attempt_id))
        return message

    async def move(
        self, request: service.MoveApplicationAcrossQueuesRequestProto, caller: Caller
    ) -> service.MoveApplicationAcrossQueuesResponseProto:
        application = await self._changeable(request.application_id, caller)
        name = application.report.application_id
        await self._facade.move(name, request.target_queue, by=caller.user, admin=caller.admin)
        return service.MoveApplicationAcrossQueuesResponseProto()

    async def set_priority(
        self, request: service.UpdateApplicationPriorityRequestProto, caller: Caller
    ) -> service.UpdateApplicationPriorityResponseProto:
        application = await self._changeable(request.applicationId, caller)
        priority = request.applicationPriority.priority
        if application.is_over:
            # YARN answers what it had; an error would be a trace on the user's screen.
            return service.UpdateApplicationPriorityResponseProto(
                applicationPriority=records.PriorityProto(priority=application.report.priority)
            )
        await self._facade.set_priority(application.report.application_id, priority, by=caller.user)
        return service.UpdateApplicationPriorityResponseProto(
            applicationPriority=records.PriorityProto(priority=priority)
        )

    async def set_timeouts(
        self, request: service.UpdateApplicationTimeoutsRequestProto, caller: Caller
    ) -> service.UpdateApplicationTimeoutsResponseProto:
        """Of its lifetime: until when, as a moment in words."""
        application = await self._changeable(request.applicationId, caller)
        if not request.application_timeouts:
            raise IllegalArgument("At least one of the timeouts has to be given")
        if application.is_over:
            return service.UpdateApplicationTimeoutsResponseProto(application_timeouts=request.application_timeouts)
        for entry in request.application_timeouts:
            at = parse_time(entry.expire_time)
            await self._facade.set_deadline(application.report.application_id, at, by=caller.user)
        return service.UpdateApplicationTimeoutsResponseProto(application_timeouts=request.application_timeouts)

    async def _changeable(self, message: records.ApplicationIdProto, caller: Caller) -> Application:
        """Raises ApplicationNotFound and AccessDenied."""
        application = await self.known.find(str(application_id(message)))
        await self.rights.check_change(caller, application)
        return application

    # --- the cluster

    def metrics(
        self, request: service.GetClusterMetricsRequestProto, caller: Caller
    ) -> service.GetClusterMetricsResponseProto:
        return service.GetClusterMetricsResponseProto(cluster_metrics=cluster.cluster_metrics(self._facade.nodes()))

    def cluster_nodes(
        self, request: service.GetClusterNodesRequestProto, caller: Caller
    ) -> service.GetClusterNodesResponseProto:
        reports = (cluster.node_report(report, self._nodes) for report in self._facade.nodes())
        wanted = frozenset(request.nodeStates)
        return service.GetClusterNodesResponseProto(
            nodeReports=[report for report in reports if not wanted or report.node_state in wanted]
        )

    async def queue(
        self, request: service.GetQueueInfoRequestProto, caller: Caller
    ) -> service.GetQueueInfoResponseProto:
        """Without a queue iff there is none of that name: Hadoop's clients say so then."""
        response = service.GetQueueInfoResponseProto()
        info = cluster.queue_info(
            request.queueName,
            self._facade.queues(),
            cluster.cluster_total(self._facade.nodes()),
            children=request.includeChildQueues,
            recursive=request.recursive,
        )
        if info is None:
            return response
        response.queueInfo.CopyFrom(info)
        if request.includeApplications:
            async for application in self.known.listed(states=("SUBMITTED", "ACCEPTED", "RUNNING")):
                if application.queue == info.queueName:
                    response.queueInfo.applications.append(await self._told(application, caller))
        return response

    async def queue_acls(
        self, request: service.GetQueueUserAclsInfoRequestProto, caller: Caller
    ) -> service.GetQueueUserAclsInfoResponseProto:
        reports = await self._facade.queue_access(user=caller.user, admin=caller.admin)
        return service.GetQueueUserAclsInfoResponseProto(queueUserAcls=cluster.queue_acls(reports))

    def types(
        self, request: service.GetAllResourceTypeInfoRequestProto, caller: Caller
    ) -> service.GetAllResourceTypeInfoResponseProto:
        others = sorted({name for report in self._facade.nodes() for name in report.total} - set(BUILT_IN))
        return service.GetAllResourceTypeInfoResponseProto(resource_type_info=resource_types(others))

    def profiles(
        self, request: service.GetAllResourceProfilesRequestProto, caller: Caller
    ) -> service.GetAllResourceProfilesResponseProto:
        found = profiling.profiles_or_refusal(self._config, self._maximum())
        return service.GetAllResourceProfilesResponseProto(resource_profiles=found)

    def profile(
        self, request: service.GetResourceProfileRequestProto, caller: Caller
    ) -> service.GetResourceProfileResponseProto:
        found = profiling.profile(self._config, self._maximum(), request.profile)
        return service.GetResourceProfileResponseProto(resources=found)
