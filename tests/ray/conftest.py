"""Clusters of Ray's, with real raylets: one for each module of tests, because a machine takes seconds to join."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hrm.engines.ray.engine import RayEngine
from hrm.engines.ray.token import require_ray
from hrm.model.engine import EngineSettings
from hrm.testing.ray_machines import RayMachines, ray_machines

#: Ray reads it once in the life of a process, and so all clusters of these tests have the same.
_TOKEN = secrets.token_hex(32)
_epochs = itertools.count(1)
EngineOf = Callable[..., RayEngine]


@pytest.fixture(scope="module")
def machines() -> Iterator[RayMachines]:
    """A head that runs no containers, and no machine yet."""
    with ray_machines() as cluster:
        cluster.head.membership.write_token(_TOKEN)
        cluster.start_head("--cpus=0")
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(cluster.head.membership.token_file))
        require_ray(ours=True)
        yield cluster


@pytest.fixture(scope="module")
def engine_of(machines: RayMachines) -> EngineOf:
    """Makes an engine over the cluster's machines, as the server of a home of that name would have it."""

    def make(server: str = "one", **settings: Any) -> RayEngine:
        return RayEngine(
            EngineSettings(**{"namespace": "hrm", **settings}),
            machines.address,
            server=server,
            epoch=next(_epochs),
            node_address=machines.head.address,
            heartbeat_interval_s=0.1,
        )

    return make
