"""Masters' pages by way of the server, and what containers printed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from hrm.yarn.proto import records_pb2 as records
from tests.scenarios.yarn.client_door import Door
from tests.scenarios.yarn.rest_door import Rest


class Page:
    """A master's page: answers with ``answer`` and keeps what it was asked, as it came."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\nX-Own: 1\r\n\r\nhello"

    async def __aenter__(self) -> Page:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:")), 0)
        self.asked.append(head + (await reader.readexactly(length)).decode())
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@pytest.fixture
async def rest(door: Door) -> AsyncIterator[Rest]:
    rest = Rest(door)
    yield rest
    await rest.close()


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with Page() as page:
        yield page


async def shown(rest: Rest, page: Page, *, path: str = "", **submission: object) -> str:
    """An application whose master registered with the page."""
    app = await rest.door.submit(**submission)
    master = rest.door.master(app)
    await master.calls.register(master.attempt_id, host="127.0.0.1", rpc_port=0, tracking_url=page.url + path)
    return app


async def test_a_masters_page_is_passed_on(rest: Rest, page: Page) -> None:
    app = await shown(rest, page)
    response = await rest(f"/proxy/{app}/jobs/job?id=1&x=%2F")
    assert (response.status_code, response.text, response.headers["content-type"]) == (200, "hello", "text/html")
    assert page.asked[0].startswith("GET /jobs/job?id=1&x=%2F HTTP/1.1\r\n")


async def test_what_is_sent_goes_on_to_the_page_with_who_sends_it_and_no_secrets(rest: Rest, page: Page) -> None:
    app = await shown(rest, page)
    await rest(
        f"/proxy/{app}/kill", method="POST", content=b"id=1", user=None,
        headers={"Authorization": "Bearer of-admin", "Cookie": "session=secret", "Content-Type": "text/plain"},
    )  # fmt: skip
    (asked,) = page.asked
    assert asked.endswith("id=1")
    assert "Cookie: proxy-user=chief" in asked
    assert "of-admin" not in asked
    assert "secret" not in asked


async def test_the_page_may_lie_below_a_path(rest: Rest, page: Page) -> None:
    app = await shown(rest, page, path="/ui/")
    await rest(f"/proxy/{app}/stages")
    assert page.asked[0].startswith("GET /ui/stages ")


async def test_its_scripts_may_talk_to_the_page_alone(rest: Rest, page: Page) -> None:
    app = await shown(rest, page)
    policy = (await rest(f"/proxy/{app}/")).headers["content-security-policy"]
    assert f"connect-src http://rm:8088/proxy/{app}/;" in policy


@pytest.mark.parametrize(
    ("place", "here"),
    [
        ("{url}/jobs/?x=1", "/proxy/{app}/jobs/?x=1"),
        ("/jobs/", "/proxy/{app}/jobs/"),
        ("{url}/proxy/{app}/jobs/", "/proxy/{app}/jobs/"),
        ("http://elsewhere.example.org/", "http://elsewhere.example.org/"),
    ],
)
async def test_where_it_redirects_to_is_reached_by_way_of_the_server(
    rest: Rest, page: Page, place: str, here: str
) -> None:
    app = await shown(rest, page)
    location = place.format(url=page.url, app=app)
    page.answer = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    response = await rest(f"/proxy/{app}/")
    assert (response.status_code, response.headers["location"]) == (302, here.format(app=app))
    assert len(page.asked) == 1


async def test_a_browser_that_a_master_sends_back_is_sent_to_its_page(rest: Rest, page: Page) -> None:
    app = await shown(rest, page)
    response = await rest(f"/proxy/redirect/{app}/jobs/?x=1")
    assert (response.status_code, response.headers["location"]) == (302, f"/proxy/{app}/jobs/?x=1")


