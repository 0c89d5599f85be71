"""Real histories, each of which ends with something that waits for another reason."""

from __future__ import annotations

from collections.abc import Callable

from hrm.core.events import BlacklistChanged, NodeSchedulable
from hrm.core.explain.finding import ExpectedEnd
from hrm.model.explanations import EndBasis, Explanation
from hrm.model.ids import AttemptId, ContainerId
from hrm.model.scheduling import SchedulerOptions
from hrm.testing.builders import Scenario, amounts, queue, queues, request

#: 2024-03-01 12:00:00 UTC.
NOON = 1_709_294_400.0
TI = "RTX 2080 Ti"


def cluster(*leaves: object, policy: str = "drf", options: SchedulerOptions | None = None) -> Scenario:
    s = Scenario(queues(*leaves, policy=policy), options=options)  # type: ignore[arg-type]
    s.now = NOON
    return s


def told(s: Scenario, app: AttemptId, *, ends: dict[AttemptId, tuple[float, EndBasis]] | None = None) -> Explanation:
    """What is explained when ends of these applications' containers are known, in seconds from now."""

    def expected_end(container_id: ContainerId) -> ExpectedEnd | None:
        known = (ends or {}).get(container_id.attempt)
        return None if known is None else ExpectedEnd(s.now + known[0], known[1])

    return s.scheduler.explain(app.application, now=s.now, expected_end=expected_end, nodes=10)


def gpus_on_two_nodes() -> Explanation:
    """14 of 16 GPUs are in use, and the two free ones are on two nodes."""
    s = cluster(queue("research", weight=3, policy="drf"), queue("batch", weight=5, policy="drf"))
    train, sweep, mine = s.submit("batch", user="bob"), s.submit("research"), s.submit("research", user="eve")
    for name in ("n1", "n2"):
        s.add_node(name, cpus=32, memory="64G", gpus=8, model=TI)
        s.ask(train, 1, gpus=4, where=name, relax=False)
        s.ask(sweep, 3, gpus=1, where=name, relax=False)
        s.visit(name)
    s.ask(mine, 1, gpus=2, model=TI)
    s.settle()
    s.update_shares()
    return told(s, mine, ends={train: (700.0, EndBasis.PROGRESS), sweep: (1500.0, EndBasis.TIME_LIMIT)})


def no_free_gpu() -> Explanation:
    s = cluster(queue("all", policy="drf"))
    s.add_node("n1", gpus=2, model=TI)
    s.add_node("n2", gpus=2, model="V100")
    first, mine = s.submit("all"), s.submit("all", user="bob")
    s.ask(first, 2, gpus=1, model=TI)
    s.settle()
    s.ask(mine, 1, gpus=1, model=TI)
    s.settle()
    s.update_shares()
    return told(s, mine)


def fragmented_gpu() -> Explanation:
    s = cluster(queue("all", policy="drf"))
    s.add_node("n1", gpus=2)
    first, mine = s.submit("all"), s.submit("all", user="bob")
    s.ask(first, 2, gpus=0.6)
    s.settle()
    s.ask(mine, 1, gpus=0.7)
    s.settle()
    s.update_shares()
    return told(s, mine, ends={first: (95.0, EndBasis.EARLIER_TASKS)})


def memory_in_use() -> Explanation:
    s = cluster(queue("all"), policy="fair")
    for name in ("n1", "n2", "n3"):
        s.add_node(name, cpus=8, memory="8G")
    first, mine = s.submit("all"), s.submit("all", user="bob")
    s.ask(first, 3, memory="7G")
    s.settle()
    s.ask(mine, 4, memory="2G")
    s.settle()
    s.update_shares()
    return told(s, mine, ends={first: (3 * 3600.0, EndBasis.TIME_LIMIT)})


def queue_at_max_share() -> Explanation:
    s = cluster(queue("small", policy="drf", max_share=amounts(4, "8G")), queue("other", policy="drf"))
    s.add_node("n1", cpus=16, memory="32G")
    first, mine = s.submit("small"), s.submit("small", user="bob")
    s.ask(first, 3)
    s.settle()
    s.ask(mine, 1, cpus=2)
    s.settle()
    s.update_shares()
    return told(s, mine, ends={first: (240.0, EndBasis.PROGRESS)})


def too_many_running_apps() -> Explanation:
    s = cluster(queue("narrow", max_running_apps=2), queue("wide"), policy="fair")
    s.add_node("n1")
    running = [s.submit("narrow"), s.submit("narrow", user="bob")]
    for app in running:
        s.ask(app)
    s.settle()
    s.submit("narrow", user="eve")
    mine = s.submit("narrow", user="eve")
    s.ask(mine)
    s.settle()
    s.update_shares()
    return told(s, mine, ends={running[0]: (30.0, EndBasis.PROGRESS), running[1]: (400.0, EndBasis.TIME_LIMIT)})


def user_limit() -> Explanation:
    s = cluster(queue("all", max_running_apps_per_user=1), policy="fair")
    s.add_node("n1")
    first = s.submit("all")
    s.ask(first)
    s.settle()
    mine = s.submit("all")
    s.ask(mine)
    s.settle()
    return told(s, mine)


def am_share() -> Explanation:
    s = cluster(queue("all", max_am_share=0.25), policy="fair")
    s.add_node("n1", cpus=10, memory="10G")
    first, mine = s.submit("all"), s.submit("all", user="bob")
    s.update_shares()
    s.ask(first, 1, memory="2G", for_master=True)
    s.settle()
    s.ask(mine, 1, memory="2G", for_master=True)
    s.settle()
    return told(s, mine)


