"""The first page in a browser: it changes by itself, and says when it cannot."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Site

Visit = Callable[..., Page]


def test_what_is_submitted_appears_and_goes_without_a_reload(visit: Visit, site: Site) -> None:
    page = visit()
    cpu = page.locator("[data-key=vcores_milli] .figure")
    expect(cpu).to_contain_text("0 / 4")
    app = site.submit("--cpus", "3", "--", "sleep", "1000")
    expect(cpu).to_contain_text("3 / 4")
    waiting = site.submit("--cpus", "2", "--name", "patient", "--", "true")
    row = page.locator(f"[data-key={waiting}]")
    expect(row).to_contain_text("patient")
    site.hrm("kill", app)
    expect(row).to_have_count(0)
    expect(cpu).to_contain_text("0 / 4")


def test_what_is_typed_stays_while_the_page_changes(visit: Visit, site: Site) -> None:
    page = visit("/ui/nodes")
    page.get_by_text("Drain…").click()
    reason = page.get_by_label("Reason")
    reason.fill("a new disk")
    used = page.locator("tbody tr td.number").first
    app = site.submit("--", "sleep", "1000")
    expect(used).to_contain_text("1 / 4")
    expect(reason).to_have_value("a new disk")
    expect(reason).to_be_focused()
    site.hrm("kill", app)


def test_a_node_is_drained_and_used_again(visit: Visit, site: Site) -> None:
    page = visit("/ui/nodes")
    page.get_by_text("Drain…").click()
    page.get_by_label("Reason").fill("a new disk")
    page.get_by_role("button", name="Drain").click()
    expect(page.locator("tbody tr")).to_contain_text("a new disk")
    assert site.hrm("nodes", "-o", "json").json[0]["drain_reason"] == "a new disk"
    page.get_by_role("button", name="Use again").click()
    expect(page.get_by_text("Drain…")).to_be_visible()


def test_whoever_logs_out_is_out(visit: Visit) -> None:
    page = visit()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.goto("/ui/nodes")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()


def test_the_token_of_a_link_does_not_stay_in_the_address(visit: Visit) -> None:
    page = visit()
    assert "token" not in page.url
    page.go_back()
    assert "token" not in page.url


def test_what_queues_used_is_a_picture_and_a_table_over_an_hour_or_a_day(visit: Visit) -> None:
    page = visit("/ui/queues")
    expect(page.get_by_role("img", name="Dominant shares of all queues")).to_be_visible()
    page.get_by_role("link", name="24 hours").click()
    expect(page.get_by_role("link", name="24 hours")).to_have_attribute("aria-current", "true")
    page.get_by_text("As a table").click()
    expect(page.get_by_role("row").filter(has_text="from ").get_by_role("columnheader")).to_have_count(8)
    expect(page.locator("[data-key=use-research]")).to_contain_text("%")