async def test_a_redirect_to_what_is_no_address_is_said(rest: Rest, page: Page) -> None:
    app = await shown(rest, page)
    page.answer = b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n"
    response = await rest(f"/proxy/{app}/")
    assert response.status_code == 502
    assert "which is no address" in response.json()["RemoteException"]["message"]


async def test_a_master_that_sends_its_own_proxy_back_goes_round_no_circle(rest: Rest, page: Page) -> None:
    app = await shown(rest, page)
    page.answer = f"HTTP/1.1 302 Found\r\nLocation: /proxy/redirect/{app}/\r\nContent-Length: 0\r\n\r\n".encode()
    assert (await rest(f"/proxy/{app}/")).status_code == 502


async def test_others_are_not_shown_it_unless_its_acl_names_them(rest: Rest, page: Page) -> None:
    mine = await shown(rest, page)
    acls = records.ContainerLaunchContextProto(
        application_ACLs=[records.ApplicationACLMapProto(accessType=records.APPACCESS_VIEW_APP, acl="bob")]
    )
    shared = await shown(rest, page, am_container_spec=acls)
    assert (await rest(f"/proxy/{mine}/", user="bob")).status_code == 403
    assert (await rest(f"/proxy/{mine}/", user=None)).status_code == 401
    assert (await rest(f"/proxy/{shared}/", user="bob")).status_code == 200
    assert len(page.asked) == 1


async def test_nothing_but_http_is_fetched(rest: Rest, page: Page) -> None:
    page.url = page.url.replace("http:", "https:")
    app = await shown(rest, page)
    response = await rest(f"/proxy/{app}/")
    assert response.status_code == 502
    assert "only http is fetched" in response.json()["RemoteException"]["message"]
    assert page.asked == []


