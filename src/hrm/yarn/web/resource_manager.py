"""``/ws/v1/cluster``: what YARN's REST clients ask the ResourceManager for, and what they change."""

from __future__ import annotations

import getpass
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import hrm
from hrm.model.errors import InvalidInput
from hrm.model.ids import AttemptId, ContainerId
from hrm.model.reports import AttemptReport
from hrm.rm.facade import Facade
from hrm.yarn.application_messages import Links, is_of_attempt
from hrm.yarn.applications import STATES, Application, full_queue
from hrm.yarn.calls import Caller
from hrm.yarn.clients import Clients
from hrm.yarn.cluster_messages import NODE_STATES, cluster_total
from hrm.yarn.errors import AccessDenied, ApplicationAttemptNotFound, ContainerNotFound
from hrm.yarn.filters import NEVER_MS, Filters, lowered, queue_names
from hrm.yarn.ids import container_message
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.web import told
from hrm.yarn.web.bodies import application_id, number, part, submission, text
from hrm.yarn.web.callers import Callers
from hrm.yarn.web.formats import HADOOP_VERSION, BadRequest, NoSuchPage, answer, body_of, plain_answer
from hrm.yarn.web.queries import choice, whole, words
from hrm.yarn.web.scheduler import scheduler

_BASE = "/ws/v1/cluster"
_FINAL_STATUSES = ("UNDEFINED", "SUCCEEDED", "FAILED", "KILLED", "ENDED")
#: A list says no more at once; older ones are asked for by ``startedTimeEnd``.
MAX_LISTED = 10_000
#: Names by which clients leave something out of a list (DeSelectFields), in small letters, and what that is.
_DESELECTS = {
    "resourcerequests": (),
    "timeouts": ("timeouts",),
    "appnodelabelexpression": ("appNodeLabelExpression",),
    "amnodelabelexpression": ("amNodeLabelExpression",),
    "resourceinfo": ("resourceSecondsMap",),
}


