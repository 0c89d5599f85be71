"""From a client's submission (YARN's ApplicationSubmissionContext) to a job with a master of its own."""

from __future__ import annotations

import re
from dataclasses import replace

from hrm.config.yarn_values import YarnConfig
from hrm.model.jobs import MAX_NAME_CHARS, JobSpec, MasterSpec, TaskGroupSpec
from hrm.model.resources import Resources
from hrm.model.yarn import MAX_TYPE_CHARS, YarnApplication
from hrm.yarn.amounts import requested
from hrm.yarn.errors import (
    FeatureNotEnabled,
    IllegalArgument,
    InvalidResourceRequest,
    YarnError,
)
from hrm.yarn.launching import MASTER_GROUP, master_group
from hrm.yarn.node_words import label_of
from hrm.yarn.proto import records_pb2 as records

#: A resource request for any place.
ANYWHERE = "*"
#: What would break a line or steer a terminal.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def job_of(context: records.ApplicationSubmissionContextProto, *, config: YarnConfig, maximum: Resources) -> JobSpec:
    """Raises YarnError, and InvalidInput and TooLarge of the model, for what cannot be submitted.

    ``maximum``: the largest container there can be.
    """
    if context.HasField("reservation_id"):
        raise FeatureNotEnabled("There are no reservations here: submit without one")
    return JobSpec(
        name=_CONTROLS.sub(" ", context.application_name)[:MAX_NAME_CHARS],
        queue=context.queue.strip() or None,
        priority=max(0, context.priority.priority),
        groups=(_group(context, config, maximum),),
        master=_master(context, config),
        yarn=YarnApplication(
            application_type=_CONTROLS.sub(" ", context.applicationType)[:MAX_TYPE_CHARS],
            tags=tuple(dict.fromkeys(tag.strip().lower() for tag in context.applicationTags if tag.strip())),
            unmanaged=context.unmanaged_am,
            log_context=context.log_aggregation_context.SerializeToString(),
            lifetime_s=_lifetime_s(context),
            view_acl=_acl(context.am_container_spec, records.APPACCESS_VIEW_APP),
            modify_acl=_acl(context.am_container_spec, records.APPACCESS_MODIFY_APP),
        ),
    )


def lifetime_s(timeout_s: int) -> float:
    """Raises IllegalArgument for a lifetime that is over before it begins."""
    if timeout_s <= 0:
        raise IllegalArgument(f"Invalid application timeout, value={timeout_s} for type=LIFETIME")
    return float(timeout_s)


def _group(context: records.ApplicationSubmissionContextProto, config: YarnConfig, maximum: Resources) -> TaskGroupSpec:
    if context.unmanaged_am:
        return TaskGroupSpec(name=MASTER_GROUP, command=("unmanaged",))
    if not context.HasField("am_container_spec"):
        raise YarnError("a submission without a context to launch its master in")
    resource, label = _asked(context)
    group = master_group(context.am_container_spec, requested(resource, config, maximum))
    return replace(group, node_label=label_of(context) if label is None else label)


def _asked(context: records.ApplicationSubmissionContextProto) -> tuple[records.ResourceProto, str | None]:
    """What the master's container is asked to be, and its node label; newer clients say it as requests, of which one is
    for anywhere."""
    asks = list(context.am_container_resource_request)
    if not asks:
        if not context.HasField("resource"):
            raise InvalidResourceRequest("Invalid resource request, no resource is asked for the master")
        return context.resource, None
    anywhere = [ask for ask in asks if ask.resource_name == ANYWHERE]
    if len(anywhere) != 1:
        raise InvalidResourceRequest(
            f"Invalid resource request, {len(anywhere)} requests for the master name any place; one has to"
        )
    return anywhere[0].capability, label_of(anywhere[0])


def _master(context: records.ApplicationSubmissionContextProto, config: YarnConfig) -> MasterSpec:
    wanted, interval_ms = context.maxAppAttempts, context.attempt_failures_validity_interval
    return MasterSpec(
        max_attempts=min(wanted, config.max_attempts) if wanted > 0 else config.max_attempts,
        keep_containers=context.keep_containers_across_application_attempts,
        validity_interval_s=interval_ms / 1000 if interval_ms > 0 else None,
        node_label=label_of(context),
    )


def _lifetime_s(context: records.ApplicationSubmissionContextProto) -> float | None:
    found = [
        lifetime_s(entry.timeout)
        for entry in context.application_timeouts
        if entry.application_timeout_type == records.APP_TIMEOUT_LIFETIME
    ]
    return min(found, default=None)


def _acl(spec: records.ContainerLaunchContextProto, kind: int) -> str:
    return next((entry.acl for entry in spec.application_ACLs if entry.accessType == kind), "")
