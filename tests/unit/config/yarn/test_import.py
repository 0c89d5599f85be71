"""What YARN's files become: the keys, the comments, and what is said of each property."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hrm.config.documents import Document
from hrm.config.loader import parse_config
from hrm.config.plain import plain_config
from hrm.config.yarn.importer import Imported, import_fair_scheduler
from hrm.config.yarn.properties import PROPERTIES, Place
from hrm.model.resources import Resources
from tests.unit.config.yarn.conftest import Translate

SAMPLES = Path(__file__).parent / "samples"


def plain(made: Imported) -> dict:
    return Document(made.text, "hrm.yaml").data


@pytest.fixture(scope="module")
def everything() -> Imported:
    return import_fair_scheduler(SAMPLES / "fair-scheduler.xml", SAMPLES / "yarn-site.xml")


def test_one_of_everything_becomes_the_text_that_was_looked_at_once(everything: Imported) -> None:
    assert everything.text == (SAMPLES / "hrm.yaml").read_text()


def test_what_hrm_shows_of_it_reads_back_as_the_same(everything: Imported) -> None:
    shown = yaml.safe_dump(plain_config(everything.config), sort_keys=False)

    assert parse_config(Document(shown, "shown.yaml")) == everything.config


def test_every_property_is_honoured_or_said_to_be_not_applicable(everything: Imported) -> None:
    told = {one.property for one in (*everything.report.honoured, *everything.report.not_applicable)}

    # Old names stand for the new ones; a queue shows in its properties, but for a `pool`, which has none here.
    old = {"defaultQueueSchedulingMode", "fairSharePreemptionTimeout", "schedulingPolicy", "schedulingMode"}
    assert {found.name for found in PROPERTIES} - told - old <= {"queue", "pool"}


def test_a_property_has_either_a_key_or_a_reason(everything: Imported) -> None:
    assert all(one.key and one.value for one in everything.report.honoured)
    assert all(one.why for one in everything.report.not_applicable)
    assert all(found.key or found.note for found in PROPERTIES)


def test_old_names_are_read_as_the_new_ones(translate: Translate) -> None:
    made = translate(
        "<defaultQueueSchedulingMode>DRF</defaultQueueSchedulingMode>"
        "<fairSharePreemptionTimeout>7</fairSharePreemptionTimeout>"
        '<pool name="a"><schedulingMode>fifo</schedulingMode></pool>'
    )

    scheduler = plain(made)["scheduler"]
    assert (scheduler["policy"], scheduler["queue_defaults"]["policy"]) == ("drf", "drf")
    assert scheduler["root"]["fair_share_preemption_timeout"] == "7s"
    assert plain(made)["queues"] == {"a": {"policy": "fifo"}}


def test_what_nobody_said_is_as_in_yarn_and_says_so(translate: Translate) -> None:
    made = translate("")

    scheduler = plain(made)["scheduler"]
    assert scheduler.pop("root") is None
    assert scheduler == {
        "policy": "fair",
        "queue_defaults": {"policy": "fair", "max_am_share": 0.5},
        "placement": [{"rule": "specified", "create": True}, {"rule": "user", "create": True}],
        "undeclared_queues": True,
        "preemption": False,
        "preemption_utilization_threshold": 0.8,
        "wait_before_kill": "15s",
        "assign_multiple": False,
        "dynamic_max_assign": True,
        "node_locality_threshold": -1,
        "rack_locality_threshold": -1,
        "continuous_scheduling": False,
        "reservable_nodes": 0.05,
        "reservation_threshold": {"cpus": 2, "memory": "2G"},
    }
    assert "preemption: false                           # YARN's default" in made.text


@pytest.mark.parametrize(
    ("undeclared", "user_as_default", "rules"),
    [
        ("true", "false", [("specified", True), ("default", True)]),
        ("false", "true", [("specified", False), ("user", False), ("default", True)]),
        ("false", "false", [("specified", False), ("default", True)]),
    ],
)
def test_without_a_placement_policy_two_properties_of_the_site_make_one(
    translate: Translate, undeclared: str, user_as_default: str, rules: list[tuple[str, bool]]
) -> None:
    site = {
        "yarn.scheduler.fair.allow-undeclared-pools": undeclared,
        "yarn.scheduler.fair.user-as-default-queue": user_as_default,
    }

    scheduler = plain(translate("", site))["scheduler"]

    assert [(rule["rule"], rule["create"]) for rule in scheduler["placement"]] == rules
    assert scheduler["undeclared_queues"] == (undeclared == "true")


def test_the_root_may_be_written_or_left_out(translate: Translate) -> None:
    inner = '<queue name="a"><weight>2</weight></queue>'
    without = translate(inner)
    within = translate(
        f'<queue name="Root"><maxRunningApps>9</maxRunningApps><weight>4</weight>'
        f"<schedulingPolicy>drf</schedulingPolicy>{inner}</queue>"
    )

    assert plain(without)["queues"] == plain(within)["queues"] == {"a": {"weight": 2}}
    assert plain(within)["scheduler"]["root"] == {"max_running_apps": 9}
    assert plain(within)["scheduler"]["policy"] == "drf"
    assert [one.property for one in within.report.not_applicable] == ["weight"]


def test_the_roots_own_timeouts_win_over_those_for_all(translate: Translate) -> None:
    made = translate(
        "<defaultMinSharePreemptionTimeout>5</defaultMinSharePreemptionTimeout>"
        '<queue name="root"><minSharePreemptionTimeout>9</minSharePreemptionTimeout></queue>'
    )

    assert plain(made)["scheduler"]["root"] == {"min_share_preemption_timeout": "9s"}


@pytest.mark.parametrize(
    ("text", "acl"),
    [
        ("*", "*"),
        (" * ", "*"),
        ("ada,ben", {"users": ["ada", "ben"]}),
        ("ada, ben", {"users": ["ada"], "groups": ["ben"]}),
        (" staff", {"groups": ["staff"]}),
        ("ada,no staff,research", {"users": ["ada", "no"], "groups": ["staff", "research"]}),
        (" ", {"users": []}),
        ("", {"users": []}),
    ],
)
def test_users_stand_before_the_first_space_of_an_acl_and_groups_after_it(
    translate: Translate, text: str, acl: object
) -> None:
    made = translate(f'<queue name="root"><aclSubmitApps>{text}</aclSubmitApps></queue>')

    assert plain(made)["scheduler"]["root"]["submit_acl"] == acl


def test_an_acl_that_begins_on_another_line_is_warned_of(translate: Translate) -> None:
    made = translate('<queue name="root"><aclSubmitApps>\n  ada\n</aclSubmitApps></queue>')

    assert plain(made)["scheduler"]["root"]["submit_acl"] == {"groups": ["ada"]}
    assert "begins on another line" in made.report.warnings[0].text


def test_acls_that_yarn_does_not_look_at_become_comments(translate: Translate) -> None:
    inside = '<queue name="a"><aclSubmitApps>ada</aclSubmitApps></queue>'

    off = translate(inside, {"yarn.admin.acl": "ops"})
    on = translate(inside, {"yarn.acl.enable": "true"})

    assert plain(off)["queues"] == {"a": None}
    assert "# submit_acl: {users: [ada]}" in off.text
    assert "yarn.acl.enable=true" in next(one.why for one in off.report.not_applicable if one.of == "a")
    assert plain(on)["queues"] == {"a": {"submit_acl": {"users": ["ada"]}}}


def test_an_acl_below_a_root_that_lets_everybody_in_is_warned_of(translate: Translate) -> None:
    inside = '<queue name="a"><aclSubmitApps>ada</aclSubmitApps></queue>'

    open_root = translate(inside)
    closed_root = translate(f'<queue name="root"><aclSubmitApps> </aclSubmitApps>{inside}</queue>')

    assert ["the root lets everybody in" in one.text for one in open_root.report.warnings] == [True]
    assert closed_root.report.warnings == []


def test_forms_that_cannot_name_gpus_mean_none_of_them_where_yarn_knows_gpus(translate: Translate) -> None:
    inside = '<queue name="a"><maxResources>1024 mb, 1 vcores</maxResources></queue>'

    without = translate(inside)
    with_gpus = translate(inside, {"yarn.resource-types": "yarn.io/gpu"})

    assert plain(without)["queues"]["a"]["max_share"] == {"cpus": 1, "memory": "1G"}
    assert plain(with_gpus)["queues"]["a"]["max_share"] == {"cpus": 1, "memory": "1G", "gpus": 0}
    assert len(with_gpus.report.warnings) == 1


def test_a_percentage_that_yarn_ignores_is_ignored_and_said_so(translate: Translate) -> None:
    made = translate(
        '<queue name="a"><minResources>50%</minResources>'
        "<maxContainerAllocation>50%</maxContainerAllocation><maxResources>150%</maxResources></queue>"
    )

    assert plain(made)["queues"] == {"a": {"max_share": "100%"}}
    assert {one.property for one in made.report.not_applicable} == {"minResources", "maxContainerAllocation"}
    assert [one.text for one in made.report.warnings] == ["more than the whole cluster counts as all of it"]


def test_a_resource_that_hrm_does_not_share_out_is_listed(translate: Translate) -> None:
    made = translate('<queue name="a"><maxResources>memory-mb=1024, fpga=2</maxResources></queue>')

    assert plain(made)["queues"] == {"a": {"max_share": {"memory": "1G"}}}
    assert [one.property for one in made.report.not_applicable] == ["maxResources of fpga"]


def test_services_of_nodemanagers_are_said_to_be_programs_here(translate: Translate) -> None:
    made = translate("", {"yarn.nodemanager.aux-services.spark_shuffle.class": "YarnShuffleService"})

    (why,) = [one.why for one in made.report.not_applicable if "spark_shuffle" in one.property]
    assert why == "`yarn.auxiliary_services` has programs; classes in Java do not run here"


def test_values_beyond_their_range_count_as_its_end_as_in_yarn(translate: Translate) -> None:
    made = translate(
        '<queue name="a"><maxAMShare>1.5</maxAMShare>'
        "<fairSharePreemptionThreshold>-2</fairSharePreemptionThreshold></queue>"
    )

    assert plain(made)["queues"]["a"] == {"max_am_share": 1, "fair_share_preemption_threshold": 0}
    assert [one.text for one in made.report.warnings] == ["counts as 1", "counts as 0"]


def test_the_queue_of_a_default_rule_is_declared_where_yarn_would_make_it(translate: Translate) -> None:
    made = translate(
        '<queue name="a"><queue name="b"/></queue><queuePlacementPolicy>'
        '<rule name="nestedUserQueue" create="false"><rule name="default" queue="people"/></rule>'
        '<rule name="default" queue="root.a.c"/></queuePlacementPolicy>'
    )

    assert plain(made)["queues"] == {"a": {"queues": {"b": {}, "c": {}}}, "people": {"type": "parent"}}


def test_of_several_properties_of_one_name_the_last_counts_unless_one_is_final(translate: Translate) -> None:
    site = """
