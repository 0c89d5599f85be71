"""Applications, attempts and containers as YARN's messages."""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import dataclass

from hrm.model.ids import ApplicationId, AttemptId, ContainerId
from hrm.model.masters import EndedContainer, FinalStatus
from hrm.model.reports import AttemptReport, ContainerReport, TaskAttemptReport
from hrm.model.resources import MEMORY
from hrm.model.states import AttemptState, ContainerState
from hrm.yarn.amounts import resource_message, yarn_counts
from hrm.yarn.applications import UNAVAILABLE, Application
from hrm.yarn.errors import IllegalArgument
from hrm.yarn.execution_types import message_of
from hrm.yarn.exits import exit_status
from hrm.yarn.ids import application_message, attempt_message, container_message
from hrm.yarn.nodes import NodeAddresses
from hrm.yarn.proto import records_pb2 as records

_ATTEMPT_STATES = {
    AttemptState.LAUNCHED: records.APP_ATTEMPT_LAUNCHED,
    AttemptState.RUNNING: records.APP_ATTEMPT_RUNNING,
    AttemptState.FINISHED: records.APP_ATTEMPT_FINISHED,
    AttemptState.FAILED: records.APP_ATTEMPT_FAILED,
    AttemptState.KILLED: records.APP_ATTEMPT_KILLED,
}
#: Of a container that is not over (ContainerExitStatus).
_INVALID_EXIT_STATUS = -1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Where things of applications are looked at; ``web`` is ``http://host:port`` of the server's pages."""

    web: str

    def proxy(self, application_id: str) -> str:
        """The master's page, by way of the server."""
        return f"{self.web}/proxy/{application_id}/"

    def page(self, application_id: str) -> str:
        """What the server says of it."""
        return f"{self.web}/cluster/app/{application_id}"

    def tracking(self, application: Application) -> str:
        """The master's page if it has one, or may have; else what the server says."""
        attempt = application.attempt
        if attempt is not None and attempt.tracking_url:
            return self.proxy(application.report.application_id)
        over = application.is_over or application.yarn.application_type == "HRM"
        return (self.page if over else self.proxy)(application.report.application_id)


def millis(seconds: float | None) -> int:
    return 0 if seconds is None else int(seconds * 1000)


def timeout_message(expires_at: float | None, now: float) -> records.ApplicationTimeoutProto:
    """Of an application's lifetime: when it is over, in words, and the seconds until then (-1: never)."""
    message = records.ApplicationTimeoutProto(
        application_timeout_type=records.APP_TIMEOUT_LIFETIME, expire_time="UNLIMITED", remaining_time=-1
    )
    if expires_at is not None:
        message.expire_time = format_time(expires_at)
        message.remaining_time = max(0, int(expires_at - now))
    return message