class ResourceManagerPages:
    """Translates; rights and changes are those of `hrm.yarn.clients.Clients`."""

    def __init__(
        self,
        facade: Facade,
        clients: Clients,
        callers: Callers,
        *,
        links: Links,
        nodes: NodeAddresses,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._facade = facade
        self._clients = clients
        self._applications = clients.known
        self._rights = clients.rights
        self._callers = callers
        self._links = links
        self._nodes = nodes
        self._clock = clock
        app = f"{_BASE}/apps/{{app}}"
        self.routes = [
            Route(_BASE, self.info),
            Route(f"{_BASE}/info", self.info),
            Route(f"{_BASE}/userinfo", self.user),
            Route(f"{_BASE}/metrics", self.metrics),
            Route(f"{_BASE}/scheduler", self.scheduler),
            Route(f"{_BASE}/apps/new-application", self.new_application, methods=["POST"]),
            Route(f"{_BASE}/apps", self.apps),
            Route(f"{_BASE}/apps", self.submit, methods=["POST"]),
            Route(f"{_BASE}/appstatistics", self.statistics),
            Route(app, self.app),
            Route(f"{app}/state", self.state),
            Route(f"{app}/state", self.set_state, methods=["PUT"]),
            Route(f"{app}/queue", self.queue),
            Route(f"{app}/queue", self.set_queue, methods=["PUT"]),
            Route(f"{app}/priority", self.priority),
            Route(f"{app}/priority", self.set_priority, methods=["PUT"]),
            Route(f"{app}/timeouts", self.timeouts),
            Route(f"{app}/timeouts/{{kind}}", self.timeout),
            Route(f"{app}/timeout", self.set_timeout, methods=["PUT"]),
            Route(f"{app}/appattempts", self.attempts),
            Route(f"{app}/appattempts/{{attempt}}", self.attempt),
            Route(f"{app}/appattempts/{{attempt}}/containers", self.containers),
            Route(f"{app}/appattempts/{{attempt}}/containers/{{container}}", self.container),
            Route(f"{_BASE}/containers/{{container}}/signal/{{command}}", self.signal, methods=["POST"]),
            Route(f"{_BASE}/nodes", self.nodes),
            Route(f"{_BASE}/nodes/{{node}}", self.node),
            Route(f"{_BASE}/queues/{{queue}}/access", self.access),
        ]

    # --- the cluster

    async def info(self, request: Request) -> Response:
        await self._callers.of(request)
        server = self._facade.server()
        began = int(server.started_at * 1000)
        return answer(
            request,
            "clusterInfo",
            {
                "id": began,
                "startedOn": began,
                "state": "STARTED",
                "haState": "ACTIVE",
                "rmStateStoreName": "HRM",
                "resourceManagerVersion": hrm.__version__,
                "resourceManagerBuildVersion": f"HRM {hrm.__version__}",
                "hadoopVersion": HADOOP_VERSION,
                "hadoopBuildVersion": HADOOP_VERSION,
                "haZooKeeperConnectionState": "ResourceManager HA is not enabled.",
            },
        )

    async def user(self, request: Request) -> Response:
        caller = await self._callers.of(request)
        value = {"rmLoginUser": getpass.getuser(), "requestedUser": caller.user, "subClusterId": ""}
        return answer(request, "clusterUserInfo", value)

    async def metrics(self, request: Request) -> Response:
        await self._callers.of(request)
        counts = await self._facade.application_counts()
        return answer(request, "clusterMetrics", told.metrics(self._facade.nodes(), counts, self._facade.queues()[0]))

    async def scheduler(self, request: Request) -> Response:
        await self._callers.of(request)
        return answer(request, "scheduler", scheduler(self._facade.queues(), cluster_total(self._facade.nodes())))

    async def nodes(self, request: Request) -> Response:
        await self._callers.of(request)
        wanted = {state.upper() for state in words(request, "states")}
        reports = [report for report in self._facade.nodes() if not wanted or NODE_STATES[report.state] in wanted]
        return answer(request, "nodes", {"node": [told.node(report, self._nodes) for report in reports]})

    async def node(self, request: Request) -> Response:
        await self._callers.of(request)
        name = request.path_params["node"]
        for report in self._facade.nodes():
            value = told.node(report, self._nodes)
            if name in (value["id"], report.node_id):
                return answer(request, "node", value)
        raise NoSuchPage(f"nodeId, {name[:80]}, is not found")

    async def access(self, request: Request) -> Response:
        """Whether a user may submit to a queue, or is an admin of it; of others only admins are told."""
        caller = await self._callers.of(request)
        user = request.query_params.get("user") or caller.user
        if user != caller.user and not caller.admin:
            raise AccessDenied(f"{caller.user} is no admin, and may not ask what {user[:80]} may do")
        wanted = choice(request, "queue-acl-type", ("SUBMIT_APPLICATIONS", "ADMINISTER_QUEUE"))
        if wanted is None:
            raise BadRequest("queue-acl-type: is missing")
        admin = caller.admin and user == caller.user
        (name,) = queue_names([request.path_params["queue"]])
        for report in await self._facade.queue_access(user=user, admin=admin):
            if full_queue(report.name) == name:
                submits = wanted == "SUBMIT_APPLICATIONS" and report.may_submit
                allowed = submits or report.administers
                says = "" if allowed else f"User={user} doesn't have access to queue={name} with acl-type={wanted}"
                return answer(request, "queueAccess", {"allowed": allowed, "user": user, "diagnostics": says})
        raise BadRequest(f"no queue {name[:80]}")

    # --- lists

    async def apps(self, request: Request) -> Response:
        caller = await self._callers.of(request)
        filters, left_out = _filters(request), _left_out(request)
        cluster, now = cluster_total(self._facade.nodes()), self._clock()
        found: list[dict[str, Any]] = []
        async for one in self._listed(filters):
            may_look = await self._rights.may_look(caller, one)
            value = self._told(one, cluster, now, may_look)
            found.append({key: part for key, part in value.items() if key not in left_out})
        # YARN has null where there is none.
        return answer(request, "apps", {"app": found} if found else None)

    async def _listed(self, filters: Filters) -> AsyncIterator[Application]:
        left = MAX_LISTED if filters.limit is None else min(filters.limit, MAX_LISTED)
        if left <= 0:
            return
        async for one in self._applications.listed(states=filters.states, user=filters.user):
            if filters.let_pass(one):
                yield one
                left -= 1
                if left == 0:
                    return

    async def statistics(self, request: Request) -> Response:
        await self._callers.of(request)
        states, types = _states(request, "states"), words(request, "applicationTypes")
        found = [one async for one in self._listed(Filters(states=states))]
        return answer(request, "appStatInfo", {"statItem": told.statistics(found, states, types)})

    # --- one application

    async def app(self, request: Request) -> Response:
        caller, one = await self._asked(request)
        may_look = await self._rights.may_look(caller, one)
        return answer(request, "app", self._told(one, cluster_total(self._facade.nodes()), self._clock(), may_look))

    def _told(self, one: Application, cluster: dict[str, int], now: float, may_look: bool) -> dict[str, Any]:
        return told.application(one, links=self._links, nodes=self._nodes, cluster=cluster, now=now, may_look=may_look)

    async def _asked(self, request: Request) -> tuple[Caller, Application]:
        """Raises ApplicationNotFound."""
        caller = await self._callers.of(request)
        return caller, await self._applications.find(request.path_params["app"])

    async def new_application(self, request: Request) -> Response:
        caller = await self._callers.of(request)
        response = await self._clients.new_application(service.GetNewApplicationRequestProto(), caller)
        new, most = response.application_id, response.maximumCapability
        value = {
            "application-id": f"application_{new.cluster_timestamp}_{new.id:04d}",
            "maximum-resource-capability": told.resource({one.key: one.value for one in most.resource_value_map}),
        }
        return plain_answer(request, "NewApplication", value)

    async def submit(self, request: Request) -> Response:
        """202, before it runs; where it is told of stands in `Location`."""
        caller = await self._callers.of(request)
        context = submission(await body_of(request))
        message = service.SubmitApplicationRequestProto(application_submission_context=context)
        await self._clients.submit(message, caller)
        given = context.application_id
        place = f"{self._links.web}{_BASE}/apps/application_{given.cluster_timestamp}_{given.id:04d}"
        return Response(status_code=202, headers={"Location": place})

    async def state(self, request: Request) -> Response:
        _, one = await self._asked(request)
        return plain_answer(request, "appstate", {"state": one.state})

    async def set_state(self, request: Request) -> Response:
        """To KILLED, and to nothing else: 202 while it is on its way, 200 once it is there."""
        caller = await self._callers.of(request)
        body = await body_of(request)
        wanted = text(body, "state").upper()
        if wanted != "KILLED":
            raise BadRequest(f"state: only KILLED can be asked for, not {wanted!r:.40}")
        name = request.path_params["app"]
        await self._applications.find(name)
        kill = service.KillApplicationRequestProto(application_id=application_id(name))
        if diagnostics := text(body, "diagnostics"):
            kill.diagnostics = diagnostics
        done = (await self._clients.kill(kill, caller)).is_kill_completed
        one = await self._applications.find(name)
        return plain_answer(request, "appstate", {"state": one.state}, 200 if done else 202)

    async def queue(self, request: Request) -> Response:
        _, one = await self._asked(request)
        return plain_answer(request, "appqueue", {"queue": one.queue})

    async def set_queue(self, request: Request) -> Response:
        caller, one = await self._asked(request)
        queue = text(await body_of(request), "queue")
        if not queue:
            raise BadRequest("queue: is missing")
        move = service.MoveApplicationAcrossQueuesRequestProto(
            application_id=application_id(one.report.application_id), target_queue=queue
        )
        await self._clients.move(move, caller)
        return await self.queue(request)

    async def priority(self, request: Request) -> Response:
        _, one = await self._asked(request)
        return plain_answer(request, "applicationpriority", {"priority": one.report.priority})

    async def set_priority(self, request: Request) -> Response:
        caller, one = await self._asked(request)
        body = await body_of(request)
        if "priority" not in body:
            raise BadRequest("priority: is missing")
        wanted = records.PriorityProto(priority=number(body, "priority", 0))
        update = service.UpdateApplicationPriorityRequestProto(
            applicationId=application_id(one.report.application_id), applicationPriority=wanted
        )
        await self._clients.set_priority(update, caller)
        return await self.priority(request)

    async def timeouts(self, request: Request) -> Response:
        _, one = await self._asked(request)
        return answer(request, "timeouts", {"timeout": [told.timeout(one.report.deadline_at, self._clock())]})

    async def timeout(self, request: Request) -> Response:
        _, one = await self._asked(request)
        if request.path_params["kind"].upper() != "LIFETIME":
            raise NoSuchPage("there is one kind of timeout: LIFETIME")
        return answer(request, "timeout", told.timeout(one.report.deadline_at, self._clock()))

    async def set_timeout(self, request: Request) -> Response:
        caller, one = await self._asked(request)
        body = await body_of(request)
        wanted = part(body, "timeout") or body
        if text(wanted, "type").upper() != "LIFETIME":
            raise BadRequest("type: there is one kind of timeout: LIFETIME")
        update = service.UpdateApplicationTimeoutsRequestProto(applicationId=application_id(one.report.application_id))
        update.application_timeouts.add(
            application_timeout_type=records.APP_TIMEOUT_LIFETIME, expire_time=text(wanted, "expiryTime")
        )
        await self._clients.set_timeouts(update, caller)
        _, one = await self._asked(request)
        return answer(request, "timeout", told.timeout(one.report.deadline_at, self._clock()))

    # --- runs and containers

    async def attempts(self, request: Request) -> Response:
        caller, one = await self._asked(request)
        await self._rights.check_look(caller, one)
        reports = await self._applications.attempts(one.report.application_id)
        lines = [told.attempt_line(report, one, nodes=self._nodes) for report in reports]
        return answer(request, "appAttempts", {"appAttempt": lines})

    async def attempt(self, request: Request) -> Response:
        one, report = await self._run(request)
        return answer(request, "appAttempt", told.attempt(report, one, links=self._links))

    async def containers(self, request: Request) -> Response:
        """Those of one run that are not over."""
        one, report = await self._run(request)
        attempt = AttemptId.parse(report.attempt_id)
        found = [
            told.live_container(live, one.report.user, nodes=self._nodes)
            for live in self._facade.containers(one.report.application_id)
            if is_of_attempt(live.container_id, attempt)
        ]
        return answer(request, "containers", {"container": found})

    async def container(self, request: Request) -> Response:
        one, _ = await self._run(request)
        name, user = request.path_params["container"], one.report.user
        for live in self._facade.containers(one.report.application_id):
            if live.container_id == name:
                return answer(request, "container", told.live_container(live, user, nodes=self._nodes))
        for ended in await self._facade.history(one.report.application_id):
            if ended.container_id == name:
                return answer(request, "container", told.ended_container(ended, nodes=self._nodes))
        raise ContainerNotFound(f"container with id: {name[:80]} not found")

    async def _run(self, request: Request) -> tuple[Application, AttemptReport]:
        """The attempt, by its id or its number. Raises AccessDenied and ApplicationAttemptNotFound."""
        caller, one = await self._asked(request)
        await self._rights.check_look(caller, one)
        name = request.path_params["attempt"]
        for report in await self._applications.attempts(one.report.application_id):
            if name in (report.attempt_id, str(AttemptId.parse(report.attempt_id).number)):
                return one, report
        raise ApplicationAttemptNotFound(f"app attempt with id: {name[:80]} not found")

    async def signal(self, request: Request) -> Response:
        caller = await self._callers.of(request)
        command = request.path_params["command"].upper()
        if command not in service.SignalContainerCommandProto.keys():  # noqa: SIM118 (no mapping)
            raise BadRequest(f"Invalid command: {command[:40]}")
        try:
            container = container_message(ContainerId.parse(request.path_params["container"]))
        except InvalidInput as error:
            raise BadRequest(error.message) from None
        await self._clients.runs.signal(
            service.SignalContainerRequestProto(container_id=container, command=command), caller
        )
        return Response(status_code=200)


def _left_out(request: Request) -> frozenset[str]:
    """What a list need not tell of each (``deSelects``). Raises BadRequest."""
    wanted = {word.lower() for word in words(request, "deSelects")}
    if unknown := wanted - _DESELECTS.keys():
        raise BadRequest(f"Invalid deSelects string {sorted(unknown)[0][:40]}: it should be one of {list(_DESELECTS)}")
    return frozenset(key for word in wanted for key in _DESELECTS[word])


def _filters(request: Request) -> Filters:
    """Raises BadRequest."""
    statuses = frozenset(word.upper() for word in words(request, "finalStatus"))
    if unknown := statuses - set(_FINAL_STATUSES):
        raise BadRequest(f"no such final status: {sorted(unknown)[0][:40]}")
    limit = whole(request, "limit")
    if limit is not None and limit <= 0:
        raise BadRequest("limit value must be greater then 0")
    name = request.query_params.get("name")
    return Filters(
        states=(*_states(request, "states"), *_states(request, "state")),
        types=lowered(words(request, "applicationTypes")),
        users=frozenset(filter(None, [request.query_params.get("user", "")])),
        queues=queue_names(words(request, "queue")),
        tags=lowered(words(request, "applicationTags")),
        final_statuses=statuses,
        name=name,
        limit=limit,
        started_ms=_span(request, "startedTime"),
        finished_ms=_span(request, "finishedTime"),
    )


def _states(request: Request, key: str) -> tuple[str, ...]:
    states = tuple(dict.fromkeys(word.upper() for word in words(request, key)))
    for state in states:
        if state not in STATES:
            raise BadRequest(f"Invalid application-state {state[:40]} specified. It should be one of {list(STATES)}")
    return states


def _span(request: Request, key: str) -> tuple[int, int]:
    begin, end = whole(request, f"{key}Begin"), whole(request, f"{key}End")
    span = (begin if begin is not None else 0, end if end is not None else NEVER_MS)
    if span[0] < 0 or span[0] > span[1]:
        raise BadRequest(f"{key}Begin must lie between 0 and {key}End")
    return span
