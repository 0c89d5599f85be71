"""The section `queues`, and what `scheduler` says of queues, as values of the model."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from hrm.config.fields import NO_LIMIT
from hrm.config.schema import ConfigShape, DefaultsShape, LimitsShape, PlacementShape, QueueShape, SchedulerShape
from hrm.model.placement import PlacementPolicy, PlacementRule
from hrm.model.queues import (
    DEFAULT_QUEUE,
    ROOT,
    Order,
    Policy,
    QueueDefaults,
    QueueSpec,
    ShareOfCluster,
    canonical_path,
)
from hrm.model.resources import Resources
from hrm.model.scheduling import SchedulerOptions


def placement_policy(shape: SchedulerShape) -> PlacementPolicy:
    """How jobs find their queues. Rules may make queues unless that is forbidden; without rules only if allowed."""
    rules = None if shape.placement is None else tuple(_rule(rule) for rule in shape.placement)
    undeclared = rules is not None if shape.undeclared_queues is None else shape.undeclared_queues
    return PlacementPolicy(
        rules=rules,
        default_queue=DEFAULT_QUEUE if shape.default_queue is None else canonical_path(shape.default_queue),
        undeclared_queues=undeclared,
        defaults=queue_defaults(shape.queue_defaults or DefaultsShape()),
    )


def _rule(shape: PlacementShape) -> PlacementRule:
    return PlacementRule(
        rule=shape.rule,
        create=shape.create is not False,
        queue=None if shape.queue is None else canonical_path(shape.queue),
        parent=None if shape.parent is None else _rule(shape.parent),
    )


def queue_defaults(shape: DefaultsShape) -> QueueDefaults:
    """What holds for queues that do not say it themselves."""
    given: dict[str, Any] = {} if shape.max_share is None else _share("max_share", shape.max_share.most())
    if shape.max_am_share is not None:
        given["max_am_share"] = _am_share(shape.max_am_share)
    return QueueDefaults(max_running_apps=shape.max_running_apps, policy=shape.policy or Policy.FAIR, **given)


def root_of(shape: ConfigShape, defaults: QueueDefaults) -> QueueSpec:
    """The whole tree; `default` is always there."""
    scheduler = shape.scheduler or SchedulerShape()
    children = _children(shape.queues, defaults)
    if not any(child.name == DEFAULT_QUEUE for child in children):
        children = (_queue(DEFAULT_QUEUE, QueueShape(), defaults), *children)
    return QueueSpec(
        name=ROOT,
        policy=scheduler.policy or Policy.DRF,
        order=scheduler.order or Order.RATIO,
        children=children,
        **_limits(scheduler.root or LimitsShape()),
    )


def _children(queues: dict[str, QueueShape | None] | None, defaults: QueueDefaults) -> tuple[QueueSpec, ...]:
    return tuple(_queue(name, queue or QueueShape(), defaults) for name, queue in (queues or {}).items())


def _queue(name: str, shape: QueueShape, defaults: QueueDefaults) -> QueueSpec:
    given = _limits(shape)
    given.setdefault("max_running_apps", defaults.max_running_apps)
    if shape.max_share is None:
        given |= {"max_share": defaults.max_share, "max_share_of_cluster": defaults.max_share_of_cluster}
    if shape.weight is not None:
        given["weight"] = shape.weight
    if shape.min_share is not None:
        given |= _share("min_share", shape.min_share.least())
    return QueueSpec(
        name=name,
        max_am_share=defaults.max_am_share if shape.max_am_share is None else _am_share(shape.max_am_share),
        policy=shape.policy or defaults.policy,
        order=shape.order or Order.RATIO,
        type=shape.type,
        children=_children(shape.queues, defaults),
        **given,
    )


def _limits(shape: LimitsShape) -> dict[str, Any]:
    """What is written of those keys that all queues and the root have, by fields of QueueSpec."""
    given = {name: value for name in LimitsShape.model_fields if (value := getattr(shape, name)) is not None}
    for key in ("max_share", "max_child_share"):
        if key in given:
            given |= _share(key, given.pop(key).most())
    if shape.max_running_apps_of_users is not None:
        given["max_running_apps_of_users"] = tuple(sorted(shape.max_running_apps_of_users.items()))
    return in_seconds(given, QueueSpec)


def _am_share(value: float) -> float | None:
    return None if value == NO_LIMIT else value


def _share(name: str, share: Resources | ShareOfCluster) -> dict[str, Any]:
    return {f"{name}_of_cluster" if isinstance(share, ShareOfCluster) else name: share}


def in_seconds(given: dict[str, Any], kind: type[QueueSpec] | type[SchedulerOptions]) -> dict[str, Any]:
    """Keys have no units in their names, since their values have; fields of the model do."""
    names = {field.name for field in fields(kind)}
    return {f"{key}_s" if f"{key}_s" in names else key: value for key, value in given.items()}
