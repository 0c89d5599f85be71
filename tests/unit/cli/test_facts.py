"""Facts behind an explanation are told in sentences, without names of fields."""

from __future__ import annotations

import pytest

from hrm.cli.facts import say_fact
from hrm.model import evidence
from hrm.model.evidence import (
    AttributeFact,
    BestNodeFact,
    DeviceOutFact,
    DrainedFact,
    Fact,
    GangFact,
    GpuModelsFact,
    GroupFact,
    KeptFact,
    LargestNodeFact,
    LocalityFact,
    MissingFact,
    PlacesFact,
    PreemptionFact,
    QueueAmShareFact,
    QueueMaxRunningAppsFact,
    QueueMaxShareFact,
    ReservationFact,
    ShareFact,
    UserMaxRunningAppsFact,
    WarningFact,
)

ONE = {"vcores_milli": 1000, "memory_mib": 1024}
TWO = {"vcores_milli": 2000, "memory_mib": 2048, "gpus_milli": 500}
APP = "application_1700000000000_0007"
#: Kinds that `hrm explain` shows as a table or a line of their own.
IN_TABLES = {"nodes", "room", "holder", "application", "application_ahead", "queue_ahead"}
TOLD: list[tuple[Fact, str]] = [
    (
        GpuModelsFact(asked="H100", models={"V100": 2, "T4": 1}),
        "the cluster has 2 of model V100, 1 of model T4, and none of model H100",
    ),
    (GpuModelsFact(asked="H100", models={}), "the cluster has no GPUs, and none of model H100"),
    (PlacesFact(asked=["n1", "/r2"]), "places that it names: n1, /r2"),
    (
        LargestNodeFact(node_id="n1", total=ONE, asked=TWO, too_much=["vcores_milli", "gpus_milli"]),
        "n1, the node nearest to it, has 1 vcore, 1G: too little CPU and GPU",
    ),
    (
        QueueMaxShareFact(queue="a", used=ONE, max_share=TWO, asked=TWO, over=["memory_mib"]),
        "queue a uses 1 vcore, 1G and may use 2 vcores, 2G, 0.5 GPUs; with 2 vcores, 2G, 0.5 GPUs more"
        " that would be too much memory",
    ),
    (
        QueueAmShareFact(queue="a", used=ONE, limit=TWO, asked=ONE),
        "masters in queue a use 1 vcore, 1G and may use 2 vcores, 2G, 0.5 GPUs; this one asks for 1 vcore, 1G",
    ),
    (
        QueueMaxRunningAppsFact(queue="a", running=1, limit=1, ahead=0, running_applications=[APP]),
        "running in queue a: 7",
    ),
    (
        UserMaxRunningAppsFact(user="ada", queue="a", running=0, limit=0, ahead=0, running_applications=[]),
        "running for ada in queue a: none",
    ),
    (
        BestNodeFact(node_id="n1", free=TWO, short_of="gpus_milli", device_free_milli=[0, 500]),
        "n1 comes nearest: it has 2 vcores, 2G, 0.5 GPUs free (by GPU: 0, 0.5), too little GPU",
    ),
    (
        BestNodeFact(node_id="n1", free={"vcores_milli": 0}, short_of="licences", device_free_milli=[]),
        "n1 comes nearest: it has nothing free, too little licences",
    ),
    (
        PreemptionFact(
            node_id="n1", kept=ONE, victims=["container_e01_1700000000000_0007_01_000004"], kill_at=1709294438.0
        ),
        "container 4 (of application 7) on n1 is to end for it, by 03-01 12:00 at the latest;"
        " on n1 1 vcore, 1G is kept for it",
    ),
    (PreemptionFact(node_id="n1", kept=ONE, victims=[], kill_at=None), "on n1 1 vcore, 1G is kept for it"),
    (KeptFact(node_id="n1", application=APP, kept=ONE), "on n1 1 vcore, 1G is kept for application 7"),
    (ShareFact(used={}, fair_share=TWO), "it has nothing of its fair share of 2 vcores, 2G, 0.5 GPUs"),
    (
        LocalityFact(asked=["n1", "/r1"], level="rack", missed=1),
        "it would like n1, /r1; for now its nodes and racks will do, and it has let 1 opportunity pass",
    ),
    (
        MissingFact(need="shared path /data", count=3, nodes=["n1", "n2"]),
        "shared path /data is missing on n1, n2 and 1 more",
    ),
    (
        ReservationFact(node_id="n1", application=APP, waits_for=ONE),
        "n1 is reserved for application 7, which waits for 1 vcore, 1G",
    ),
    (WarningFact(message="that does not count", places=["n1"]), "warning: that does not count (n1)"),
    (
        GangFact(
            size=4,
            fitting=1,
            fitting_when_empty=4,
            tasks_per_node=2,
            gathered=["n1", "n2"],
            gathers_since=1709294438.0,
            gathers_before=None,
        ),
        "of 4 containers at once with at most 2 on a node 1 fit now, and 4 would if nothing ran;"
        " since 03-01 12:00 n1, n2 take nothing else",
    ),
    (
        GangFact(
            size=4,
            fitting=0,
            fitting_when_empty=3,
            tasks_per_node=None,
            gathered=[],
            gathers_since=None,
            gathers_before=APP,
        ),
        "of 4 containers at once 0 fit now, and 3 would if nothing ran; application 7 gathers nodes before it",
    ),
    (
        AttributeFact(need="os=debian12", count=7, nodes=["n1", "n2"], there={"os=debian11": 1, "": 6}),
        "os=debian12 is not so on n1, n2 and 5 more (1 has os=debian11, 6 have no such attribute)",
    ),
    (GroupFact(name="b", waits_for=["a", "c"]), "group b begins when all tasks of a, c have succeeded"),
    (DrainedFact(node_id="n1", by="ada", reason="new disk"), "n1 is drained by ada (new disk)"),
    (DrainedFact(node_id="n1", by="ada", reason=""), "n1 is drained by ada"),
    (DeviceOutFact(node_id="n1", device_id="GPU-a", reason="Xid 79"), "GPU GPU-a of n1 is out: Xid 79"),
]


@pytest.mark.parametrize(("fact", "words"), TOLD, ids=lambda one: getattr(one, "kind", ""))
def test_each_kind_of_fact_is_a_sentence(fact: Fact, words: str, in_utc: None) -> None:
    assert say_fact(fact.as_dict()) == words


def test_no_kind_of_fact_is_left_without_a_sentence() -> None:
    kinds = {one.kind for one in vars(evidence).values() if isinstance(one, type) and "kind" in vars(one)}

    assert kinds - IN_TABLES - {"fact"} == {fact.kind for fact, _ in TOLD}
