"""The section `yarn` of ``hrm.yaml``: YARN's front door, which is shut unless it is opened expressly."""

from __future__ import annotations

import ipaddress
from typing import Any

from pydantic import Field

from hrm.config.documents import Document
from hrm.config.fields import AmountsLimit, AmountsOf, Strict
from hrm.config.shares import show_share
from hrm.config.yarn_services import ServiceShape, auxiliary_services, check_services, plain_services
from hrm.config.yarn_values import DEFAULT_LEAST, DERIVED_PROFILES, YarnConfig
from hrm.model.jobs import MAX_MASTER_ATTEMPTS
from hrm.model.resources import Resources


class YarnShape(Strict):
    """As it is written."""

    enabled: bool | None = Field(default=None, description="Clients of YARN may come in.")
    host: str | None = Field(default=None, description="Address to listen on.")
    client_port: int | None = Field(default=None, ge=0, le=65535, description="Port for clients; 0: any free one.")
    master_port: int | None = Field(default=None, ge=0, le=65535, description="Port for masters.")
    web_port: int | None = Field(default=None, ge=0, le=65535, description="Port for REST and browsers.")
    node_port: int | None = Field(default=None, ge=0, le=65535, description="Port at which masters start containers.")
    node_web_port: int | None = Field(default=None, ge=0, le=65535, description="Port for what a node tells over HTTP.")
    minimum: AmountsOf | None = Field(default=None, description="Smaller requests are raised to this.")
    increment: AmountsOf | None = Field(default=None, description="Requests are raised to multiples of this.")
    maximum: AmountsLimit | None = Field(default=None, description="Larger requests are refused.")
    resource_profiles: dict[str, AmountsOf] | None = Field(
        default=None, description="Amounts by names of their own; without any they are switched off."
    )
    classpath: str | None = Field(default=None, description="Where containers find Hadoop's classes.")
    max_attempts: int | None = Field(
        default=None, ge=1, le=MAX_MASTER_ATTEMPTS, description="How often a master is started at most."
    )
    auxiliary_services: dict[str, ServiceShape] | None = Field(
        default=None, description="Programs that every node runs beside containers, by name."
    )
    users: list[str] | None = Field(default=None, description="Users that are believed without a proof.")
    hosts: list[str] | None = Field(default=None, description="Addresses from which they are.")


def yarn_config(shape: YarnShape | None) -> YarnConfig:
    given: dict[str, Any] = {}
    if shape is not None:
        given = {name: value for name in YarnShape.model_fields if (value := getattr(shape, name)) is not None}
    if given.get("node_port") == 0:
        # Whoever leaves the nodes' ports to chance need not say so twice.
        given.setdefault("node_web_port", 0)
    for key in ("minimum", "increment"):
        if key in given:
            # What is not named is as it is by default.
            named = given[key]
            given[key] = Resources(
                named.memory_mib or DEFAULT_LEAST.memory_mib,
                named.vcores_milli or DEFAULT_LEAST.vcores_milli,
                named.gpus_milli,
                named.others,
            )
    for key in ("users", "hosts"):
        if key in given:
            given[key] = tuple(given[key])
    if "auxiliary_services" in given:
        given["auxiliary_services"] = auxiliary_services(given["auxiliary_services"])
    return YarnConfig(**given)


def plain_yarn(config: YarnConfig) -> dict[str, Any]:
    """In the keys of the file."""
    return {
        "enabled": config.enabled,
        "host": config.host,
        "client_port": config.client_port,
        "master_port": config.master_port,
        "web_port": config.web_port,
        "node_port": config.node_port,
        "node_web_port": config.node_web_port,
        "minimum": show_share(config.minimum),
        "increment": show_share(config.increment),
        **({} if config.maximum is None else {"maximum": show_share(config.maximum)}),
        **(
            {"resource_profiles": {name: show_share(one) for name, one in config.resource_profiles.items()}}
            if config.resource_profiles
            else {}
        ),
        "max_attempts": config.max_attempts,
        "classpath": config.classpath,
        **({"auxiliary_services": plain_services(config.auxiliary_services)} if config.auxiliary_services else {}),
        "users": list(config.users),
        "hosts": list(config.hosts),
    }


def check_yarn(document: Document, shape: YarnShape | None) -> None:
    """Add a finding for each rule that the section breaks."""
    if shape is None:
        return
    if shape.auxiliary_services:
        check_services(document, shape.auxiliary_services)
    config = yarn_config(shape.model_copy(update={"auxiliary_services": None}))
    for key in ("minimum", "increment"):
        amounts = getattr(config, key)
        if amounts.vcores_milli % 1000 or amounts.gpus_milli % 1000:
            document.add(("yarn", key), "YARN has whole CPUs and GPUs only", next_step="write for example 1 cpu, 128M")
    if config.maximum is not None and (over := config.minimum.exceeding(config.maximum)):
        document.add(("yarn", "maximum"), f"below minimum in {', '.join(over)}", next_step="raise it")
    for name, amounts in config.resource_profiles.items():
        if amounts.vcores_milli % 1000 or amounts.gpus_milli % 1000:
            document.add(
                ("yarn", "resource_profiles", name),
                "YARN has whole CPUs and GPUs only",
                next_step="write for example 1 cpu, 128M",
            )
        if name in DERIVED_PROFILES:
            document.add(
                ("yarn", "resource_profiles", name),
                f"{name!r} is what yarn.{name} says",
                next_step="leave it out, or set that",
            )
    for number, host in enumerate(config.hosts):
        try:
            ipaddress.ip_network(host)
        except ValueError:
            document.add(
                ("yarn", "hosts", number), f"not an address: {host!r:.60}", next_step="as 10.0.0.7 or 10.0.0.0/24"
            )
    if config.is_open_to_others and not (config.users and config.hosts):
        document.add(
            ("yarn", "host"),
            f"{config.host!r} is not a loopback address: there nothing proves who calls",
            next_step="keep 127.0.0.1, or list whom you believe, and from where, under yarn.users and yarn.hosts",
        )
