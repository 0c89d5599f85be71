"""What makes a division fair, and where it holds: Pareto efficiency, sharing incentive, envy-freeness, no gain by lies.

Two settings. *Shares*: one resource, divisible, water-filling by weight up to each claimant's demand; everything holds
to within one unit. *Placed*: containers of finite size on one node, as visits place them, by memory or by dominant
resource; it holds to within containers. The proofs are those of max-min fairness and of Ghodsi et al., NSDI'11, whose
users want more than there is. Between several nodes, below limits, and with minimum shares it is not promised.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from hrm.core.driver import Driver
from hrm.core.shares import Claim, compute_shares
from hrm.model.ids import AttemptId
from hrm.model.nodes import NodeSpec
from hrm.model.requests import ResourceRequest
from hrm.model.resources import Resources
from hrm.testing.builders import queue, queues

# ---- shares: one divisible resource

WEIGHTS = st.sampled_from([0.5, 1.0, 1.0, 2.0, 3.0, 10.0])


@dataclass(frozen=True)
class Claimants:
    """Who wants how much of ``total``, with which weight."""

    total: int
    weights: list[float]
    demands: list[int]

    @property
    def unit(self) -> float:
        """How far truncation, and the last halving of the search, move a share."""
        return 2 + max(self.weights) * (self.total + 1) / min(self.weights) / (1 << 23)

    def shares(self, demands: list[int] | None = None) -> list[int]:
        pairs = zip(self.weights, demands or self.demands, strict=True)
        return compute_shares([Claim(weight=weight, max_share=demand) for weight, demand in pairs], self.total)


@st.composite
def claimants(draw: st.DrawFn) -> Claimants:
    count = draw(st.integers(1, 6))
    return Claimants(
        draw(st.integers(1, 1 << 24)),
        draw(st.lists(WEIGHTS, min_size=count, max_size=count)),
        draw(st.lists(st.integers(1, 1 << 23), min_size=count, max_size=count)),
    )


@given(claimants())
def test_shares_are_pareto_efficient_nothing_is_left_while_somebody_wants_it(of: Claimants) -> None:
    assert sum(of.shares()) >= min(of.total, sum(of.demands))


@given(claimants())
def test_shares_are_an_incentive_to_share_nobody_would_rather_have_a_part_of_their_own(of: Claimants) -> None:
    for share, weight, demand in zip(of.shares(), of.weights, of.demands, strict=True):
        assert share >= min(demand, of.total * weight / sum(of.weights)) - of.unit


@given(claimants())
def test_shares_are_free_of_envy_nobody_would_rather_have_anothers_for_its_weight(of: Claimants) -> None:
    shares = of.shares()
    for mine, weight, demand in zip(shares, of.weights, of.demands, strict=True):
        for theirs, their_weight in zip(shares, of.weights, strict=True):
            assert mine >= min(demand, theirs * weight / their_weight) - of.unit * (1 + weight / their_weight)


@given(claimants(), st.integers(0, 5), st.integers(1, 1 << 23))
def test_shares_reward_no_lies_about_ones_demand(of: Claimants, who: int, told: int) -> None:
    who %= len(of.demands)
    lied = [told if index == who else demand for index, demand in enumerate(of.demands)]

    useful = min(of.shares(lied)[who], of.demands[who])

    assert useful <= of.shares()[who] + of.unit


# ---- placed: containers on one node

NODE = Resources(memory_mib=24_000, vcores_milli=24_000, gpus_milli=0, others=(("disks", 24_000),))
NAMES = ("memory_mib", "vcores_milli", "disks")
#: A resource is wanted not at all, or within a factor of 4: what is left of one is then worth a few containers.
FACTOR = 4
AMOUNTS = st.sampled_from([0, 50, 100, 150, 200])
SHAPES = st.tuples(AMOUNTS, AMOUNTS, AMOUNTS).filter(any)


@dataclass(frozen=True)
class Placed:
    """What each of the claimants got, in containers of its shape; they want more than there is."""

    weights: list[float]
    shapes: list[Resources]
    containers: list[int]

    def part(self, who: int, containers: float = 1.0) -> float:
        """Of its dominant resource."""
        return containers * self.shapes[who].dominant_share(NODE)

    @property
    def step(self) -> float:
        """The largest part for its weight that one container makes up."""
        return max(self.part(who) / weight for who, weight in enumerate(self.weights))


def place(policy: str, weights: list[float], shapes: list[Resources], *, count: int = 600) -> Placed:
    names = [f"q{number}" for number in range(len(weights))]
    leaves = (queue(name, weight=weight, policy=policy) for name, weight in zip(names, weights, strict=True))
    core = Driver(queues(*leaves, policy=policy))
    core.join(NodeSpec(node_id="n1", total=NODE))
    apps: list[AttemptId] = [core.submit(name) for name in names]
    for app, shape in zip(apps, shapes, strict=True):
        core.request(app, ResourceRequest(resources=shape, count=count))
    core.update_nodes()
    return Placed(weights, shapes, [core.application(app).containers for app in apps])


@st.composite
def placed_by_dominant_resource(draw: st.DrawFn) -> Placed:
    count = draw(st.integers(1, 4))
    weights = draw(st.lists(st.sampled_from([1.0, 1.0, 2.0, 3.0]), min_size=count, max_size=count))
    drawn = draw(st.lists(SHAPES, min_size=count, max_size=count))
    shapes = [Resources.of(dict(zip(NAMES, amounts, strict=True))) for amounts in drawn]
    return place("drf", weights, shapes)


def left(of: Placed) -> Resources:
    return NODE - sum((shape * n for shape, n in zip(of.shapes, of.containers, strict=True)), start=Resources())


@settings(max_examples=40, deadline=None)
@given(placed_by_dominant_resource())
def test_drf_is_pareto_efficient_no_container_that_is_wanted_would_fit(of: Placed) -> None:
    assert not any(shape.fits_in(left(of)) for shape in of.shapes)


@settings(max_examples=40, deadline=None)
@given(placed_by_dominant_resource())
def test_drf_is_an_incentive_to_share_everybody_has_its_part_of_its_dominant_resource(of: Placed) -> None:
    for who, weight in enumerate(of.weights):
        # Somebody is the first that finds no room: but for one container the level is then at least 1 / all weights.
        assert of.part(who, of.containers[who]) / weight >= 1 / sum(of.weights) - 2 * of.step


@settings(max_examples=40, deadline=None)
@given(placed_by_dominant_resource())
def test_drf_is_free_of_envy_nobody_could_run_more_with_what_another_has(of: Placed) -> None:
    for mine, weight in enumerate(of.weights):
        for theirs, their_weight in enumerate(of.weights):
            bundle = of.shapes[theirs] * of.containers[theirs]
            runs = min(bundle.get(name) / amount for name, amount in of.shapes[mine].items() if amount)
            assert runs * weight / their_weight <= of.containers[mine] + 2 * FACTOR * max(1.0, weight / their_weight)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([1.0, 1.0, 2.0, 3.0]), min_size=1, max_size=5), st.integers(1, 400))
def test_what_is_placed_by_memory_is_the_fair_share_to_within_a_container(weights: list[float], demand: int) -> None:
    size = 100
    of = place("fair", weights, [Resources(memory_mib=size)] * len(weights), count=demand)

    shares = compute_shares([Claim(weight=weight, max_share=demand * size) for weight in weights], NODE.memory_mib)

    assert all(abs(n * size - share) <= size + 1 for n, share in zip(of.containers, shares, strict=True))
