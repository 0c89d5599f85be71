"""The page for everybody: without a mouse, on a phone, in the dark, with a screen reader, in Chinese."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site

Visit = Callable[..., Page]
PATHS = (
    "/ui",
    "/ui/gpus",
    "/ui/queues",
    "/ui/queues/research",
    "/ui/applications",
    "/ui/nodes",
    "/ui/history",
    "/ui/submit",
)


@pytest.fixture(scope="module")
def busy(site: Site) -> str:
    """An application that runs, beside one that waits and one that is over."""
    app = site.submit("--gpus", "3", "--", "sleep", "1000")
    site.submit("--gpus", "4", "--name", "patient", "--", "true")
    site.hrm("wait", site.submit("--", "true"))
    return app


def serious_faults(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{fault['id']}: {node['html'][:200]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(visit: Visit, busy: str, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    faults = {}
    for path in (*PATHS, f"/ui/applications/{busy}", f"/ui/applications/{busy}/log", "/ui/nothing", "/ui/login"):
        page.goto(path)
        if found := serious_faults(page):
            faults[path] = found
    assert faults == {}


def test_the_keyboard_alone_reaches_what_there_is_to_do(visit: Visit, busy: str) -> None:
    page = visit(f"/ui/applications/{busy}")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the content")
    page.keyboard.press("Enter")
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.textContent.trim()"))
    assert {"Kill…", "Suspend", "Move…", "Output of task 0"} <= reached


def test_on_a_phone_nothing_is_wider_than_the_screen(visit: Visit, busy: str) -> None:
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True)
    wide = {}
    for path in (*PATHS, f"/ui/applications/{busy}"):
        page.goto(path)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > 390:
            wide[path] = width
    assert wide == {}


def test_a_chinese_browser_reads_chinese(visit: Visit) -> None:
    page = visit(locale="zh-CN")
    expect(page.get_by_role("heading", level=1)).to_have_text("概览")
    expect(page.get_by_role("link", name="队列")).to_be_visible()


def test_a_chinese_browser_reads_in_chinese_why_something_waits(visit: Visit, busy: str) -> None:
    page = visit(locale="zh-CN")
    waiting = page.get_by_role("row").filter(has_text="patient")
    expect(waiting).to_contain_text("当前空闲 GPU 不足")
    waiting.get_by_role("link").click()
    expect(page.locator("#reason")).to_contain_text("能容纳它的节点只有")
    expect(page.get_by_text("未知：需要结束的任务没有时间限制")).to_be_visible()


def test_a_lost_connection_is_told_and_heals(visit: Visit, site: Site) -> None:
    page = visit("/ui/nodes")
    status = page.locator("#connection")
    site.hrm("down")
    expect(status).to_have_text("Connection lost; trying again")
    result = site.hrm("up", "--detach", "--port", site.address.rpartition(":")[2])
    assert result.code == 0, result.err
    expect(status).to_have_attribute("data-state", "live")
    expect(page.locator("tbody tr").first).to_be_visible()


def test_a_form_submits_a_job(visit: Visit, site: Site) -> None:
    page = visit("/ui/submit")
    page.get_by_label("Command", exact=True).fill("sh -c 'echo from the form'")
    page.get_by_label("Name", exact=True).fill("by form")
    page.get_by_role("button", name="Show the command line").click()
    expect(page.locator("#command-line")).to_contain_text("hrm submit --name 'by form'")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("by form")
    expect(page.get_by_role("heading", level=1)).to_contain_text("finished")
