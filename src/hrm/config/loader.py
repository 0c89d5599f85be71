"""Reads ``hrm.yaml``: shape, then rules, then values with defaults filled in."""

from __future__ import annotations

import socket
from dataclasses import fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from hrm.config.doctor_keys import expected_of
from hrm.config.documents import Document
from hrm.config.file_keys import files_settings
from hrm.config.inventory_keys import inventory_of
from hrm.config.machine import usable_memory_mib, usable_vcores_milli
from hrm.config.rules import check_rules
from hrm.config.schema import (
    ConfigShape,
    EngineShape,
    NodeShape,
    RetentionShape,
    SchedulerShape,
    ServerShape,
)
from hrm.config.trees import in_seconds, placement_policy, root_of
from hrm.config.values import HrmConfig, NodeConfig, SchedulerConfig, ServerConfig
from hrm.config.yarn_door import yarn_config
from hrm.model.cleaning import RetentionPolicy
from hrm.model.engine import EngineSettings
from hrm.model.errors import InvalidInput
from hrm.model.ids import parse_node_id
from hrm.model.isolation import IsolationSettings
from hrm.model.resources import Resources
from hrm.model.scheduling import SchedulerOptions


def load_config(path: Path | None = None) -> HrmConfig:
    """The configuration in ``path``, or all defaults where it is None.

    Raises InvalidInput where the file cannot be read, BadDocument with every finding where it is wrong.
    """
    return parse_config(Document("", "defaults") if path is None else Document.load(path))


def parse_plain(data: dict[str, Any], source: str) -> HrmConfig:
    """A configuration that came as data, in the keys of the file (`hrm.config.plain`). Raises BadDocument."""
    return parse_config(Document(yaml.safe_dump(data, sort_keys=False), source))


def parse_config(document: Document) -> HrmConfig:
    """Raises BadDocument with every finding."""
    shape = document.fit(ConfigShape)
    if shape is not None:
        check_rules(document, shape)
    document.raise_findings()
    assert shape is not None, "a shape that does not fit has findings"
    scheduler = _scheduler(shape.scheduler or SchedulerShape())
    return HrmConfig(
        scheduler=scheduler,
        queues=root_of(shape, scheduler.placement.defaults),
        node=_node(shape.node or NodeShape()),
        inventory=inventory_of(document, shape.nodes, shape.node_labels),
        engine=_engine(shape.engine or EngineShape()),
        server=_server(shape.server or ServerShape()),
        retention=_retention(shape.retention or RetentionShape()),
        yarn=yarn_config(shape.yarn),
        files=files_settings(shape.files),
        doctor=expected_of(shape.doctor),
    )


def default_text() -> str:
    """The commented file that `hrm config init` writes."""
    return files("hrm.config").joinpath("default.yaml").read_text(encoding="utf-8")


def _scheduler(shape: SchedulerShape) -> SchedulerConfig:
    given = in_seconds(_given(shape), SchedulerOptions)
    options = {field.name: given[field.name] for field in fields(SchedulerOptions) if field.name in given}
    config = SchedulerConfig(options=SchedulerOptions(**options), placement=placement_policy(shape))
    return config if shape.master_timeout is None else replace(config, master_timeout_s=shape.master_timeout)


def _node(shape: NodeShape) -> NodeConfig:
    node = NodeConfig(
        node_id=shape.node_id or _host_name(),
        total=Resources(
            memory_mib=shape.memory if shape.memory is not None else usable_memory_mib(),
            vcores_milli=shape.vcores if shape.vcores is not None else usable_vcores_milli(),
        ),
        gpu_devices=None if shape.gpu_devices is None else tuple(shape.gpu_devices),
        virtual_gpus=shape.virtual_gpus or 0,
        isolation=_isolation(shape),
    )
    return node if shape.log_limit is None else replace(node, log_limit_bytes=shape.log_limit << 20)


def _isolation(shape: NodeShape) -> IsolationSettings:
    given: dict[str, Any] = {
        "mode": shape.isolation,
        "strict_cpus": shape.strict_cpus,
        "pin_cpus": shape.pin_cpus,
        "max_processes": shape.max_processes,
        "disk_quota_mib": shape.disk_quota,
        "umask": shape.umask,
    }
    return IsolationSettings(**{name: value for name, value in given.items() if value is not None})


def _engine(shape: EngineShape) -> EngineSettings:
    given = _given(shape)
    if "node_timeout" in given:
        given["node_timeout_s"] = given.pop("node_timeout")
    return EngineSettings(**given)


def _server(shape: ServerShape) -> ServerConfig:
    given = _given(shape)
    for key in ("allowed_hosts", "allowed_origins"):
        if key in given:
            given[key] = tuple(given[key])
    for key, name, factor in (("max_body", "max_body_bytes", 1 << 20), ("idle_exit", "idle_exit_s", 1)):
        if key in given:
            given[name] = given.pop(key) * factor
    return ServerConfig(**given)


def _retention(shape: RetentionShape) -> RetentionPolicy:
    given = _given(shape)
    for key in ("applications_age", "logs_age", "scratch_age", "uploads_age"):
        if key in given:
            given[f"{key}_s"] = given.pop(key)
    for key in ("logs", "scratch", "uploads"):
        if f"{key}_size" in given:
            given[f"{key}_bytes"] = given.pop(f"{key}_size") << 20
    return RetentionPolicy(**given)


def _given(shape: SchedulerShape | EngineShape | ServerShape | RetentionShape) -> dict[str, Any]:
    return {name: value for name in type(shape).model_fields if (value := getattr(shape, name)) is not None}


def _host_name() -> str:
    name = socket.gethostname()
    try:
        return parse_node_id(name)
    except InvalidInput:
        return "localhost"
