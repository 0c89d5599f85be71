"""Another weight for a queue: what it would do is shown, then it is saved and in force."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.conftest import Site


def test_a_weight_is_tried_and_then_saved(visit: Callable[..., Page], site: Site) -> None:
    for queue in ("research", "batch"):
        site.submit("--queue", queue, "--tasks", "8", "--timeout", "100", "--", "sleep", "50")
    page = visit("/ui/queues/batch")
    page.get_by_role("link", name="Change").click()
    page.get_by_label("Weight").fill("9")
    page.get_by_role("button", name="Show what it would do").click()
    row = page.locator("#preview tbody tr", has_text="batch")
    expect(row).to_be_visible(timeout=90_000)
    assert site.hrm("queues", "-o", "json").json[-1]["weight"] == 1
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Queue batch")
    weights = {queue["name"]: queue["weight"] for queue in site.hrm("queues", "-o", "json").json}
    assert weights["batch"] == 9
    assert "batch: {weight: 9}" in (site.hrm.home / "hrm.yaml").read_text()