def format_time(at: float) -> str:
    """ISO 8601 with milliseconds and the zone as YARN writes it (``2026-01-31T12:00:00.000+0000``)."""
    moment = datetime.datetime.fromtimestamp(at, tz=datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000"


def parse_time(text: str) -> float:
    """What `format_time` writes, of any zone, as epoch seconds. Raises IllegalArgument."""
    try:
        return datetime.datetime.strptime(text.strip(), "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    except (ValueError, OverflowError):
        raise IllegalArgument(f"not a time as 2026-01-31T12:00:00.000+0000: {text!r:.60}") from None


def application_report(
    application: Application, *, links: Links, cluster: dict[str, int], now: float, may_look: bool
) -> records.ApplicationReportProto:
    """To whoever may not look inside, what all see (RMAppImpl.createAndGetApplicationReport)."""
    report, yarn, attempt = application.report, application.yarn, application.attempt
    message = records.ApplicationReportProto(
        applicationId=application_message(ApplicationId.parse(report.application_id)),
        user=report.user,
        queue=application.queue,
        name=report.name,
        host=UNAVAILABLE,
        rpc_port=-1,
        yarn_application_state=application.state,
        trackingUrl=UNAVAILABLE,
        diagnostics=UNAVAILABLE,
        startTime=millis(report.submitted_at),
        submitTime=millis(report.submitted_at),
        launchTime=millis(report.started_at),
        finishTime=millis(application.finished_at),
        final_application_status=f"APP_{application.final_status}",
        originalTrackingUrl=UNAVAILABLE,
        progress=report.progress,
        applicationType=yarn.application_type,
        applicationTags=yarn.tags,
        unmanaged_application=yarn.unmanaged,
        log_aggregation_status=records.LOG_DISABLED,
        appNodeLabelExpression=application.node_labels[0],
        amNodeLabelExpression=application.node_labels[1],
    )
    message.priority.priority = report.priority
    if not may_look:
        return message
    message.diagnostics = application.diagnostics
    message.trackingUrl = links.tracking(application)
    if attempt is not None:
        message.currentApplicationAttemptId.CopyFrom(attempt_message(AttemptId.parse(attempt.attempt_id)))
        message.host = attempt.host or UNAVAILABLE
        message.rpc_port = attempt.rpc_port
        message.originalTrackingUrl = attempt.tracking_url or UNAVAILABLE
    message.app_resource_Usage.CopyFrom(_usage(application, cluster))
    message.appTimeouts.add(
        application_timeout_type=records.APP_TIMEOUT_LIFETIME,
        application_timeout=timeout_message(report.deadline_at, now),
    )
    return message


def _usage(application: Application, cluster: dict[str, int]) -> records.ApplicationResourceUsageReportProto:
    report = application.report
    needed = Counter(report.used)
    needed.update(report.reserved)
    whole = cluster.get(MEMORY, 0)
    message = records.ApplicationResourceUsageReportProto(
        num_used_containers=report.tasks_running,
        num_reserved_containers=report.containers_reserved,
        used_resources=resource_message(report.used, up=True),
        reserved_resources=resource_message(report.reserved, up=True),
        needed_resources=resource_message(needed, up=True),
        cluster_usage_percentage=100 * report.used.get(MEMORY, 0) / whole if whole else 0.0,
    )
    seconds = resource_seconds(application)
    message.memory_seconds, message.vcore_seconds = seconds["memory-mb"], seconds["vcores"]
    for name, count in seconds.items():
        message.application_resource_usage_map.add(key=name, value=count)
    return message


def resource_seconds(application: Application) -> dict[str, int]:
    """By YARN's names and units."""
    return yarn_counts({name: int(amount) for name, amount in application.seconds.items()})


def attempt_report(
    attempt: AttemptReport, application: Application, *, links: Links, may_look: bool
) -> records.ApplicationAttemptReportProto:
    message = records.ApplicationAttemptReportProto(
        application_attempt_id=attempt_message(AttemptId.parse(attempt.attempt_id)),
        host=attempt.host or UNAVAILABLE,
        rpc_port=attempt.rpc_port,
        tracking_url=links.tracking(application),
        original_tracking_url=attempt.tracking_url or UNAVAILABLE,
        diagnostics=attempt.message if may_look else UNAVAILABLE,
        yarn_application_attempt_state=attempt_state(attempt),
        startTime=millis(attempt.started_at),
        finishTime=millis(attempt.ended_at),
    )
    if attempt.container_id is not None:
        message.am_container_id.CopyFrom(container_message(ContainerId.parse(attempt.container_id)))
    return message


def attempt_state(attempt: AttemptReport) -> records.YarnApplicationAttemptStateProto:
    if attempt.final_status is not FinalStatus.UNDEFINED and not attempt.state.final:
        return records.APP_ATTEMPT_FINISHING
    if attempt.final_status is not FinalStatus.UNDEFINED:
        return records.APP_ATTEMPT_FINISHED
    if attempt.state is AttemptState.LAUNCHED and attempt.container_id is None:
        return records.APP_ATTEMPT_SCHEDULED
    return _ATTEMPT_STATES[attempt.state]


def live_container(report: ContainerReport, user: str, *, nodes: NodeAddresses) -> records.ContainerReportProto:
    message = records.ContainerReportProto(
        container_id=container_message(ContainerId.parse(report.container_id)),
        resource=resource_message(report.resources, up=True),
        creation_time=millis(report.allocated_at),
        finish_time=0,
        diagnostics_info="",
        log_url=nodes.log(report.node_id, report.container_id, user),
        container_exit_status=_INVALID_EXIT_STATUS,
        container_state=f"C_{live_container_state(report)}",
        executionType=message_of(report.execution_type),
    )
    message.priority.priority = 0
    _place(message, report.node_id, nodes)
    return message


def live_container_state(report: ContainerReport) -> str:
    return "NEW" if report.state == ContainerState.ALLOCATED else "RUNNING"


def ended_container(report: TaskAttemptReport, *, nodes: NodeAddresses) -> records.ContainerReportProto:
    message = records.ContainerReportProto(
        container_id=container_message(ContainerId.parse(report.container_id)),
        resource=resource_message(report.resources, up=True),
        creation_time=millis(report.allocated_at),
        finish_time=millis(report.ended_at),
        diagnostics_info=report.message,
        log_url=nodes.log(report.node_id, report.container_id, report.user),
        container_exit_status=status_of(report),
        container_state=records.C_COMPLETE,
        executionType=message_of(report.execution_type),
    )
    message.priority.priority = 0
    _place(message, report.node_id, nodes)
    return message


def status_of(report: TaskAttemptReport) -> int:
    """How a container ended, as a number (ContainerExitStatus)."""
    ended = EndedContainer(
        container_id=report.container_id, state=report.state, exit_code=report.exit_code, message=report.message
    )
    return exit_status(ended)


def _place(message: records.ContainerReportProto, node_id: str, nodes: NodeAddresses) -> None:
    place = nodes.of(node_id)
    message.node_id.host, message.node_id.port = place.host, place.port
    message.node_http_address = place.http_address


def is_of_attempt(container_id: str, attempt: AttemptId) -> bool:
    return ContainerId.parse(container_id).attempt == attempt