@pytest.mark.parametrize("listeners", [{0}, {1002}, {1001, 1002}])
async def test_on_this_machine_nobody_is_asked_but_programs_of_the_applications_user(
    rest: Rest, page: Page, listeners: set[int]
) -> None:
    app = await shown(rest, page)
    rest.listeners = listeners
    response = await rest(f"/proxy/{app}/")
    assert response.status_code == 502
    assert "is not a process of ada's" in response.json()["RemoteException"]["message"]
    assert page.asked == []


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "224.0.0.1", "0.0.0.0", "[::]", "0"]
)
async def test_addresses_that_mean_something_else_to_each_machine_are_not_asked(
    rest: Rest, page: Page, host: str
) -> None:
    page.url = f"http://{host}:80"
    app = await shown(rest, page)
    response = await rest(f"/proxy/{app}/latest/meta-data/")
    assert response.status_code == 502
    assert "where no page is asked for" in response.json()["RemoteException"]["message"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://127.0.0.1:port", "http://[::1", "http://:80"])
async def test_an_address_that_is_none_is_said(rest: Rest, page: Page, url: str) -> None:
    page.url = url
    app = await shown(rest, page)
    assert (await rest(f"/proxy/{app}/")).status_code == 502


async def test_a_name_is_looked_up_once_and_asked_for_where_that_leads(
    rest: Rest, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(page.url.rpartition(":")[2])
    answers = [[(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]]
    look_up = socket.getaddrinfo

    def looked_up(host: object, *rest: object, **more: object) -> object:
        return answers.pop() if host == "rebound.example.org" else look_up(host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    page.url = f"http://rebound.example.org:{port}"
    app = await shown(rest, page)
    assert (await rest(f"/proxy/{app}/")).text == "hello"
    assert "host: rebound.example.org" in page.asked[0].lower()
    assert answers == []


async def test_a_page_that_is_gone_is_said(rest: Rest, page: Page) -> None:
    app = await shown(rest, page)
    await page.__aexit__()
    response = await rest(f"/proxy/{app}/")
    assert response.status_code == 502
    assert "cannot be had" in response.json()["RemoteException"]["message"]


async def test_what_has_no_page_or_is_over_leads_to_what_is_known_of_it(rest: Rest, page: Page) -> None:
    young = await rest.door.submit()
    over = await shown(rest, page)
    await rest.door.life.service.kill(over, by="ada")
    await rest.door.life.ended(over)
    for app in (young, over):
        response = await rest(f"/proxy/{app}/")
        assert (response.status_code, response.headers["location"]) == (302, f"http://rm:8088/cluster/app/{app}")
        assert app in (await rest(f"/cluster/app/{app}")).text
    assert page.asked == []


# --- output


async def printing(rest: Rest) -> tuple[str, str]:
    """An application whose master printed, and its container."""
    spec = records.ContainerLaunchContextProto(command=["echo hello <there>; echo trouble >&2; sleep 1000"])
    app = await rest.door.submit(am_container_spec=spec)
    (container,) = rest.door.life.containers(app)
    return app, container


async def test_what_a_container_printed_is_shown_and_told_as_it_is(rest: Rest) -> None:
    _, container = await printing(rest)
    page = await rest(f"/node/containerlogs/{container}/ada")
    assert "hello &lt;there&gt;" in page.text
    assert "trouble" in page.text
    assert "sandbox" in page.headers["content-security-policy"]
    assert (await rest(f"/ws/v1/node/containerlogs/{container}/stdout")).text == "hello <there>\n"
    assert (await rest(f"/ws/v1/node/containers/{container}/logs/stderr")).text == "trouble\n"
    assert "hello" not in (await rest(f"/node/containerlogs/{container}/ada/stderr?start=-4096")).text


async def test_it_is_told_after_the_end_too(rest: Rest) -> None:
    app, container = await printing(rest)
    await rest.door.life.service.kill(app, by="ada")
    await rest.door.life.ended(app)
    assert (await rest(f"/ws/v1/node/containerlogs/{container}/stdout")).text == "hello <there>\n"


async def test_it_is_its_owners(rest: Rest) -> None:
    _, container = await printing(rest)
    for path in (f"/node/containerlogs/{container}/ada", f"/ws/v1/node/containerlogs/{container}/stdout"):
        assert (await rest(path, user="bob")).status_code == 403
    assert (await rest.told("/ws/v1/node/containers", user="bob"))["containers"] is None
    assert len((await rest.told("/ws/v1/node/containers"))["containers"]["container"]) == 1


async def test_what_it_wrote_beside_that_is_listed_and_told(rest: Rest) -> None:
    _, container = await printing(rest)
    logs = rest.door.life.engine.cluster.container("n1", container).logs
    logs["gc.log"] = bytearray(b"pause <1> ms\n")
    told = await rest.told(f"/ws/v1/node/containers/{container}/logs")
    files = {one["fileName"]: one["fileSize"] for one in told["containerLogsInfo"]["containerLogInfo"]}
    assert files == {"stdout": "14", "stderr": "8", "gc.log": "13"}
    assert (await rest(f"/ws/v1/node/containers/{container}/logs/gc.log")).text == "pause <1> ms\n"
    assert "pause &lt;1&gt;" in (await rest(f"/node/containerlogs/{container}/ada/gc.log")).text


async def test_hadoops_clients_may_ask_for_leave_and_a_browser_gets_none(rest: Rest) -> None:
    answer = await rest("/ws/v1/node/info?user.name=eve", method="OPTIONS", user=None)
    assert (answer.status_code, answer.text) == (200, "")
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_files_and_containers_that_are_not_there_are_said(rest: Rest) -> None:
    _, container = await printing(rest)
    assert (await rest(f"/ws/v1/node/containerlogs/{container}/syslog")).status_code == 404
    assert (await rest(f"/node/containerlogs/{container}/ada/..%2f..%2fpasswd")).status_code == 404
    assert (await rest("/ws/v1/node/containerlogs/container_x/stdout")).status_code == 400
    gone = container[:-1] + "9"
    assert (await rest(f"/ws/v1/node/containerlogs/{gone}/stdout")).status_code == 404