<property><name>yarn.scheduler.fair.max.assign</name><value>2</value></property>
<property name="yarn.scheduler.fair.max.assign" value="${other}"/>
<property><name>yarn.scheduler.fair.assignmultiple</name><value>true</value><final>true</final></property>
<property><name>yarn.scheduler.fair.assignmultiple</name><value>false</value></property>
<property><name>other</name><value>7</value></property>"""

    scheduler = plain(translate("", site))["scheduler"]

    assert (scheduler["max_assign"], scheduler["assign_multiple"]) == (7, True)


def test_variables_that_name_each_other_come_to_an_end(translate: Translate) -> None:
    made = translate("", {"a": "${b}${b}", "b": "${a}${a}", "yarn.nodemanager.x": "${a}"})

    assert len(made.report.not_applicable) == 3


def test_includes_and_misspelt_properties_are_told_of(translate: Translate) -> None:
    made = translate(
        "",
        '<xi:include href="more.xml"/>'
        "<property><name>yarn.scheduler.fair.asignmultiple</name><value>true</value></property>",
    )

    assert "includes are not followed" in made.report.not_applicable[0].why
    assert made.report.warnings[0].text == "not known; did you mean yarn.scheduler.fair.assignmultiple?"


def test_another_scheduler_than_the_fair_one_is_warned_of(translate: Translate) -> None:
    made = translate("", {"yarn.resourcemanager.scheduler.class": "org.x.CapacityScheduler"})

    assert "does not use the Fair Scheduler" in made.report.warnings[0].text


def test_the_largest_request_is_the_roots(translate: Translate) -> None:
    made = translate("", {"yarn.scheduler.maximum-allocation-mb": "4096"})

    assert made.config.queues.max_container is not None
    assert made.config.queues.max_container.memory_mib == 4096


def test_a_name_that_yaml_would_take_for_something_else_stays_a_name(translate: Translate) -> None:
    names = ["no", "123", "a: b", 'say "hi"', "x#y", "é", "a\u0085b", "~"]
    users = "".join(
        f"<user name='{name}'><maxRunningApps>{limit}</maxRunningApps></user>" for limit, name in enumerate(names, 1)
    ).replace('"', "&quot;")

    made = translate(users)

    limits = dict(made.config.queues.max_running_apps_of_users)
    assert limits == {name: limit for limit, name in enumerate(names, 1)}


def test_the_same_files_make_the_same_text(everything: Imported) -> None:
    again = import_fair_scheduler(SAMPLES / "fair-scheduler.xml", SAMPLES / "yarn-site.xml")

    assert (again.text, again.report) == (everything.text, everything.report)


def test_the_table_of_properties_is_the_one_in_the_documents() -> None:
    page = (Path(__file__).parents[4] / "docs" / "yarn-import.md").read_text().partition("## Every property")[2]

    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{found.name}` | {f'`{found.key}`' if found.key else 'not applicable'} "
        f"| {'; '.join(filter(None, (found.note, f'default: `{found.default}`' if found.default else '')))} |"
        for place in Place
        for found in PROPERTIES
        if found.place is place
    ]


def test_a_share_of_the_sample_is_what_it_says(everything: Imported) -> None:
    research = next(one for one in everything.config.queues.children if one.name == "research")

    assert (research.max_share, research.min_share) == (Resources(6144, 6000, 2000), Resources(2048, 2000))
