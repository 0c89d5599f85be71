"""What the routes answer, in the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from hrm.api.settings import ApiSettings
from hrm.model.states import ApplicationState
from hrm.testing.facade import FakeFacade

JOB = {"groups": [{"command": ["echo", "hi"]}]}
V1 = "/api/v1"
Bearer = Callable[..., dict[str, str]]


async def submit(http: httpx.AsyncClient, **fields: Any) -> str:
    answer = await http.post(f"{V1}/applications", json={"job": JOB} | fields)
    assert answer.status_code in (200, 201), answer.text
    application_id: str = answer.json()["application_id"]
    return application_id


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    assert {"code", "message", "next_step"} <= error.keys()
    return error


async def test_a_submitted_job_is_the_token_users_own(http: httpx.AsyncClient, facade: FakeFacade) -> None:
    answer = await http.post(f"{V1}/applications", json={"job": JOB})

    assert answer.status_code == 201
    assert answer.json() == {
        "application_id": "application_1763900000000_0001",
        "created": True,
        "queue": "default",
        "rule": "default",
    }
    app = facade.apps["application_1763900000000_0001"]
    assert (app.user, app.job.groups[0].command) == ("ada", ("echo", "hi"))


async def test_the_same_submit_id_again_is_the_same_application(http: httpx.AsyncClient, facade: FakeFacade) -> None:
    first = await submit(http, submit_id="mine-1")
    again = await http.post(f"{V1}/applications", json={"job": JOB, "submit_id": "mine-1"})

    assert again.status_code == 200
    assert (again.json()["application_id"], again.json()["created"]) == (first, False)
    assert len(facade.apps) == 1


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({}, "job", "is missing"),
        ({"jobb": JOB}, None, "unknown field 'jobb'"),
        ([], None, "must be a JSON object"),
        ({"job": None}, "job", "must be an object, not null"),
        ({"job": {"groups": [{"command": ["x"], "task": 3}]}}, "job.groups[0]", "unknown field 'task'"),
        ({"job": {"groups": [{"command": ["x"], "tasks": 0}]}}, "job.groups[0].tasks", "must be from 1"),
        ({"job": JOB | {"queue": "nope"}}, "queue", "no queue 'nope'"),
        ({"job": JOB, "submit_id": ""}, "submit_id", "printable"),
        ({"job": JOB, "submit_id": 7}, "submit_id", "printable"),
    ],
)
async def test_a_wrong_submission_is_told_where_it_is_wrong(
    http: httpx.AsyncClient, facade: FakeFacade, body: Any, field: str | None, words: str
) -> None:
    answer = await http.post(f"{V1}/applications", json=body)

    assert answer.status_code == 422
    error = error_of(answer)
    assert (error["code"], error.get("field")) == ("invalid_input", field)
    assert words in error["message"]
    assert facade.apps == {}


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b'{"job": NaN}', b'{"job": "\\ud800"}'])
async def test_a_body_that_is_no_json_is_the_callers_fault(http: httpx.AsyncClient, body: bytes) -> None:
    answer = await http.post(f"{V1}/applications", content=body)

    assert answer.status_code in (400, 422)
    assert error_of(answer)["message"]


async def test_a_body_over_the_limit_is_refused_by_its_length(http: httpx.AsyncClient) -> None:
    answer = await http.post(f"{V1}/applications", content=b"x" * ((8 << 20) + 1))

    assert answer.status_code == 413
    assert error_of(answer)["code"] == "too_large"


async def test_a_body_that_does_not_say_its_length_is_counted(http: httpx.AsyncClient) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 1 << 20
            yield b" " * (1 << 20)

    answer = await http.post(f"{V1}/applications", content=endless())

    assert answer.status_code == 413
    assert sent == 9 << 20


async def test_a_large_job_within_the_limits_comes_in(http: httpx.AsyncClient, facade: FakeFacade) -> None:
    job = {"groups": [{"command": ["echo", "x" * 1_000_000], "name": f"g{n}"} for n in range(7)]}

    answer = await http.post(f"{V1}/applications", json={"job": job})

    assert answer.status_code == 201
    assert len(next(iter(facade.apps.values())).tasks) == 7


async def test_an_application_is_listed_and_looked_at(http: httpx.AsyncClient, facade: FakeFacade) -> None:
    first, second = await submit(http), await submit(http)
    facade.begin(second)

    listed = (await http.get(f"{V1}/applications")).json()
    running = (await http.get(f"{V1}/applications", params={"state": ["RUNNING", "FAILED"]})).json()
    one = (await http.get(f"{V1}/applications/{second}")).json()

    assert [app["application_id"] for app in listed] == [second, first]
    assert [app["application_id"] for app in running] == [second]
    assert (one["state"], one["tasks_running"], one["nodes"]) == ("RUNNING", 1, ["node-1"])


async def test_a_list_of_thousands_is_whole_and_in_order(http: httpx.AsyncClient) -> None:
    await submit(http, job={"groups": [{"command": ["true"], "tasks": 3000}]})

    tasks = (await http.get(f"{V1}/applications/application_1763900000000_0001/tasks?limit=10000")).json()

    assert [task["task_index"] for task in tasks] == list(range(3000))


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/applications/application_1763900000000_0099", 404, "not_found"),
        ("/applications/17", 422, "invalid_input"),
        ("/applications/application_1763900000000_0001%0a", 422, "invalid_input"),
        ("/applications/application_1763900000000_0001/logs?task=1", 404, "not_found"),
        ("/applications/application_1763900000000_0001/logs?stream=stdin", 422, "invalid_input"),
        ("/applications/application_1763900000000_0001/logs?attempt=7", 404, "not_found"),
        ("/applications/application_1763900000000_0001/wait?timeout_s=1e9", 422, "invalid_input"),
        ("/applications/application_1763900000000_0001/wait?timeout_s=nan", 422, "invalid_input"),
        ("/applications?state=RUNING", 422, "invalid_input"),
        ("/applications?limit=0", 422, "invalid_input"),
        ("/applications?stat=RUNNING", 422, "invalid_input"),
        ("/nope", 404, "not_found"),
        ("/applications/application_1763900000000_0001/kill", 405, "bad_request"),
    ],
)
async def test_a_wrong_question_gets_an_error_in_the_one_form(
    http: httpx.AsyncClient, path: str, status: int, code: str
) -> None:
    await submit(http)

    answer = await http.get(V1 + path)

    assert (answer.status_code, error_of(answer)["code"]) == (status, code)


async def test_a_misspelt_filter_names_the_right_one(http: httpx.AsyncClient) -> None:
    assert error_of(await http.get(f"{V1}/applications?stat=RUNNING"))["next_step"] == "did you mean state?"


async def test_a_killed_application_says_who_and_why(http: httpx.AsyncClient, facade: FakeFacade) -> None:
    first, second = await submit(http), await submit(http)

    assert (await http.post(f"{V1}/applications/{first}/kill")).status_code == 204
    assert (await http.post(f"{V1}/applications/{second}/kill", json={"message": "too slow"})).status_code == 204

    assert facade.apps[first].message == "killed by ada"
    assert facade.apps[second].message == "too slow"


async def test_waiting_ends_with_the_time_or_with_the_application(http: httpx.AsyncClient, facade: FakeFacade) -> None:
    application_id = await submit(http)

    early = await http.get(f"{V1}/applications/{application_id}/wait?timeout_s=0.01")
    await facade.kill(application_id, by="ada")
    late = await http.get(f"{V1}/applications/{application_id}/wait?timeout_s=60")

    assert (early.json()["state"], late.json()["state"]) == ("ACCEPTED", "KILLED")


@pytest.mark.parametrize("signum", [0, 65, -9, "TERM", None, True])
async def test_what_is_no_signal_is_not_sent(http: httpx.AsyncClient, facade: FakeFacade, signum: Any) -> None:
    application_id = await submit(http)

    answer = await http.post(f"{V1}/applications/{application_id}/signal", json={"signum": signum})

    assert answer.status_code == 422
    assert facade.apps[application_id].signals == []


async def test_a_log_is_given_as_the_bytes_it_is(http: httpx.AsyncClient, facade: FakeFacade) -> None:
    application_id = await submit(http)
    facade.begin(application_id)
    text = bytes(range(256)) * 1024
    facade.write(application_id, text)
    facade.write(application_id, b"oops", stream="stderr")
    logs = f"{V1}/applications/{application_id}/logs"

    whole = await http.get(logs)

    assert whole.headers["content-type"] == "application/octet-stream"
    assert whole.content == text
    assert (await http.get(f"{logs}?stream=stderr")).content == b"oops"
    assert (await http.get(f"{logs}?offset=262000")).content == text[262000:]
    assert (await http.get(f"{logs}?offset=-10")).content == text[-10:]


async def test_others_see_state_and_place_but_no_words(
    http: httpx.AsyncClient, facade: FakeFacade, bearer: Bearer
) -> None:
    application_id = await submit(http)
    facade.begin(application_id)
    facade.end(application_id, 3)
    facade.apps[application_id].message = "task 0: /home/ada/secret: exit code 3"

    async def words(headers: dict[str, str]) -> list[str]:
        paths = (
            f"/applications/{application_id}",
            "/applications",
            f"/applications/{application_id}/tasks",
            "/history",
        )
        answers = [(await http.get(V1 + path, headers=headers)).json() for path in paths]
        rows = [row for answer in answers for row in (answer if isinstance(answer, list) else [answer])]
        assert [row["state"] for row in rows] == ["FAILED"] * 4
        return [row["message"] for row in rows]

    assert await words(bearer("bob")) == [""] * 4
    assert all(await words(bearer("ada")))
    assert all(await words(bearer("root", admin=True)))


async def test_an_admin_may_end_anybodys_application_and_the_server(
    http: httpx.AsyncClient, facade: FakeFacade, bearer: Bearer
) -> None:
    application_id = await submit(http)
    admin = bearer("root", admin=True)

    assert (await http.post(f"{V1}/applications/{application_id}/kill", headers=admin)).status_code == 204
    assert (await http.post(f"{V1}/queues/reload", headers=admin)).json()["added"] == ["research"]
    assert (await http.post(f"{V1}/server/shutdown", headers=admin)).status_code == 202

    assert facade.apps[application_id].state is ApplicationState.KILLED
    assert facade.shutdown_requested


@pytest.mark.parametrize("path", ["server", "nodes", "queues", "containers", "history"])
async def test_what_all_share_is_shown(http: httpx.AsyncClient, facade: FakeFacade, path: str) -> None:
    facade.begin(await submit(http))

    answer = await http.get(f"{V1}/{path}")

    assert answer.status_code == 200
    assert answer.json()


async def test_an_unforeseen_failure_gives_an_id_and_nothing_of_the_inside(
    http: httpx.AsyncClient, facade: FakeFacade, caplog: pytest.LogCaptureFixture
) -> None:
    facade.nodes = lambda: 1 / 0  # type: ignore[method-assign,assignment,return-value]

    answer = await http.get(f"{V1}/nodes")

    assert answer.status_code == 500
    assert "division" not in answer.text
    incident = error_of(answer)["message"].partition("incident ")[2].rstrip(")")
    assert incident in caplog.text
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "", "127.0.0.2"])
async def test_a_name_that_is_not_this_servers_is_refused(http: httpx.AsyncClient, host: str) -> None:
    answer = await http.get(f"{V1}/server", headers={"Host": host})

    assert (answer.status_code, error_of(answer)["code"]) == (403, "forbidden")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8032", "localhost:1", "LOCALHOST", "[::1]:8032"])
async def test_every_loopback_name_is_this_servers(http: httpx.AsyncClient, host: str) -> None:
    assert (await http.get(f"{V1}/server", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1", 200),
        ("http://evil.example", 403),
        ("null", 403),
        ("http://127.0.0.1:3000", 403),
    ],
)
async def test_pages_of_other_origins_may_not_call(http: httpx.AsyncClient, origin: str, status: int) -> None:
    assert (await http.get(f"{V1}/server", headers={"Origin": origin})).status_code == status


@pytest.mark.parametrize(
    "settings", [ApiSettings(allowed_hosts=("Master00",), allowed_origins=("https://portal.example",))]
)
async def test_the_operator_may_name_hosts_and_origins(http: httpx.AsyncClient) -> None:
    named = {"Host": "master00:8032", "Origin": "https://portal.example"}

    assert (await http.get(f"{V1}/server", headers=named)).status_code == 200


@pytest.mark.parametrize("settings", [ApiSettings(requests_per_s=1, burst=3)])
async def test_too_many_calls_are_put_off(http: httpx.AsyncClient, bearer: Bearer) -> None:
    answers = [await http.get(f"{V1}/nodes") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].headers["retry-after"] == "1"
    assert error_of(answers[-1])["code"] == "too_many_requests"
    assert (await http.get(f"{V1}/nodes", headers=bearer("bob"))).status_code == 200


async def test_the_openapi_document_covers_every_route(app: FastAPI, http: httpx.AsyncClient) -> None:
    document = (await http.get(f"{V1}/openapi.json")).json()

    shown = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    routes = {
        (method, route.path)  # type: ignore[attr-defined]
        for route in app.routes
        for method in getattr(route, "methods", None) or ()
        if route.path.startswith(V1) and not route.path.endswith("openapi.json")  # type: ignore[attr-defined]
    }
    assert shown == routes
    assert all(operation["responses"]["default"] for path in document["paths"].values() for operation in path.values())


async def test_every_reference_of_the_openapi_document_leads_somewhere(http: httpx.AsyncClient) -> None:
    document = (await http.get(f"{V1}/openapi.json")).json()

    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return own.union(*(references(value) for value in node.values()))
        if isinstance(node, list):
            return set().union(*(references(value) for value in node))
        return set()

    found = references(document)
    assert "#/components/schemas/ApplicationReport" in found
    assert found <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
