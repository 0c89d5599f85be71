"""Who may use which queue, seen from outside: the real service behind the real door."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hrm.api.native import create_app
from hrm.api.settings import PREFIX, ApiSettings
from hrm.model.access import NOBODY, AccessList
from hrm.model.reports import ReloadReport
from hrm.testing.accounts import made_up_accounts
from hrm.testing.builders import queue, queues
from hrm.testing.lives import Life, Lives
from tests.scenarios.api.running_server import TOKENS

USERS = ("ada", "bob", "eve", "grace", "alan")
GROUPS = {"bob": ("users", "staff"), "eve": ("users",)}
TREE = queues(
    queue("default", submit_acl=AccessList(everybody=True)),
    queue(
        "research",
        queue("vision"),
        queue("speech", submit_acl=AccessList(users=("alan",))),
        submit_acl=AccessList(users=("ada",), groups=("staff",)),
        admin_acl=AccessList(users=("grace",)),
    ),
    submit_acl=NOBODY,
)


class Door:
    """Calls by name of the user."""

    def __init__(self, http: httpx.AsyncClient, life: Life) -> None:
        self._http = http
        self.life = life

    async def post(self, user: str, path: str, body: dict[str, Any] | None = None, *, admin: bool = False) -> Any:
        headers = {"Authorization": f"Bearer {TOKENS.mint(user, admin=admin)}"}
        return await self._http.post(f"{PREFIX}{path}", json=body or {}, headers=headers)

    async def get(self, user: str, path: str) -> Any:
        return (
            await self._http.get(f"{PREFIX}{path}", headers={"Authorization": f"Bearer {TOKENS.mint(user)}"})
        ).json()

    async def submit(self, user: str, queue: str, *, admin: bool = False) -> Any:
        job = {"queue": queue, "groups": [{"command": ["sleep", "1000000"]}]}
        return await self.post(user, "/applications", {"job": job}, admin=admin)


async def reload() -> ReloadReport:
    return ReloadReport(added=[], removed=[], changed=[])


def configuration() -> dict[str, Any]:
    return {}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    accounts = made_up_accounts({"root": 0, **dict.fromkeys(USERS, os.geteuid() or 1001)})
    async with Lives(tmp_path, root=TREE, groups=GROUPS) as lives:
        life = await lives.begin()
        app = create_app(
            life.service,
            tokens=TOKENS,
            settings=ApiSettings(),
            reload=reload,
            configuration=configuration,
            accounts=accounts,
        )
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            yield Door(http, life)


@pytest.mark.parametrize(
    ("user", "allowed"),
    [
        ("ada", ["default", "research.vision", "research.speech"]),
        ("bob", ["default", "research.vision", "research.speech"]),
        ("grace", ["default", "research.vision", "research.speech"]),
        ("alan", ["default", "research.speech"]),
        ("eve", ["default"]),
    ],
)
async def test_users_submit_where_a_list_of_the_queue_or_of_one_above_names_them_or_their_group(
    door: Door, user: str, allowed: list[str]
) -> None:
    leaves = ("default", "research.vision", "research.speech")
    assert [leaf for leaf in leaves if (await door.submit(user, f"root.{leaf}")).status_code == 201] == allowed


async def test_who_may_not_is_told_who_may(door: Door) -> None:
    answer = await door.submit("eve", "research.speech")
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "forbidden"
    assert "eve may not submit to research.speech" in answer.json()["error"]["message"]
    assert "allow: alan, ada, group staff, grace" in answer.json()["error"]["message"]
    assert door.life.containers() == []


async def test_an_admin_of_the_server_submits_everywhere(door: Door) -> None:
    assert (await door.submit("eve", "research.vision", admin=True)).status_code == 201


async def test_an_administrator_of_a_queue_ends_moves_and_changes_what_others_have_there(door: Door) -> None:
    app = f"/applications/{(await door.submit('ada', 'research.vision')).json()['application_id']}"
    for user, status in (("bob", 403), ("grace", 200)):
        assert (await door.post(user, f"{app}/priority", {"priority": 3})).status_code == status
        assert (await door.post(user, f"{app}/deadline", {"at": None})).status_code == status
        await door.life.settle()
        assert (await door.post(user, f"{app}/suspend")).status_code == status
        assert (await door.post(user, f"{app}/resume")).status_code == status
        assert (await door.post(user, f"{app}/move", {"queue": "research.speech"})).status_code == status
    assert (await door.get("eve", app))["queue"] == "research.speech"
    assert (await door.post("bob", f"{app}/kill")).status_code == 403
    assert (await door.post("grace", f"{app}/kill")).status_code == 204
    assert (await door.post("grace", f"{app}/signal", {"signum": 15})).status_code == 403


async def test_what_is_elsewhere_is_none_of_their_business(door: Door) -> None:
    app = f"/applications/{(await door.submit('eve', 'default')).json()['application_id']}"
    answer = await door.post("grace", f"{app}/kill")
    assert answer.status_code == 403
    assert "grace does not administer default" in answer.json()["error"]["message"]


async def test_an_owner_moves_only_to_where_they_may_submit(door: Door) -> None:
    app = f"/applications/{(await door.submit('eve', 'default')).json()['application_id']}"
    answer = await door.post("eve", f"{app}/move", {"queue": "research.vision"})
    assert answer.status_code == 403
    assert "eve may not submit to research.vision" in answer.json()["error"]["message"]
    assert (await door.get("eve", app))["queue"] == "default"


async def test_a_trial_is_refused_as_the_submission_would_be(door: Door) -> None:
    job = {"queue": "research.vision", "groups": [{"command": ["sleep", "1000000"]}]}
    assert (await door.post("eve", "/applications/placement", {"job": job})).status_code == 403
    answer = await door.post("ada", "/applications/placement", {"job": job})
    assert answer.json() == {"queue": "research.vision", "rule": "specified", "makes": []}
    assert await door.get("ada", "/applications") == []


async def test_everybody_sees_who_may_use_which_queue(door: Door) -> None:
    rows = {row["name"]: row for row in await door.get("alan", "/queues/access")}
    assert rows["research.speech"] == {
        "name": "research.speech",
        "may_submit": True,
        "administers": False,
        "submitters": "alan, ada, group staff",
        "administrators": "grace",
    }
    assert (rows["research.vision"]["may_submit"], rows["default"]["submitters"]) == (False, "everybody")


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("move", {}),
        ("move", {"queue": 3}),
        ("priority", {}),
        ("priority", {"priority": "high"}),
        ("move", {"to": "x"}),
        ("deadline", {}),
        ("deadline", {"at": "later"}),
    ],
)
async def test_a_body_that_says_nothing_useful_is_refused(door: Door, call: str, body: dict[str, Any]) -> None:
    app = f"/applications/{(await door.submit('ada', 'default')).json()['application_id']}"
    assert (await door.post("ada", f"{app}/{call}", body)).status_code in (400, 422)
