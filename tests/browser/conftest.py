"""The page in a real browser, over a real server with its own home and four virtual GPUs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.acceptance.conftest import Hrm, server_up

CHROMIUM = shutil.which("chromium")
DEADLINE_MS = 30_000
CONFIGURATION = """\
node: {vcores: 4, memory: 4G, virtual_gpus: 4}
queues:
  research: {weight: 3}
  batch: {weight: 1}
server: {port: 0}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where there is no browser nothing here can be seen."""
    for item in items:
        if "tests/browser/" in str(item.path):
            item.add_marker(pytest.mark.browser)
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="chromium is not installed here (apt install chromium)"))


@dataclass(frozen=True)
class Site:
    """A server and its page's address."""

    hrm: Hrm
    address: str

    def link(self, user: str | None = None) -> str:
        """What logs in: the operator, or another user."""
        if user is None:
            return str(json.loads(self.hrm("page", "-o", "json").out)["url"])
        return f"{self.address}/ui/login#token={self.hrm('token', 'create', user).out.strip()}"

    def submit(self, *words: str) -> str:
        result = self.hrm("submit", "-o", "json", *words)
        assert result.code == 0, result.err
        return str(result.json["application_id"])


# Of a module: Playwright's own event loop runs as long as it is up, and no test with another could run meanwhile.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with server_up(CONFIGURATION) as hrm:
        yield Site(hrm, hrm("status", "-o", "json").json["address"])


@pytest.fixture
def visit(chromium: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """``visit("/ui/nodes")``: a new browser that is logged in and looks there. What goes wrong in it fails the test."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def open_page(path: str = "/ui", user: str | None = None, **options: object) -> Page:
        context = chromium.new_context(base_url=site.address, **options)  # type: ignore[arg-type]
        context.set_default_timeout(DEADLINE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
        page.goto(site.link(user))
        page.wait_for_url("**/ui")
        if path != "/ui":
            page.goto(path)
        if page.locator("main[data-live]").count():
            expect(page.locator("#connection")).to_have_attribute("data-state", "live", timeout=DEADLINE_MS)
        return page

    expect.set_options(timeout=DEADLINE_MS)
    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
