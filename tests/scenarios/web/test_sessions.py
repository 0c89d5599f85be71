"""Who may look, how they log in and out, and what other sites cannot make them do."""

from __future__ import annotations

import re

import pytest

from hrm.testing.facade import NODE_ID, FakeFacade
from hrm.web.actions import ACTIONS
from hrm.web.page import ROOT
from hrm.web.pages import SITE
from tests.scenarios.api.running_server import TOKENS
from tests.scenarios.web.conftest import Browser


def word_in(html: str) -> str:
    found = re.search(r'name="form_word" value="([0-9a-f]{64})"', html)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("page", SITE.pages, ids=lambda page: page.path)
async def test_who_is_not_logged_in_is_sent_to_the_login_and_from_there_back(browser: Browser, page: object) -> None:
    path = page.path.replace("{application_id}", "application_1_0001").replace("{", "").replace("}", "")
    answer = await browser().get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{ROOT}/login?next=/ui")


async def test_a_token_logs_in_and_the_cookie_is_no_scripts_and_no_other_sites(browser: Browser) -> None:
    visitor = browser()
    answer = await visitor.post(f"{ROOT}/login", data={"token": TOKENS.mint("ada"), "next": f"{ROOT}/nodes"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{ROOT}/nodes")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/ui"} <= set(cookie.split("; "))
    assert (await visitor.get(f"{ROOT}/nodes")).status_code == 200


async def test_a_session_lasts_no_longer_than_the_token_that_began_it(browser: Browser) -> None:
    answer = await browser().post(f"{ROOT}/login", data={"token": TOKENS.mint("ada", ttl_s=100)})
    assert 0 < int(re.search(r"Max-Age=(\d+)", answer.headers["set-cookie"])[1]) <= 100  # type: ignore[index]


@pytest.mark.parametrize("token", ["", "nonsense", TOKENS.mint("ada", attempt_id="appattempt_1_0001_000001")])
async def test_a_wrong_token_is_told_and_begins_nothing(browser: Browser, token: str) -> None:
    answer = await browser().post(f"{ROOT}/login", data={"token": token})
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("onward", ["https://evil.example/", "//evil.example", "/uix", "/api/v1/nodes", ""])
async def test_the_login_leads_nowhere_but_to_pages_of_this_site(browser: Browser, onward: str) -> None:
    answer = await browser().post(f"{ROOT}/login", data={"token": TOKENS.mint("ada"), "next": onward})
    assert answer.headers["location"] == ROOT


async def test_logging_out_ends_the_session(browser: Browser) -> None:
    visitor = browser("ada")
    word = word_in((await visitor.get(ROOT)).text)
    answer = await visitor.post(f"{ROOT}/logout", data={"form_word": word})
    assert answer.headers["location"] == f"{ROOT}/login"
    assert (await visitor.get(ROOT)).status_code == 303


async def test_the_api_takes_no_cookie(browser: Browser) -> None:
    visitor = browser()
    visitor.headers["cookie"] = f"hrm_session={TOKENS.mint('ada')}"
    assert (await visitor.get("/api/v1/nodes")).status_code == 401


@pytest.mark.parametrize("path", [*ACTIONS, f"{ROOT}/logout"])
@pytest.mark.parametrize("word", [None, "", "0" * 64])
async def test_a_form_that_another_site_made_does_nothing(
    browser: Browser, facade: FakeFacade, path: str, word: str | None
) -> None:
    at = re.sub(r"\{node_id\}", NODE_ID, path)
    at = re.sub(r"\{application_id\}", "application_1763900000000_0001", at)
    answer = await browser("ada", admin=True).post(at, data={"other": "field"} if word is None else {"form_word": word})
    assert answer.status_code == 403
    assert facade.drain is None


async def test_a_form_made_for_another_user_does_nothing(browser: Browser, facade: FakeFacade) -> None:
    word = word_in((await browser("bob", admin=True).get(f"{ROOT}/nodes")).text)
    answer = await browser("ada", admin=True).post(f"{ROOT}/nodes/{NODE_ID}/drain", data={"form_word": word})
    assert (answer.status_code, facade.drain) == (403, None)


async def test_an_admin_drains_a_node_and_uses_it_again(browser: Browser, facade: FakeFacade) -> None:
    admin = browser("ada", admin=True)
    word = word_in((await admin.get(f"{ROOT}/nodes")).text)
    await admin.post(f"{ROOT}/nodes/{NODE_ID}/drain", data={"form_word": word, "reason": "a  new\ndisk"})
    assert facade.drain is not None and facade.drain[1:] == ("ada", "a new disk")
    await admin.post(f"{ROOT}/nodes/{NODE_ID}/undrain", data={"form_word": word})
    assert facade.drain is None


async def test_who_is_no_admin_sees_no_buttons_and_is_refused(browser: Browser, facade: FakeFacade) -> None:
    visitor = browser("ada")
    html = (await visitor.get(f"{ROOT}/nodes")).text
    assert "/drain" not in html
    answer = await visitor.post(f"{ROOT}/nodes/{NODE_ID}/drain", data={"form_word": word_in(html)})
    assert (answer.status_code, facade.drain) == (403, None)
    assert "no admin" in answer.text


async def test_every_answer_forbids_what_the_site_does_not_need(browser: Browser) -> None:
    for answer in (await browser().get(f"{ROOT}/login"), await browser("ada").get(ROOT)):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_another_host_name_is_refused_as_it_is_at_the_api(browser: Browser) -> None:
    answer = await browser("ada").get(ROOT, headers={"host": "evil.example"})
    assert answer.status_code == 403
