"""What a master's calls carry, and what is refused of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from hrm.model.masters import FinalStatus
from hrm.model.requests import ExecutionType, ResourceRequest
from hrm.model.resources import Resources
from hrm.testing.facade import FakeFacade

ATTEMPT = "appattempt_1763900000000_0001_000001"


@pytest.fixture
async def call(app: FastAPI, bearer: Callable[..., dict[str, str]]) -> AsyncIterator[Any]:
    """Calls as the attempt's master; gives the answer."""
    headers = bearer("ada", attempt_id=ATTEMPT)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:

        async def post(what: str, body: dict[str, Any]) -> httpx.Response:
            return await client.post(f"/api/v1/masters/{ATTEMPT}/{what}", json=body)

        yield post


async def test_asks_come_in_as_requests_with_absolute_counts(call: Any, facade: FakeFacade) -> None:
    ask = {"resources": {"memory_mib": 512, "vcores_milli": 500}, "count": 3, "allocation_request_id": 7}
    answer = await call("allocate", {"response_id": 4, "asks": [ask], "progress": 0.5})

    assert answer.json() == {
        "response_id": 5,
        "allocated": [],
        "ended": [],
        "warned": [],
        "spared": [],
        "resized": {},
        "retyped": {},
        "resync": False,
    }
    assert facade.masters.asks == [
        ResourceRequest(resources=Resources(memory_mib=512, vcores_milli=500), count=3, allocation_request_id=7)
    ]


async def test_a_launch_carries_command_environment_and_directory(call: Any, facade: FakeFacade) -> None:
    body = {"container_id": "container_e01_1_0001_01_000002", "command": ["a", "b"], "env": {"C": "d"}, "workdir": "/e"}
    answer = await call("launch", body)

    assert answer.json()["task_index"] == 1
    assert facade.masters.launched == [("container_e01_1_0001_01_000002", ("a", "b"), {"C": "d"}, "/e")]


async def test_containers_are_asked_for_promoted_and_demoted_by_name(call: Any, facade: FakeFacade) -> None:
    ask = {"resources": {"memory_mib": 512}, "execution_type": "opportunistic"}
    await call("allocate", {"asks": [ask]})
    facade.masters.gone.add("container_2")
    answer = await call("retype", {"containers": {"container_1": "guaranteed", "container_2": "opportunistic"}})

    assert [one.execution_type for one in facade.masters.asks] == [ExecutionType.OPPORTUNISTIC]
    assert answer.json() == {"refused": {"container_2": "it has ended"}}
    assert facade.masters.retyped["container_1"] is ExecutionType.GUARANTEED


async def test_the_last_word_is_a_status_with_a_message(call: Any, facade: FakeFacade) -> None:
    assert (await call("finish", {"status": "FAILED", "message": "two of three"})).status_code == 204
    assert facade.masters.final == (FinalStatus.FAILED, "two of three")


@pytest.mark.parametrize(
    ("what", "body", "field"),
    [
        ("allocate", {"response_id": -1}, "response_id"),
        ("allocate", {"response_id": True}, "response_id"),
        ("allocate", {"asks": {}}, "asks"),
        ("allocate", {"asks": [{}, 3]}, "asks[1]"),
        ("allocate", {"asks": [{"cuont": 3}]}, "asks[0]"),
        ("allocate", {"asks": [{"count": -1}]}, "asks[0].count"),
        ("allocate", {"asks": [{"resources": {"memory_mib": "4G"}}]}, "asks[0].resources.memory_mib"),
        ("allocate", {"releases": ["x", 3]}, "releases"),
        ("allocate", {"progress": 1.5}, "progress"),
        ("launch", {"command": ["true"]}, "container_id"),
        ("launch", {"container_id": "x"}, "command"),
        ("launch", {"container_id": "x", "command": "rm -rf /"}, "command"),
        ("allocate", {"asks": [{"resources": {"memory_mib": 1}, "execution_type": "spot"}]}, "asks[0].execution_type"),
        ("retype", {"containers": ["x"]}, "containers"),
        ("retype", {"containers": {"x": "spot"}}, "containers.x"),
        ("stop", {"container_ids": "all"}, "container_ids"),
        ("finish", {}, "status"),
        ("finish", {"status": "UNDEFINED"}, "status"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_its_field(
    call: Any, facade: FakeFacade, what: str, body: dict[str, Any], field: str
) -> None:
    answer = await call(what, body)

    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)
    assert facade.masters.calls == []
