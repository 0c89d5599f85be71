"""What pages show, in which language, and what they say where something is wrong."""

from __future__ import annotations

import pytest

from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.testing.facade import FakeFacade
from hrm.web.page import ROOT
from tests.scenarios.web.conftest import Browser


async def test_the_first_page_lists_what_waits_and_since_when(browser: Browser, facade: FakeFacade) -> None:
    await facade.submit(JobSpec(name="<b>train</b>", groups=(TaskGroupSpec(command=("true",)),)), user="ada")
    html = (await browser("ada").get(ROOT)).text
    assert "&lt;b&gt;train&lt;/b&gt;" in html
    assert "waits for room" in html


async def test_the_language_is_the_browsers(browser: Browser) -> None:
    answer = await browser("ada").get(ROOT, headers={"accept-language": "zh-CN"})
    assert '<html lang="zh">' in answer.text
    assert "概览" in answer.text


@pytest.mark.parametrize(("path", "status"), [(f"{ROOT}/nothing", 404), (f"{ROOT}?colour=red", 422)])
async def test_an_error_is_a_page_that_says_what_and_what_next(browser: Browser, path: str, status: int) -> None:
    answer = await browser("ada").get(path)
    assert answer.status_code == status
    assert 'role="alert"' in answer.text
    assert f'href="{ROOT}"' in answer.text


async def test_the_bare_address_leads_to_the_first_page(browser: Browser) -> None:
    assert (await browser().get("/")).headers["location"] == ROOT


@pytest.mark.parametrize("file", ["hrm.css", "hrm.js", "login.js", "icon.svg"])
async def test_what_the_login_needs_is_given_to_everybody(browser: Browser, file: str) -> None:
    assert (await browser().get(f"{ROOT}/static/{file}")).status_code == 200