def waits_for_locality() -> Explanation:
    options = SchedulerOptions(node_locality_threshold=0.5, rack_locality_threshold=0.5)
    s = cluster(queue("all"), policy="fair", options=options)
    for name, rack in (("n1", "/r1"), ("n2", "/r1"), ("n3", "/r2"), ("n4", "/r2")):
        s.add_node(name, cpus=2, memory="2G", rack=rack)
    first, mine = s.submit("all"), s.submit("all", user="bob")
    s.ask(first, 2, where="n1", relax=False)
    s.visit("n1")
    s.request(mine, *(request(1, where=where) for where in ("n1", "/r1", "*")))
    s.visit("n3")
    return told(s, mine)


def reserved_node() -> Explanation:
    s = cluster(queue("a"), queue("b"), policy="fair", options=SchedulerOptions(reservable_nodes=1))
    s.add_node("n1", cpus=4, memory="4G")
    small, large = s.submit("a"), s.submit("b", user="bob")
    s.ask(small, 4)
    s.settle()
    s.ask(large, 1, cpus=2, memory="2G")
    s.update_shares()
    s.visit("n1")
    s.finish(s.containers(small)[0])
    mine = s.submit("a", user="eve")
    s.ask(mine)
    s.visit("n1")
    s.update_shares()
    return told(s, mine)


def gang_that_waits() -> Explanation:
    s = cluster(queue("a"), queue("b"), policy="fair")
    for name in ("n1", "n2"):
        s.add_node(name, cpus=2, memory="2G")
    first, mine = s.submit("a"), s.submit("b", user="bob")
    s.ask(first, 1)
    s.settle()
    s.ask_gang(mine, 4, tasks_per_node=2)
    s.settle()
    return told(s, mine)


def gang_that_gathers() -> Explanation:
    s = cluster(queue("a"), queue("b"), policy="fair")
    for name in ("n1", "n2"):
        s.add_node(name, cpus=2, memory="2G")
    small, mine = s.submit("a"), s.submit("b", user="bob")
    s.ask(small, 20)
    s.settle()
    s.ask_gang(mine, 4)
    s.update_gangs()
    s.finish(s.containers(small)[0])
    s.visit("n1")
    s.advance(90)
    return told(s, mine)


def gang_that_never_fits() -> Explanation:
    s = cluster(queue("all"), policy="fair")
    for name in ("n1", "n2"):
        s.add_node(name, cpus=2, memory="2G")
    mine = s.submit("all")
    s.ask_gang(mine, 3, tasks_per_node=1)
    s.settle()
    return told(s, mine)


def behind_others() -> Explanation:
    s = cluster(queue("a"), queue("b"), policy="fair")
    s.add_node("n1", cpus=1, memory="1G")
    s.add_node("n2", cpus=1, memory="1G")
    mine, other = s.submit("a"), s.submit("b", user="bob")
    s.ask(mine, 1)
    s.visit("n1")
    s.update_shares()
    s.ask(mine, 1)
    s.ask(other, 1)
    return told(s, mine)


def no_such_gpu_model() -> Explanation:
    s = cluster(queue("all", policy="drf"))
    s.add_node("n1", gpus=2, model=TI)
    s.add_node("n2", gpus=1, model="V100")
    mine = s.submit("all")
    s.ask(mine, 1, gpus=1, model="H100")
    s.settle()
    return told(s, mine)


def never_fits() -> Explanation:
    s = cluster(queue("all"), policy="fair")
    s.add_node("n1", cpus=2, memory="4G")
    s.add_node("n2", cpus=8, memory="16G")
    mine = s.submit("all")
    s.ask(mine, 1, cpus=12, memory="1G")
    s.settle()
    return told(s, mine)


def waits_for_preemption() -> Explanation:
    timeout = {"fair_share_preemption_timeout_s": 10.0, "fair_share_preemption_threshold": 1.0}
    s = cluster(queue("greedy"), queue("starved", **timeout), policy="fair")
    s.add_node("n1", cpus=4, memory="4G")
    greedy, mine = s.submit("greedy"), s.submit("starved", user="bob")
    s.ask(greedy, 4)
    s.settle()
    s.ask(mine, 1, memory="2G")
    s.preempt()
    s.preempt(after_s=10)
    return told(s, mine)


def blacklisted() -> Explanation:
    s = cluster(queue("all"), policy="fair")
    s.add_node("n1")
    s.add_node("n2", cpus=1, memory="1G")
    mine = s.submit("all")
    s.handle(BlacklistChanged(mine.application, frozenset({"n1"})))
    s.ask(mine, 1, cpus=4)
    s.settle()
    return told(s, mine)


def drained_node() -> Explanation:
    s = cluster(queue("all", policy="drf"))
    s.add_node("n1", gpus=1)
    s.add_node("n2")
    s.handle(NodeSchedulable("n1", False))
    mine = s.submit("all")
    s.ask(mine, 1, gpus=1)
    s.settle()
    return told(s, mine)


HISTORIES: dict[str, Callable[[], Explanation]] = {
    history.__name__: history
    for history in (
        gpus_on_two_nodes,
        no_free_gpu,
        fragmented_gpu,
        memory_in_use,
        queue_at_max_share,
        too_many_running_apps,
        user_limit,
        am_share,
        waits_for_locality,
        reserved_node,
        gang_that_waits,
        gang_that_gathers,
        gang_that_never_fits,
        behind_others,
        no_such_gpu_model,
        never_fits,
        waits_for_preemption,
        blacklisted,
        drained_node,
    )
}
