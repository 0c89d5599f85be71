"""One application in a browser: from waiting to its end, its output as it is written, and what may be done to it."""

from __future__ import annotations

import pwd
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site

Visit = Callable[..., Page]
#: Prints a line as often as a file beside it grows, and ends when it is gone.
TELLER = """
n=0
while [ -e "$1" ]; do
    m=$(wc -l <"$1")
    while [ $n -lt $m ]; do n=$((n+1)); echo "line $n"; done
    sleep 0.1
done
"""


def test_an_application_goes_from_waiting_to_done_before_ones_eyes(visit: Visit, site: Site) -> None:
    holder = site.submit("--gpus", "4", "--", "sleep", "1000")
    app = site.submit("--gpus", "1", "--name", "patient", "--", "true")
    page = visit(f"/ui/applications/{app}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("waiting")
    expect(page.locator("#reason")).to_contain_text("GPU")
    site.hrm("kill", holder)
    expect(page.get_by_role("heading", level=1)).to_contain_text("finished")
    expect(page.locator("#reason")).to_contain_text("1 of 1 tasks succeeded")


def test_output_is_shown_as_it_is_written_searched_and_loaded_down(visit: Visit, site: Site) -> None:
    pace = site.hrm.home / "pace"
    pace.write_text("\n")
    app = site.submit("--", "sh", "-c", TELLER, "teller", str(pace))
    page = visit(f"/ui/applications/{app}/log")
    log = page.locator("#log")
    expect(log).to_contain_text("line 1")
    pace.write_text("\n\n\n")
    expect(log).to_contain_text("line 3")
    page.get_by_label("Find").fill("line 2")
    expect(page.locator("#log-found")).to_have_text("1")
    assert page.evaluate("getSelection().toString()") == "line 2"
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.path().read_text() == "line 1\nline 2\nline 3\n"
    pace.unlink()
    expect(page.locator("#log-end")).to_have_text("The task has ended.")


def test_it_is_killed_from_the_page(visit: Visit, site: Site) -> None:
    app = site.submit("--", "sleep", "1000")
    page = visit(f"/ui/applications/{app}")
    page.get_by_text("Kill…").click()
    page.get_by_label("Why (for its owner)").fill("wrong data")
    page.get_by_role("button", name="Kill it").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("killed")
    assert "wrong data" in site.hrm.apps(app)[0]["message"]


def test_it_is_halted_goes_on_and_goes_to_another_queue(visit: Visit, site: Site) -> None:
    app = site.submit("--queue", "batch", "--", "sleep", "1000")
    page = visit(f"/ui/applications/{app}")
    heading = page.get_by_role("heading", level=1)
    page.get_by_role("button", name="Suspend").click()
    expect(heading).to_contain_text("suspended")
    page.get_by_role("button", name="Resume").click()
    expect(heading).to_contain_text("running")
    page.get_by_text("Move…").click()
    page.get_by_label("Queue").select_option("research")
    page.get_by_role("button", name="Move it").click()
    expect(page.locator("dd").get_by_role("link", name="research")).to_be_visible()
    site.hrm("kill", app)


@pytest.mark.root
def test_another_user_sees_it_but_no_buttons_and_no_output(visit: Visit, site: Site) -> None:
    app = site.submit("--name", "mine", "--", "sleep", "1000")
    other = next(account.pw_name for account in pwd.getpwall() if account.pw_uid >= 1)
    page = visit(f"/ui/applications/{app}", user=other)
    expect(page.get_by_role("heading", level=1)).to_contain_text("mine")
    expect(page.get_by_text("Kill…")).to_have_count(0)
    expect(page.get_by_role("link", name="Output of task 0")).to_have_count(0)
    answer = page.request.get(f"/ui/applications/{app}/log")
    assert answer.status == 403
    site.hrm("kill", app)


def test_the_list_is_searched_and_leads_to_one(visit: Visit, site: Site) -> None:
    app = site.submit("--name", "needle", "--", "true")
    site.hrm("wait", app)
    page = visit("/ui/applications")
    page.get_by_role("searchbox").fill("NEEDLE")
    page.locator("select[name=state]").select_option("all")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.locator("tbody tr th a").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("needle")


def test_gpus_and_queues_show_who_holds_what(visit: Visit, site: Site) -> None:
    app = site.submit("--queue", "research", "--gpus", "0.5", "--", "sleep", "1000")
    page = visit("/ui/gpus")
    expect(page.locator(".cell rect")).to_have_count(1)
    expect(page.locator(".cell").first).to_contain_text("0.5")
    page.goto("/ui/queues")
    expect(page.locator("[data-key=research]")).to_contain_text("0.5 GPU")
    page.get_by_role("row").get_by_role("link", name="research").click()
    expect(page.locator(f"[data-key={app}]")).to_be_visible()
    site.hrm("kill", app)
    expect(page.locator(f"[data-key={app}]")).to_have_count(0)
