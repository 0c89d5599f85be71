"""What operators say of nodes: attributes and labels, by hrm.yaml and while a server runs; and who may use a label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hrm.model.errors import Conflict, InvalidInput, InvalidNodeLabel, NotFound
from hrm.model.inventory import Inventory, NodeLabel, NodeNotes
from hrm.model.jobs import GangSpec, MasterSpec, TaskGroupSpec
from hrm.model.nodes import NodeSpec
from hrm.model.queues import QueueSpec
from hrm.model.reports import NodeReport
from hrm.testing.builders import node, queue, queues
from hrm.testing.lives import Life, Lives, tasks

DECLARED = Inventory(
    nodes={"n1": NodeNotes(attributes={"disk": "ssd", "os": "plan9"}), "n2": NodeNotes(label="teaching")},
    labels=(NodeLabel("teaching"), NodeLabel("spare", exclusive=False)),
)
TREE = queues(
    queue("default", accessible_node_labels=()),
    queue("course", accessible_node_labels=("teaching",), default_node_label="teaching"),
    queue("staff"),
)


def two(tmp_path: Path, root: QueueSpec = TREE, first: NodeSpec | None = None) -> Lives:
    return Lives(tmp_path, [first or node("n1", os="debian12"), node("n2")], root=root, inventory=DECLARED)


def report(life: Life, node_id: str) -> NodeReport:
    return next(one for one in life.service.nodes() if one.node_id == node_id)


def wanting(constraint: str | None = None, label: str | None = None) -> TaskGroupSpec:
    return replace(tasks(), constraint=constraint, node_label=label)


def places(life: Life) -> list[str]:
    return sorted(one.node_id for one in life.service.containers())


# --- attributes


async def test_a_node_has_what_it_found_what_hrm_yaml_says_and_what_an_operator_said_the_last_counts_most(
    tmp_path: Path,
) -> None:
    async with two(
        tmp_path, first=node("n1", gpus=1, model="RTX 2080 Ti", rack="/r1", os="debian12", arch="x86_64")
    ) as lives:
        life = await lives.begin()
        await life.service.node_words.set_attributes("n1", {"site": "north", "disk": "nvme"}, by="ada")

        told = report(life, "n1")

        assert told.attributes == {
            "arch": "x86_64",
            "disk": "nvme",
            "gpu_model": "RTX-2080-Ti",
            "os": "plan9",
            "rack": "/r1",
            "site": "north",
        }
        assert told.set_attributes == ["disk", "site"]


async def test_a_job_that_waits_for_an_attribute_begins_when_an_operator_sets_it(tmp_path: Path) -> None:
    async with two(tmp_path) as lives:
        life = await lives.begin()
        app = await life.submit(wanting("site=north"))
        await life.settle()
        assert places(life) == []
        assert "no node has site=north (2 have no such attribute)" in (await life.service.explain(app)).message

        await life.service.node_words.set_attributes("n1", {"site": "north"}, by="ada")
        await life.settle()

        assert places(life) == ["n1"]


async def test_what_an_operator_said_holds_over_a_restart_until_it_is_taken_back(tmp_path: Path) -> None:
    async with two(tmp_path) as lives:
        life = await lives.begin()
        await life.service.node_words.set_attributes("n1", {"disk": "nvme", "site": "north"}, by="ada")
        await life.kill()

        life = await lives.begin()
        assert report(life, "n1").attributes["disk"] == "nvme"
        await life.service.node_words.set_attributes("n1", {"disk": None, "site": None}, by="ada")

        assert report(life, "n1").attributes["disk"] == "ssd"
        assert "site" not in report(life, "n1").attributes


async def test_a_reload_takes_other_attributes_at_once(tmp_path: Path) -> None:
    async with two(tmp_path) as lives:
        life = await lives.begin()
        await life.submit(wanting("site=south"))
        await life.settle()

        await life.service.reload_queues(
            TREE, inventory=Inventory(nodes={"n2": NodeNotes(attributes={"site": "south"})})
        )
        await life.settle()

        assert places(life) == ["n2"]
        assert "disk" not in report(life, "n1").attributes


async def test_what_is_no_attribute_or_no_node_changes_nothing(tmp_path: Path) -> None:
    async with two(tmp_path) as lives:
        life = await lives.begin()
        before = life.service.nodes()

        with pytest.raises(InvalidInput, match="not a value for os"):
            await life.service.node_words.set_attributes("n1", {"site": "north", "os": "a b"}, by="ada")
        with pytest.raises(NotFound, match="no node 'n9'"):
            await life.service.node_words.set_attributes("n9", {"site": "north"}, by="ada")
        with pytest.raises(InvalidInput, match="ends where a value for 'os' should stand"):
            await life.submit(wanting("os="))

        assert life.service.nodes() == before


# --- labels


async def test_a_job_goes_where_its_queue_says_and_others_do_not_get_there(tmp_path: Path) -> None:
    async with two(tmp_path) as lives:
        life = await lives.begin()
        await life.submit(tasks(count=20), queue="default")
        await life.submit(tasks(), queue="course")

        await life.settle()

        assert set(places(life)) == {"n1", "n2"}
        assert places(life).count("n2") == 1


@pytest.mark.parametrize(
    ("queue_name", "label", "problem"),
    [
        ("default", "teaching", "queue default may not use node label teaching"),
        ("course", "spare", "queue course may not use node label spare"),
        ("staff", "tape", "no node label 'tape'"),
        ("staff", "a b", "not the name of a node label: 'a b'"),
    ],
)
async def test_a_label_that_is_not_there_or_not_the_queues_is_refused(
    tmp_path: Path, queue_name: str, label: str, problem: str
) -> None:
    async with two(tmp_path) as lives:
        life = await lives.begin()

        with pytest.raises(InvalidInput, match=problem) as refused:
            await life.submit(wanting(label=label), queue=queue_name)

        assert refused.value.field.endswith("node_label")
        assert refused.value.next_step


async def test_a_queue_without_a_word_of_its_own_may_use_every_label_and_has_none_by_default(tmp_path: Path) -> None:
    async with two(tmp_path) as lives:
        life = await lives.begin()
        await life.submit(wanting(label="teaching"), queue="staff")
        await life.submit(tasks(), queue="staff")

        await life.settle()

        assert places(life) == ["n1", "n2"]


async def test_no_label_may_be_asked_for_in_a_queue_that_has_one_by_default(tmp_path: Path) -> None:
    async with two(tmp_path) as lives:
        life = await lives.begin()
        await life.submit(wanting(label=""), queue="course")

        await life.settle()

        assert places(life) == ["n1"]


async def test_a_job_does_not_move_to_a_queue_that_may_not_use_its_label(tmp_path: Path) -> None:
    async with two(tmp_path) as lives:
        life = await lives.begin()
        app = await life.submit(tasks(), queue="course")
        await life.settle()

        with pytest.raises(InvalidNodeLabel):
            await life.service.move(app, "default", by="ada", admin=True)

        assert (await life.service.application(app)).queue == "course"


async def test_labels_are_added_given_to_nodes_and_removed_and_it_holds_over_a_restart(tmp_path: Path) -> None:
    async with two(tmp_path) as lives:
        life = await lives.begin()
        words = life.service.node_words
        await words.add_labels([NodeLabel("tape", exclusive=False)], by="ada")
        await words.set_labels({"n1": "tape", "n2": ""}, by="ada")
        await life.kill()

        life = await lives.begin()
        words = life.service.node_words
        assert [(one.name, one.exclusive, one.declared, one.nodes) for one in words.labels()] == [
            ("teaching", True, True, []),
            ("spare", False, True, []),
            ("tape", False, False, ["n1"]),
        ]
        await words.remove_labels(["tape"], by="ada")
        await words.set_labels({"n2": None}, by="ada")
        assert [(one.node_id, one.label) for one in life.service.nodes()] == [("n1", ""), ("n2", "teaching")]
        await life.kill()

        life = await lives.begin()
        assert [one.name for one in life.service.node_words.labels()] == ["teaching", "spare"]


async def test_labels_of_several_nodes_change_together_or_not_at_all(tmp_path: Path) -> None:
    async with two(tmp_path) as lives:
        life = await lives.begin()

        with pytest.raises(NotFound, match="no node label 'tape'"):
            await life.service.node_words.set_labels({"n1": "spare", "n2": "tape"}, by="ada")
        with pytest.raises(NotFound, match="no node 'n9'"):
            await life.service.node_words.set_labels({"n1": "spare", "n9": "spare"}, by="ada")

        assert [one.label for one in life.service.nodes()] == ["", "teaching"]


async def test_a_label_of_hrm_yaml_or_of_a_queue_is_not_removed(tmp_path: Path) -> None:
    root = queues(queue("default", accessible_node_labels=("tape",)))
    async with two(tmp_path, root=root) as lives:
        life = await lives.begin()
        words = life.service.node_words
        await words.add_labels([NodeLabel("tape")], by="ada")

        with pytest.raises(Conflict, match=r"declared in hrm\.yaml"):
            await words.remove_labels(["teaching"], by="ada")
        with pytest.raises(Conflict, match="named by queue default"):
            await words.remove_labels(["tape"], by="ada")
        with pytest.raises(Conflict, match="is there and exclusive"):
            await words.add_labels([NodeLabel("tape", exclusive=False)], by="ada")


async def test_what_a_master_asks_for_has_its_label_or_the_masters(tmp_path: Path) -> None:
    async with two(tmp_path) as lives:
        life = await lives.begin()
        app = await life.submit(tasks(), queue="course", master=MasterSpec())
        await life.settle()

        own = (await life.service.job(app)).master

        assert own is not None and own.node_label == "teaching"
        assert places(life) == ["n2"]


async def test_queues_tell_their_labels(tmp_path: Path) -> None:
    async with two(tmp_path) as lives:
        life = await lives.begin()

        told = {one.name: (one.accessible_node_labels, one.default_node_label) for one in life.service.queues()}

        assert told == {
            "root": (["*"], ""),
            "default": ([], ""),
            "course": (["teaching"], "teaching"),
            "staff": (["*"], ""),
        }


async def test_nodes_stand_in_the_racks_that_the_file_names_and_move_at_a_reload(tmp_path: Path) -> None:
    async with two(tmp_path) as lives:
        life = await lives.begin()
        app = await life.submit(wanting("rack=/far"))
        await life.settle()
        before = places(life)

        await life.service.reload_queues(TREE, inventory=Inventory(nodes={"n2": NodeNotes(rack="/far")}))
        await life.settle()

        assert (before, places(life)) == ([], ["n2"])
        assert (report(life, "n2").rack, report(life, "n1").rack) == ("/far", "/default-rack")
        assert life.manager.scheduler.books.nodes["n2"].rack == "/far"
        assert "/far" not in (await life.service.explain(app)).message


async def test_where_all_nodes_have_a_label_a_job_fits_by_its_size_and_a_gang_by_its_label(tmp_path: Path) -> None:
    async with two(tmp_path) as lives:
        life = await lives.begin()
        await life.service.node_words.set_labels({"n1": "teaching"}, by="ada")

        await life.submit(tasks(), queue="course")
        waits = await life.submit(tasks(), queue="staff")
        await life.submit(tasks(count=4), queue="course", gang=GangSpec())
        with pytest.raises(InvalidInput, match="do not fit"):
            await life.submit(tasks(count=4), queue="staff", gang=GangSpec())
        await life.settle()

        assert len(places(life)) == 5
        assert "an exclusive node label, which it does not name" in (await life.service.explain(waits)).message
