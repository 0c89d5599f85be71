"""What a declared tree of queues may look like."""

from __future__ import annotations

import pytest

from hrm.model.access import EVERYBODY, NOBODY, AccessList
from hrm.model.errors import InvalidInput
from hrm.model.queues import MAX_DEPTH, Policy, QueueDefaults, QueueSpec, ShareOfCluster, access_to, canonical_path
from hrm.model.resources import Resources


def tree(*children: QueueSpec, policy: Policy = Policy.FAIR) -> QueueSpec:
    return QueueSpec(name="root", policy=policy, children=children)


def test_paths_are_written_without_the_root_and_parents_come_first() -> None:
    root = tree(
        QueueSpec(name="research", children=(QueueSpec(name="vision"), QueueSpec(name="speech"))),
        QueueSpec(name="batch"),
    )
    assert [path for path, _ in root.walk()] == ["root", "research", "research.vision", "research.speech", "batch"]


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("research", "research"),
        ("root.research", "research"),
        ("root.a.b", "a.b"),
        ("root", "root"),
        ("rooted", "rooted"),
    ],
)
def test_root_may_be_written_or_left_out(written: str, path: str) -> None:
    assert canonical_path(written) == path


@pytest.mark.parametrize("name", ["", "a.b", "a b", "a\n", "-a", "../etc", "a;rm", "k\u00f6ln", "a" * 129])
def test_a_name_that_would_not_stand_in_a_path_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"^name: not a queue name") as refusal:
        QueueSpec(name=name)
    assert "letters" in refusal.value.next_step


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_is_zero_or_more_and_finite(weight: float) -> None:
    with pytest.raises(InvalidInput, match=r"^weight: "):
        QueueSpec(name="a", weight=weight)
    assert QueueSpec(name="a", weight=0).weight == 0


def test_min_share_stays_within_max_share_in_every_resource() -> None:
    with pytest.raises(InvalidInput, match=r"^min_share: above max_share in vcores_milli, fpga$"):
        QueueSpec(
            name="a",
            min_share=Resources(memory_mib=1024, vcores_milli=4000, others=(("fpga", 1),)),
            max_share=Resources(memory_mib=1024, vcores_milli=2000),
        )


@pytest.mark.parametrize("field", ["min_share", "max_share"])
def test_a_negative_share_is_refused_with_its_resource(field: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{field}: cannot be negative: gpus_milli"):
        QueueSpec(name="a", **{field: Resources(gpus_milli=-1)})  # type: ignore[arg-type]


def test_a_negative_limit_of_running_applications_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^max_running_apps: "):
        QueueSpec(name="a", max_running_apps=-1)
    assert QueueSpec(name="a", max_running_apps=0).max_running_apps == 0


def test_two_children_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^queues: declared twice: a$"):
        tree(QueueSpec(name="a"), QueueSpec(name="b"), QueueSpec(name="a"))


def test_no_queue_below_the_root_is_called_root() -> None:
    with pytest.raises(InvalidInput, match=r"^name: only the whole tree is called root"):
        tree(QueueSpec(name="root"))


def test_fifo_orders_applications_and_never_queues() -> None:
    assert tree(QueueSpec(name="a", policy=Policy.FIFO)).children[0].policy is Policy.FIFO
    with pytest.raises(InvalidInput, match=r"^policy: fifo orders applications"):
        tree(QueueSpec(name="a"), policy=Policy.FIFO)


def test_drf_stands_below_drf_but_not_below_fair() -> None:
    child = QueueSpec(name="a", policy=Policy.DRF)
    assert tree(child, policy=Policy.DRF).children == (child,)
    with pytest.raises(InvalidInput, match=r"^policy: a is drf") as refusal:
        tree(child, policy=Policy.FAIR)
    assert "make the parent drf" in refusal.value.next_step


def test_a_tree_deeper_than_any_organisation_is_refused() -> None:
    queue = QueueSpec(name="leaf")
    for _ in range(MAX_DEPTH - 1):
        queue = QueueSpec(name="level", children=(queue,))
    assert queue.depth == MAX_DEPTH
    with pytest.raises(InvalidInput, match=rf"^queues: more than {MAX_DEPTH} levels"):
        tree(queue)


@pytest.mark.parametrize(
    ("lists", "submitters", "administrators"),
    [
        # From the queue up; the root last.
        ([None, None, None], "everybody", "nobody"),
        ([None, None, NOBODY], "nobody", "nobody"),
        ([AccessList(users=("ada",)), NOBODY, NOBODY], "ada", "ada"),
        (
            [NOBODY, AccessList(users=("ada",), groups=("staff",)), AccessList(users=("eve",))],
            "ada, eve, group staff",
            "ada, eve, group staff",
        ),
        ([NOBODY, NOBODY, EVERYBODY], "everybody", "everybody"),
    ],
)
def test_who_may_what_is_whom_the_queue_or_one_above_it_names(
    lists: list[AccessList | None], submitters: str, administrators: str
) -> None:
    lineage = [QueueSpec(name="q", submit_acl=acl, admin_acl=acl) for acl in lists]

    assert str(access_to(lineage, admin=False)) == submitters
    assert str(access_to(lineage, admin=True)) == administrators


def test_a_list_allows_whom_it_names_and_who_is_in_a_group_that_it_names() -> None:
    acl = AccessList(users=("ada",), groups=("staff",))

    assert acl.allows("ada", ())
    assert acl.allows("bob", ("users", "staff"))
    assert not acl.allows("staff", ("users",))


def test_what_nobody_declared_has_the_maximum_for_children_or_the_default() -> None:
    defaults = QueueDefaults(max_share=Resources(memory_mib=9), max_running_apps=3, policy=Policy.DRF)
    half = ShareOfCluster(default=0.5)

    plain = defaults.undeclared("ada", QueueSpec(name="above", policy=Policy.DRF))
    held = defaults.undeclared("ada", QueueSpec(name="above", policy=Policy.DRF, max_child_share_of_cluster=half))

    assert (plain.max_share, plain.max_share_of_cluster, plain.max_running_apps) == (Resources(memory_mib=9), None, 3)
    assert (held.max_share, held.max_share_of_cluster) == (None, half)
    assert plain.undeclared
    assert plain.policy is Policy.DRF
    assert defaults.undeclared("ada", QueueSpec(name="above")).policy is Policy.FAIR
