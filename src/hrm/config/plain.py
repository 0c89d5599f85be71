"""A configuration in the keys of its file: what `hrm config show` prints, and by which two are compared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from hrm.config.doctor_keys import plain_doctor
from hrm.config.file_keys import plain_files
from hrm.config.inventory_keys import plain_inventory
from hrm.config.shares import show_share
from hrm.config.values import HrmConfig
from hrm.config.yarn_door import plain_yarn
from hrm.model.access import AccessList
from hrm.model.inventory import EVERY_LABEL
from hrm.model.placement import PlacementRule, Rule
from hrm.model.queues import QueueDefaults, QueueSpec, ShareOfCluster
from hrm.model.resources import Resources
from hrm.model.scheduling import SchedulerOptions

#: What the root has by keys of the section `scheduler`, or not at all.
_NOT_OF_ROOT = ("name", "weight", "policy", "order", "children")


def plain_config(config: HrmConfig) -> dict[str, Any]:
    """In the keys of the file."""
    node, engine, server, kept = config.node, config.engine, config.server, config.retention
    held = node.isolation
    return {
        **plain_scheduling(config),
        "node": {
            "node_id": node.node_id,
            "vcores": node.total.vcores_milli / 1000,
            "memory": f"{node.total.memory_mib}M",
            # "all" is what leaving the key out means; there is no value for it.
            **({} if node.gpu_devices is None else {"gpu_devices": list(node.gpu_devices)}),
            "virtual_gpus": node.virtual_gpus,
            "log_limit": f"{node.log_limit_bytes >> 20}M",
            "isolation": str(held.mode),
            "strict_cpus": held.strict_cpus,
            "pin_cpus": held.pin_cpus,
            "max_processes": held.max_processes,
            **({} if held.disk_quota_mib is None else {"disk_quota": f"{held.disk_quota_mib}M"}),
            "umask": f"{held.umask:03o}",
        },
        **plain_inventory(config.inventory),
        "engine": {
            "kind": str(engine.kind),
            **({} if engine.address is None else {"address": engine.address}),
            **({} if engine.host is None else {"host": engine.host}),
            "port": engine.port,
            "namespace": engine.namespace,
            "head_runs_containers": engine.head_runs_containers,
            "slab": f"{engine.slab * 100:.15g}%",
            "on_partition": str(engine.on_partition),
            "node_timeout": f"{engine.node_timeout_s:.15g}s",
        },
        "server": {
            "host": server.host,
            "port": server.port,
            "allowed_hosts": list(server.allowed_hosts),
            "allowed_origins": list(server.allowed_origins),
            "check_socket_owner": server.check_socket_owner,
            "max_body": f"{server.max_body_bytes >> 20}M",
            "requests_per_s": server.requests_per_s,
            "idle_exit": f"{server.idle_exit_s:g}s",
            "log_format": str(server.log_format),
            **({} if server.otlp_endpoint is None else {"otlp_endpoint": server.otlp_endpoint}),
        },
        "retention": {
            "applications_age": f"{kept.applications_age_s:.15g}s",
            "applications": kept.applications,
            "events": kept.events,
            "logs_age": f"{kept.logs_age_s:.15g}s",
            "logs_size": f"{kept.logs_bytes >> 20}M",
            "scratch_age": f"{kept.scratch_age_s:.15g}s",
            "scratch_size": f"{kept.scratch_bytes >> 20}M",
            "uploads_age": f"{kept.uploads_age_s:.15g}s",
            "uploads_size": f"{kept.uploads_bytes >> 20}M",
        },
        "yarn": plain_yarn(config.yarn),
        "files": plain_files(config.files),
        "doctor": plain_doctor(config.doctor),
    }


def plain_scheduling(config: HrmConfig) -> dict[str, Any]:
    """The sections that say how work is scheduled: `scheduler` and `queues`."""
    return {
        "scheduler": _scheduler(config),
        "queues": _queues(config.queues, config.scheduler.placement.defaults),
    }


def changed_keys(before: HrmConfig, after: HrmConfig) -> list[str]:
    """Keys outside of `queues` whose values differ: ``scheduler.victims``, ``node.memory``."""
    old, new = dict(_flat(plain_config(before))), dict(_flat(plain_config(after)))
    return [key for key in {**old, **new} if old.get(key) != new.get(key)]


def _flat(plain: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for section, keys in plain.items():
        if section != "queues":
            yield from ((f"{section}.{key}", value) for key, value in keys.items())


def _scheduler(config: HrmConfig) -> dict[str, Any]:
    scheduler, root, options = config.scheduler, config.queues, config.scheduler.options
    placement, limits = scheduler.placement, _differing(root, QueueSpec(name=root.name), without=_NOT_OF_ROOT)
    defaults = _differing(placement.defaults, QueueDefaults(), without=())
    return {
        "policy": str(root.policy),
        "order": str(root.order),
        "default_queue": placement.default_queue,
        "undeclared_queues": placement.undeclared_queues,
        **({} if placement.rules is None else {"placement": [_rule(rule) for rule in placement.rules]}),
        **({"queue_defaults": defaults} if defaults else {}),
        "master_timeout": f"{scheduler.master_timeout_s:.15g}s",
        **({"root": limits} if limits else {}),
        # Where a value says "none" or "off", the key is left out.
        **{
            _key(field.name): _value(field.name, value)
            for field in fields(SchedulerOptions)
            if (value := getattr(options, field.name)) is not None and not (field.name.endswith("_s") and value < 0)
        },
    }


def _queues(parent: QueueSpec, defaults: QueueDefaults) -> dict[str, Any]:
    return {queue.name: _queue(queue, defaults) for queue in parent.children}


def _queue(queue: QueueSpec, defaults: QueueDefaults) -> dict[str, Any]:
    plain: dict[str, Any] = {"weight": queue.weight, "policy": str(queue.policy)}
    default = QueueSpec(
        name=queue.name,
        max_running_apps=defaults.max_running_apps,
        max_share=defaults.max_share,
        max_share_of_cluster=defaults.max_share_of_cluster,
        max_am_share=defaults.max_am_share,
    )
    plain |= _differing(queue, default, without=("name", "weight", "policy", "children"))
    if queue.children:
        plain["queues"] = _queues(queue, defaults)
    return plain


def _rule(rule: PlacementRule) -> dict[str, Any]:
    plain: dict[str, Any] = {"rule": str(rule.rule)}
    if rule.rule not in (Rule.REJECT, Rule.SECONDARY_GROUP):  # which never make a queue, and have no such key
        plain["create"] = rule.create
    if rule.queue is not None:
        plain["queue"] = rule.queue
    if rule.parent is not None:
        plain["parent"] = _rule(rule.parent)
    return plain


def _differing(
    declared: QueueSpec | QueueDefaults, default: QueueSpec | QueueDefaults, *, without: tuple[str, ...]
) -> dict[str, Any]:
    """What is not as it is by default, by keys. A share has two fields, of which one is None."""
    return {
        _key(field.name): _value(field.name, value)
        for field in fields(declared)
        if field.name not in without
        and (value := getattr(declared, field.name)) != getattr(default, field.name)
        and (value is not None or field.name == "max_am_share")
    }


def _key(name: str) -> str:
    return name.removesuffix("_s").removesuffix("_of_cluster")


def _value(name: str, value: Any) -> Any:
    if name == "max_am_share":
        return "none" if value is None else value
    if name == "max_running_apps_of_users":
        return dict(value)
    if name == "accessible_node_labels":
        return EVERY_LABEL if value == (EVERY_LABEL,) else list(value)
    if name.endswith("_s"):
        return "never" if value == math.inf else f"{value:.15g}s"
    if isinstance(value, Resources | ShareOfCluster):
        return show_share(value)
    if isinstance(value, AccessList):
        return "*" if value.everybody else {"users": list(value.users), "groups": list(value.groups)}
    return value if isinstance(value, bool | int | float) else str(value)
