"""What pages show, in which language, and what they say where something is wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hrm.api.tokens import Identity
from hrm.model.errors import Conflict, InvalidInput
from hrm.model.findings import Evidence, Finding, Risk, Severity, Step, Text
from hrm.model.inventory import NodeLabel
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.model.reports import ReloadReport
from hrm.model.states import NodeState
from hrm.testing.facade import NODE_ID, FakeFacade
from hrm.web.desk import Desk
from hrm.web.language import language
from hrm.web.page import ROOT, Page, Visit
from hrm.web.pages import SITE
from hrm.web.pages.applications import PAGE_ROWS
from hrm.web.pages.overview import ALARMS
from hrm.web.rendering import render, render_live
from hrm.web.weights import Weights
from tests.scenarios.web.conftest import Browser
from tests.scenarios.web.test_sessions import word_in


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


async def test_a_list_of_applications_is_in_pages(browser: Browser, facade: FakeFacade) -> None:
    for number in range(PAGE_ROWS + 1):
        await facade.submit(JobSpec(name=f"job{number}", groups=(TaskGroupSpec(command=("true",)),)), user="ada")
    first = (await browser("ada").get(f"{ROOT}/applications?search=JOB")).text
    assert first.count("data-key=") == PAGE_ROWS
    assert 'rel="next" href="/ui/applications?search=JOB&amp;page=2"' in first
    second = (await browser("ada").get(f"{ROOT}/applications?search=JOB&page=2")).text
    assert second.count("data-key=") == 1
    assert 'rel="next"' not in second


@pytest.mark.parametrize(
    "path",
    [
        "applications?state=odd",
        "applications?order=odd",
        "applications?page=0",
        "applications/application_1_1/log?task=x",
        "applications/application_1763900000000_0001/log?task=x",
        "applications/application_1763900000000_0001/log?stream=odd",
        "applications/17",
        "queues/nothing",
    ],
)
async def test_a_wrong_address_is_an_error_and_no_fault(browser: Browser, facade: FakeFacade, path: str) -> None:
    await facade.submit(JobSpec(groups=(TaskGroupSpec(command=("true",)),)), user="ada")
    answer = await browser("ada").get(f"{ROOT}/{path}")
    assert answer.status_code in (404, 422)
    assert 'role="alert"' in answer.text


async def test_others_see_an_application_but_neither_its_output_nor_buttons(
    browser: Browser, facade: FakeFacade
) -> None:
    job = JobSpec(name="secret", groups=(TaskGroupSpec(command=("true",)),))
    app = (await facade.submit(job, user="ada")).application_id
    html = (await browser("bob").get(f"{ROOT}/applications/{app}")).text
    assert "secret" in html
    assert "/kill" not in html
    for part in ("log", "log/follow", "log/download"):
        assert (await browser("bob").get(f"{ROOT}/applications/{app}/{part}")).status_code == 403


async def test_what_a_task_printed_is_loaded_down_as_a_file(browser: Browser, facade: FakeFacade) -> None:
    app = (await facade.submit(JobSpec(groups=(TaskGroupSpec(command=("true",)),)), user="ada")).application_id
    facade.begin(app)
    facade.write(app, b"one\n")
    facade.end(app)
    answer = await browser("ada").get(f"{ROOT}/applications/{app}/log/download?task=0")
    assert (answer.status_code, answer.content) == (200, b"one\n")
    assert "attachment" in answer.headers["content-disposition"]


@pytest.mark.parametrize("page", [page for page in SITE.pages if page.period_s], ids=lambda page: page.path)
async def test_what_brings_an_open_page_up_to_date_is_what_it_showed(
    facade: FakeFacade, weights: Weights, page: Page
) -> None:
    app = (await facade.submit(JobSpec(groups=(TaskGroupSpec(command=("true",)),)), user="ada")).application_id
    visit = Visit(
        identity=Identity(user="ada", admin=True),
        language=language("en"),
        path=page.path,
        params={"application_id": app, "name": "default", "node_id": NODE_ID},
        query={},
    )
    found = await page.gather(Desk(facade=facade, weights=weights), visit)
    whole, live = render(page, visit, found), render_live(page, visit, found)
    assert "<h1>" in live
    assert live in whole


async def test_the_form_shows_the_command_line_and_submits_the_same(browser: Browser, facade: FakeFacade) -> None:
    visitor = browser("ada")
    html = (await visitor.get(f"{ROOT}/submit", params={"command": "sleep 7", "name": "nap", "memory": "1G"})).text
    assert "hrm submit --name nap --cpus 1 --memory 1G -- sleep 7" in html
    word = word_in(html)
    form = {"command": "sleep 7", "name": "nap", "form_word": word}
    answer = await visitor.post(f"{ROOT}/submit/new", data=form)
    (app,) = facade.apps.values()
    assert answer.headers["location"] == f"{ROOT}/applications/{app.id}"
    assert (app.user, app.job.groups[0].command) == ("ada", ("sleep", "7"))


async def test_a_mistake_in_the_form_is_told_where_it_was_made(browser: Browser) -> None:
    html = (await browser("ada").get(f"{ROOT}/submit", params={"command": "true", "memory": "much"})).text
    assert 'role="alert">memory' in html
    assert 'value="much"' in html


async def test_usage_is_loaded_down_as_csv(browser: Browser) -> None:
    answer = await browser("ada").get(f"{ROOT}/history.csv?by=queue&span=day")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.text.startswith("name,attempts,cpu_hours")


async def test_an_admin_gives_a_queue_another_weight_and_the_file_keeps_its_comments(
    browser: Browser, tmp_path: Path
) -> None:
    admin = browser("ada", admin=True)
    word = word_in((await admin.get(f"{ROOT}/queues/default/weight")).text)
    answer = await admin.post(f"{ROOT}/queues/default/weight", data={"weight": "2.5", "form_word": word})
    assert answer.status_code == 303
    assert (tmp_path / "hrm.yaml").read_text() == "queues:\n  default: {weight: 2.5}  # everybody's\n"


@pytest.mark.parametrize("weight", ["", "much", "0", "-1", "1e9", "nan"])
async def test_a_wrong_weight_changes_nothing(browser: Browser, tmp_path: Path, weight: str) -> None:
    admin = browser("ada", admin=True)
    word = word_in((await admin.get(f"{ROOT}/queues/default/weight")).text)
    answer = await admin.post(f"{ROOT}/queues/default/weight", data={"weight": weight, "form_word": word})
    assert answer.status_code == 422
    assert "weight: 1}" in (tmp_path / "hrm.yaml").read_text()


async def test_who_is_no_admin_changes_no_weight(browser: Browser) -> None:
    assert (await browser("ada").get(f"{ROOT}/queues/default/weight")).status_code == 403


async def test_a_configuration_that_the_server_refuses_is_put_back(tmp_path: Path) -> None:
    file = tmp_path / "hrm.yaml"
    file.write_text("queues: {default: {weight: 1}}")

    async def refused() -> ReloadReport:
        raise InvalidInput("no")

    with pytest.raises(InvalidInput):
        await Weights(file, tmp_path, refused).save("default", 2)
    assert file.read_text() == "queues: {default: {weight: 1}}"


async def test_without_a_configuration_file_there_is_none_to_change(tmp_path: Path) -> None:
    async def reload() -> ReloadReport:
        return ReloadReport(added=[], removed=[], changed=[])

    with pytest.raises(Conflict, match="no configuration file"):
        await Weights(None, tmp_path, reload).save("default", 2)


STALE = Finding(
    code="HRM-NFS-009",
    check="nfs.mounts",
    severity=Severity.CRITICAL,
    title=Text("/data of master00 is <stale>", "master00 的 /data 已失效"),
    why=Text("Whoever reads there gets an error.", "读取该目录会出错。"),
    evidence=(Evidence("/proc/mounts", "master00:/data /data nfs4 rw 0 0", 12),),
    cure=(
        Step(about=Text("Let go of it.", "卸载。"), risk=Risk.DISRUPTIVE, argv=("umount", "-l", "/data")),
        Step(about=Text("Look at the server.", "检查服务器。"), risk=Risk.SAFE),
    ),
)


async def test_a_nodes_page_shows_what_the_doctor_found_and_what_cures_it(browser: Browser, facade: FakeFacade) -> None:
    facade.findings.append(STALE)

    html = (await browser("ada").get(f"{ROOT}/nodes/{NODE_ID}")).text

    assert "/data of master00 is &lt;stale&gt;" in html
    assert "/proc/mounts:12: master00:/data /data nfs4 rw 0 0" in html
    assert "<code>umount -l /data</code>" in html
    assert "disruptive" in html


async def test_what_is_wrong_with_a_node_needs_attention_in_the_readers_language(
    browser: Browser, facade: FakeFacade
) -> None:
    facade.findings.append(STALE)

    html = (await browser("ada").get(ROOT, headers={"accept-language": "zh-CN"})).text

    assert "master00 的 /data 已失效（HRM-NFS-009）" in html
    assert f'href="{ROOT}/nodes/{NODE_ID}#findings"' in html


async def test_a_node_that_was_not_looked_at_yet_says_so(browser: Browser, facade: FakeFacade) -> None:
    html = (await browser("ada").get(f"{ROOT}/nodes/{NODE_ID}")).text

    assert "The doctor has not looked at this node yet." in html


async def test_an_empty_cluster_says_how_to_begin(browser: Browser, facade: FakeFacade) -> None:
    assert "hrm submit -- echo hello" in (await browser("ada").get(ROOT)).text

    await facade.submit(JobSpec(groups=(TaskGroupSpec(command=("true",)),)), user="ada")

    assert "echo hello" not in (await browser("ada").get(ROOT)).text


async def test_an_error_leaves_the_menu_to_who_is_logged_in(browser: Browser) -> None:
    assert f'href="{ROOT}/queues"' in (await browser("ada").get(f"{ROOT}/queues/nothing")).text
    assert f'href="{ROOT}/queues"' not in (await browser().get(f"{ROOT}/login")).text


async def test_an_application_shows_its_events_and_to_others_without_details(
    browser: Browser, facade: FakeFacade
) -> None:
    app = (await facade.submit(JobSpec(groups=(TaskGroupSpec(command=("true",)),)), user="ada")).application_id
    await facade.record("application_kill_requested", app, message="wrong data")

    own = (await browser("ada").get(f"{ROOT}/applications/{app}")).text
    others = (await browser("bob").get(f"{ROOT}/applications/{app}")).text

    assert "somebody wants it to end" in own and "somebody wants it to end" in others
    assert ("wrong data" in own, "wrong data" in others) == (True, False)


async def test_the_first_page_lists_the_worst_of_many_alarms_and_how_many_there_are(
    browser: Browser, facade: FakeFacade, monkeypatch: pytest.MonkeyPatch
) -> None:
    [node] = facade.nodes()
    lost = [replace(node, node_id=f"n{number}", state=NodeState.LOST) for number in range(ALARMS + 30)]
    monkeypatch.setattr(facade, "nodes", lambda: lost)

    page = (await browser("ada").get(ROOT)).text

    assert page.count('<li class="serious">') == ALARMS
    assert "and 30 more" in page


async def test_a_nodes_page_shows_its_label_and_its_attributes(browser: Browser, facade: FakeFacade) -> None:
    await facade.node_words.add_labels([NodeLabel("tape", exclusive=False)], by="root")
    await facade.node_words.set_labels({NODE_ID: "tape"}, by="root")
    await facade.node_words.set_attributes(NODE_ID, {"os": "debian12"}, by="root")

    html = (await browser("ada").get(f"{ROOT}/nodes/{NODE_ID}")).text
    listed = (await browser("ada").get(f"{ROOT}/nodes")).text

    assert "os=debian12" in html
    assert "tape (" in html
    assert ">tape</span>" in listed


async def test_a_form_with_a_constraint_and_a_label_shows_how_else_to_say_it(browser: Browser) -> None:
    query = {"command": "train", "constraint": "os=debian12 & !hdd", "node_label": "tape"}

    html = (await browser("ada").get(f"{ROOT}/submit", params=query)).text

    assert "--constraint &#39;os=debian12 &amp; !hdd&#39; --node-label tape" in html
