"""Random trees of queues, nodes, requests and options."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from hrm.model.node_needs import ANY_NODE, NodeNeeds
from hrm.model.nodes import NodeSpec
from hrm.model.queues import Order, QueueSpec, ShareOfCluster
from hrm.model.requests import ANY, GangRequest, ResourceRequest
from hrm.model.scheduling import SchedulerOptions, Victims
from hrm.model.tag_placements import AllOf, AnyOf, DelayedOr, OfTagged, Scope, TagCount, TagPlacement, Timed, Whose
from hrm.testing.builders import amounts, node, queue, queues

MODELS = ("RTX 2080 Ti", "V100")
NODE_IDS = tuple(f"n{i}" for i in range(5))
#: Few, so that a reload adds, drops and changes queues rather than replacing all of them.
NAMES = ("a", "b", "c")
MAX_DEPTH = 3

PARTS = st.sampled_from([0.25, 0.5, 1.0])
#: Of running applications. Limits that bind are rare, or nothing else would ever happen.
LIMITS = st.sampled_from([None] * 12 + [0, 1, 2, 2])


@st.composite
def limits(draw: st.DrawFn, *, policy: str) -> dict[str, object]:
    """Fields of a queue, of any kind but children."""
    most = draw(st.sampled_from([None] * 6 + [1, 3, 6]))
    in_part = most is None and draw(st.sampled_from([False] * 5 + [True]))
    minimum = draw(st.sampled_from([amounts(), amounts(), amounts(1, "1G"), amounts(0, "2G")]))
    return {
        "weight": draw(st.sampled_from([0.0, 1.0, 1.0, 1.0, 2.0, 3.0])),
        "policy": policy,
        "order": Order.RATIO if policy == "fifo" else draw(st.sampled_from(Order)),
        "max_share": None if most is None else amounts(most, f"{most * 2}G", gpus=most, licences=most),
        "max_share_of_cluster": ShareOfCluster(default=draw(PARTS)) if in_part else None,
        "min_share": None if most == 1 else minimum,
        "max_am_share": draw(st.sampled_from([None, 0.5])),
        "max_running_apps": draw(LIMITS),
        "max_running_apps_per_user": draw(LIMITS),
        "fair_share_preemption_timeout_s": draw(st.sampled_from([0, 0, 3, None])),
        "fair_share_preemption_threshold": draw(st.sampled_from([1.0, 0.5, None])),
        "min_share_preemption_timeout_s": draw(st.sampled_from([0, 3, None])),
        "min_run_before_preemption_s": draw(st.sampled_from([None, None, None, 5])),
        "preemptable": draw(st.sampled_from([True] * 7 + [False])),
    }


@st.composite
def subtrees(draw: st.DrawFn, name: str, above: str, depth: int) -> QueueSpec:
    """A queue below one of policy ``above``, with what is below it."""
    allowed = ["fair", "drf"] if above == "drf" else ["fair"]
    if depth < MAX_DEPTH and draw(st.sampled_from([False, False, True])):
        policy = draw(st.sampled_from(allowed))
        names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True))
        children = [draw(subtrees(below, policy, depth + 1)) for below in names]
        return queue(name, *children, **draw(limits(policy=policy)))  # type: ignore[arg-type]
    return queue(name, **draw(limits(policy=draw(st.sampled_from([*allowed, "fifo"])))))  # type: ignore[arg-type]


@st.composite
def trees(draw: st.DrawFn) -> QueueSpec:
    """Up to three levels below the root."""
    policy = draw(st.sampled_from(["fair", "drf"]))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    children = [draw(subtrees(name, policy, 1)) for name in names]
    return queues(*children, policy=policy, max_running_apps=draw(st.sampled_from([None, None, None, 4])))


#: Two attributes and two labels, of which one is lent to requests without a label.
WORDS = st.sampled_from(
    [{}] * 4
    + [{"os": "a"}, {"os": "b"}, {"label": "mine"}, {"label": "lent", "exclusive": False}]
    + [{"os": "a", "label": "lent", "exclusive": False}]
)
NEEDS = st.sampled_from(
    [ANY_NODE] * 8
    + [
        NodeNeeds(constraint="os=a"),
        NodeNeeds(constraint="os!=b | hdd"),
        NodeNeeds(label="mine"),
        NodeNeeds(label="lent"),
        NodeNeeds(constraint="os", label="lent"),
        NodeNeeds(label=""),
    ]
)


def _node(node_id: str, *, words: dict[str, Any], **size: Any) -> NodeSpec:
    return node(node_id, **size, **words)


NODES = st.builds(
    _node,
    st.sampled_from(NODE_IDS),
    cpus=st.integers(1, 6),
    memory=st.sampled_from(["2G", "5G", "8G"]),
    gpus=st.integers(0, 3),
    model=st.sampled_from(MODELS),
    rack=st.sampled_from(["/r1", "/r2"]),
    others=st.sampled_from([None, {"licences": 2}]),
    words=WORDS,
)
#: Beside an "a" of its rack, or after a while alone on its node, or after some heartbeats anywhere.
PATIENT = DelayedOr(
    (
        Timed(constraint=TagCount(tags=("a",), least=1, scope=Scope.RACK, whose=Whose.ALL), delay_s=4.0),
        Timed(
            constraint=AnyOf((TagCount(tags=("a", "b"), most=0), TagCount(tags=("b",), whose=OfTagged("t"), least=2))),
            opportunities=2,
        ),
        Timed(constraint=AllOf((TagCount(tags=("c",), most=0),)), opportunities=0),
    )
)
SIZES = [
    amounts(1, "1G"),
    amounts(0.5, "3G"),
    amounts(2, "512M"),
    amounts(0.5, "512M", gpus=0.3),
    amounts(0.5, "512M", gpus=0.7),
    amounts(1, "1G", gpus=1),
    amounts(1, "1G", gpus=2),
    amounts(1, "1G", licences=1),
]
REQUESTS = st.builds(
    ResourceRequest,
    resources=st.sampled_from(SIZES),
    count=st.sampled_from([8, 5, 3, 2, 1, 0]),
    priority=st.integers(0, 2),
    resource_name=st.sampled_from([ANY] * 6 + ["n0", "n1", "/r1", "/r9"]),
    relax_locality=st.booleans(),
    gpu_model=st.sampled_from([None, None, None, "rtx*", "V100"]),
    for_master=st.sampled_from([False] * 5 + [True]),
    needs=NEEDS,
    placement=st.sampled_from(
        [None] * 8
        + [
            TagPlacement(tags=frozenset({"a"})),
            TagPlacement(tags=frozenset({"a"}), constraint=TagCount(tags=("a",), most=0)),
            TagPlacement(tags=frozenset({"b"}), constraint=TagCount(tags=("a",), whose=Whose.ALL, most=2)),
            TagPlacement(tags=frozenset({"b"}), constraint=TagCount(tags=("a",), least=1)),
            TagPlacement(tags=frozenset({"a"}), constraint=TagCount(tags=("a",), most=2, scope=Scope.RACK)),
            TagPlacement(tags=frozenset({"b"}), constraint=PATIENT),
        ]
    ),
)
#: From here on request ids are those of gangs.
GANG_IDS = 100


@st.composite
def gangs(draw: st.DrawFn) -> list[ResourceRequest]:
    """All that one gang asks for, mostly in one shape."""
    gang = GangRequest(
        gang_id=draw(st.sampled_from([GANG_IDS, GANG_IDS + 1])),
        tasks_per_node=draw(st.sampled_from([None, None, 1, 2])),
    )
    needs = draw(NEEDS)
    shapes = draw(st.lists(st.sampled_from(SIZES), min_size=1, max_size=draw(st.sampled_from([1, 1, 2])), unique=True))
    return [
        ResourceRequest(
            resources=shape,
            count=draw(st.sampled_from([4, 3, 2, 2, 1])),
            allocation_request_id=gang.gang_id,
            gang=gang,
            needs=needs,
        )
        for shape in shapes
    ]


ASKS = st.lists(REQUESTS, min_size=1, max_size=3)
#: Fills whatever it gets.
GREEDY = st.builds(ResourceRequest, resources=st.sampled_from(SIZES[:2]), count=st.just(20))

_ALWAYS: dict[str, Any] = {"preemption_utilization_threshold": 0.0}
_RESERVING: dict[str, Any] = {**_ALWAYS, "reservable_nodes": 0.3, "reservation_threshold": amounts(1, "1G")}
_DELAYING: dict[str, Any] = {"node_locality_threshold": 0.5, "rack_locality_threshold": 0.5}
OPTIONS = st.sampled_from(
    [
        SchedulerOptions(**_ALWAYS),
        SchedulerOptions(**_RESERVING),
        SchedulerOptions(**_RESERVING, **_DELAYING, wait_before_kill_s=3),
        SchedulerOptions(**_ALWAYS, wait_before_kill_s=0, victims=Victims.LEAST_WORK_LOST),
        SchedulerOptions(**_ALWAYS, max_assign=2, wait_before_kill_s=3),
        SchedulerOptions(**_ALWAYS, dynamic_max_assign=True),
        SchedulerOptions(**_DELAYING, gang_gather_timeout_s=20),
        SchedulerOptions(continuous_scheduling=True, node_locality_delay_s=3, rack_locality_delay_s=3),
        SchedulerOptions(assign_multiple=False, preemption=False),
        SchedulerOptions(**_ALWAYS, placement_strategy="random", max_assign=3),
        SchedulerOptions(**_RESERVING, placement_strategy="fgd", gang_gather_timeout_s=5),
        SchedulerOptions(**_DELAYING, placement_strategy="lookahead"),
    ]
)
