"""The funnel: the conditions that a node must meet for an ask, in the order in which they could be lifted.

What never fits comes first, then where the ask insists to be, then what is free now, and at last for whom it is kept.
A node's verdict is the first condition that it does not meet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from hrm.core.amounts import Amounts
from hrm.core.applications import Ask, Shape
from hrm.core.explain import missing
from hrm.core.locality import Level
from hrm.core.nodes import WHOLE, Node, pick_devices
from hrm.core.reasons import Reason
from hrm.core.wording import MAX_NAMES, say_amount, say_names, say_shape
from hrm.model.evidence import NodesFact
from hrm.model.explanations import Condition, NodeVerdict
from hrm.model.phrases import Item, Phrase, phrase, say
from hrm.model.requests import ANY
from hrm.model.resources import GPUS, MEMORY, VCORES
from hrm.model.scheduling import SchedulerOptions

#: Verdicts of nodes that could take the ask if there were room.
ROOM = frozenset(
    {
        None,
        Reason.WAITS_FOR_LOCALITY,
        Reason.RESERVED_FOR_OTHERS,
        Reason.INSUFFICIENT_MEMORY,
        Reason.INSUFFICIENT_VCORES,
        Reason.INSUFFICIENT_GPUS,
        Reason.INSUFFICIENT_OTHER,
        Reason.GPU_FRAGMENTED,
        Reason.KEPT_FOR_OTHERS,
        Reason.PLACEMENT_CONSTRAINT,
    }
)


class Test(NamedTuple):
    """One condition: why a node that does not meet it is out."""

    reason: Reason
    code: str
    said: Phrase
    passes: Callable[[Node], bool]


class Funnel:
    """All nodes, each with its verdict on one ask."""

    def __init__(self, ask: Ask, nodes: Sequence[Node], options: SchedulerOptions) -> None:
        self.ask = ask
        self.nodes = nodes
        self.tests = tests_of(ask, options, labelled=any(node.label for node in nodes))
        #: Nodes that differ in nothing that matters to the ask, under the first of each kind: a full cluster has few.
        self.alike = _alike(ask, nodes)
        verdicts = {first: verdict(first, self.tests) for first in self.alike}
        #: Nodes by verdict; None: it would take the ask.
        self.by_reason: dict[Reason | None, list[Node]] = {reason: [] for reason in verdicts.values()}
        #: The same of the first of each kind.
        self.kinds: dict[Reason | None, list[Node]] = {reason: [] for reason in verdicts.values()}
        for first, reason in verdicts.items():
            self.kinds[reason].append(first)
        if len(verdicts) == len(nodes):
            self.by_reason = self.kinds
        else:
            of = {node: reason for first, reason in verdicts.items() for node in self.alike[first]}
            for node in nodes:
                self.by_reason[of[node]].append(node)

    def found(self, reason: Reason | None) -> list[Node]:
        """Nodes with this verdict, in the order they joined."""
        return self.by_reason.get(reason, [])

    @property
    def open_nodes(self) -> list[Node]:
        """Those that could take the ask if there were room."""
        return [node for reason, nodes in self.by_reason.items() if reason in ROOM for node in nodes]

    @property
    def open_kinds(self) -> list[Node]:
        """The first of each kind of them."""
        return [node for reason, nodes in self.kinds.items() if reason in ROOM for node in nodes]

    def facts(self) -> list[NodesFact]:
        """How many nodes say what, the worst first."""
        order = sorted(self.by_reason, key=lambda one: -1 if one is None else int(one), reverse=True)
        return [
            NodesFact(
                reason=_code(reason),
                count=len(self.by_reason[reason]),
                nodes=[node.node_id for node in self.by_reason[reason][:MAX_NAMES]],
            )
            for reason in order
        ]

    def conditions(self) -> list[Condition]:
        """Each with the number of nodes that meet it, and those that meet all up to it."""
        left = len(self.nodes)
        steps = [_step(1, "cluster", phrase("condition.cluster"), left, left)]
        for number, test in enumerate(self.tests, 2):
            # Reasons are told apart by at most one test of each.
            left -= len(self.found(test.reason))
            passing = sum(len(nodes) for first, nodes in self.alike.items() if test.passes(first))
            steps.append(_step(number, test.code, test.said, passing, left))
        return steps

    def table(self, most: int) -> list[NodeVerdict]:
        """Node by node, at most so many: those nearest to taking the ask first, then as they joined."""
        order = {test.reason: -number for number, test in enumerate(self.tests)}
        rows: list[NodeVerdict] = []
        for reason in sorted(self.by_reason, key=lambda one: -len(order) if one is None else order[one]):
            for node in self.by_reason[reason][: most - len(rows)]:
                pieces = node.pieces(self.ask.shape) if self.ask.shape.gpus else []
                rows.append(
                    NodeVerdict(
                        node_id=node.node_id,
                        rack=node.rack,
                        verdict=_code(reason),
                        free=node.free.frozen().as_dict(),
                        total=node.spec.total.as_dict(),
                        device_free_milli=list(pieces),
                    )
                )
        return rows


def _alike(ask: Ask, nodes: Sequence[Node]) -> dict[Node, list[Node]]:
    shape, blacklist = ask.shape, ask.app.blacklist
    anywhere = ask.plain or (ask.places.keys() == {ANY} and ask.placement is None)
    gpus = bool(shape.gpus)
    kinds: dict[object, list[Node]] = {}
    for node in nodes:
        free, total = node.free, node.total
        if not anywhere or blacklist or node.holds or node.reservation is not None or total.others or free.others:
            kinds[node] = [node]
            continue
        kind = (
            free.memory,
            free.vcores,
            free.gpus,
            *node.device_free,
            total.memory,
            total.vcores,
            total.gpus,
            node.schedulable,
            gpus and node.device_models,
            node.admits(shape),
            node.label,
        )
        kinds.setdefault(kind, []).append(node)
    return {some[0]: some for some in kinds.values()}


def _step(number: int, code: str, said: Phrase, passing: int, remaining: int) -> Condition:
    return Condition(number=number, code=code, text=say(said), said=said, passing=passing, remaining=remaining)


def _code(reason: Reason | None) -> str:
    return "fits" if reason is None else str(reason)


def verdict(node: Node, tests: Sequence[Test]) -> Reason | None:
    """Why the node does not take the ask now; None iff it would."""
    for test in tests:
        if not test.passes(node):
            return test.reason
    return None


def tests_of(ask: Ask, options: SchedulerOptions, *, labelled: bool) -> list[Test]:
    """The conditions of an ask; those that cannot matter to it are left out. ``labelled``: some node has a label."""
    app, shape = ask.app, ask.shape
    tests: list[Test] = []
    if shape.gpus and (model := shape.gpu_model) is not None:
        tests.append(
            Test(
                Reason.NO_SUCH_GPU_MODEL,
                "model",
                phrase("condition.model", model=model),
                lambda node: bool(node.positions_of_model(model)),
            )
        )
    if shape.choosy or labelled:
        wanted = missing.wanted(shape.needs)
        said = phrase("condition.needs", needs=[*wanted]) if wanted else phrase("condition.no_label")
        tests.append(Test(Reason.NOT_OFFERED, "needs", said, lambda node: node.admits(shape)))
    tests.append(
        Test(
            Reason.NEVER_FITS,
            "size",
            phrase("condition.size", asked=say_shape(shape)),
            lambda node: node.could_hold(shape),
        )
    )
    strict, closed = ask.strict_places(), ask.closed_racks()
    if strict or closed:
        said = (
            phrase("condition.place", places=say_names(strict))
            if strict
            else phrase("condition.not_place", places=say_names(closed))
        )
        tests.append(Test(Reason.WRONG_PLACE, "place", said, ask.accepts))
    if blacklist := app.blacklist:
        tests.append(
            Test(
                Reason.BLACKLISTED,
                "blacklist",
                phrase("condition.blacklist"),
                lambda node: node.node_id not in blacklist,
            )
        )
    tests.append(
        Test(
            Reason.NODES_NOT_SCHEDULABLE,
            "open",
            phrase("condition.open"),
            lambda node: node.schedulable,
        )
    )
    tests += _tests_of_room(shape)
    tests.append(
        Test(
            Reason.KEPT_FOR_OTHERS,
            "kept",
            phrase("condition.kept"),
            lambda node: not node.holds or node.fits(shape),
        )
    )
    if ask.constraint is not None:
        said = phrase("condition.constraint")
        tests.append(Test(Reason.PLACEMENT_CONSTRAINT, "constraint", said, lambda node: not ask.is_kept_off(node)))
    allowed = allowed_level(ask, options)
    if allowed is not Level.ANYWHERE:
        tests.append(
            Test(
                Reason.WAITS_FOR_LOCALITY,
                "locality",
                phrase("condition.at_node" if allowed is Level.NODE else "condition.in_rack"),
                lambda node: ask.level_at(node) <= allowed,
            )
        )
    tests.append(
        Test(
            Reason.RESERVED_FOR_OTHERS,
            "reservation",
            phrase("condition.reservation"),
            lambda node: node.reservation is None or _serves(node.reservation, ask),
        )
    )
    return tests


def _serves(reserved_for: Ask, ask: Ask) -> bool:
    """True iff a node that is reserved for the one takes the other: itself, or one of its gang; no other one either of
    the same application."""
    return reserved_for is ask or (ask.gang is not None and reserved_for.gang is ask.gang)


def _tests_of_room(shape: Shape) -> list[Test]:
    """What is free, or kept for somebody, in the order of `Node.why_not`."""
    tests: list[Test] = []
    gpus, memory, vcores = shape.gpus, shape.memory, shape.vcores
    if gpus:
        said = phrase("condition.free", amount=say_amount(GPUS, gpus, shape.gpu_model))
        tests.append(Test(Reason.INSUFFICIENT_GPUS, "gpus", said, lambda node: _gpus_left(node, shape) >= gpus))
    if memory:
        said = phrase("condition.free_memory", amount=say_amount(MEMORY, memory))
        tests.append(Test(Reason.INSUFFICIENT_MEMORY, "memory", said, lambda node: left_on(node).memory >= memory))
    if vcores:
        said = phrase("condition.free", amount=say_amount(VCORES, vcores))
        tests.append(Test(Reason.INSUFFICIENT_VCORES, "vcores", said, lambda node: left_on(node).vcores >= vcores))
    if others := shape.others:
        amounts: list[Item] = [say_amount(name, amount) for name, amount in others.items()]
        tests.append(
            Test(
                Reason.INSUFFICIENT_OTHER,
                "others",
                phrase("condition.free", amount=phrase("resources", amounts=amounts)),
                lambda node: all(left_on(node).other(name) >= amount for name, amount in others.items()),
            )
        )
    if gpus:
        said = phrase("condition.one_device" if gpus <= WHOLE else "condition.whole_devices")
        tests.append(
            Test(
                Reason.GPU_FRAGMENTED,
                "devices",
                said,
                lambda node: bool(pick_devices(gpus, devices_left_on(node), node.allowed_positions(shape))),
            )
        )
    return tests


def allowed_level(ask: Ask, options: SchedulerOptions) -> Level:
    """How far it may go now; one that no visit has looked at begins with its nodes."""
    if ask.delay is not None:
        return ask.delay.level
    wishes = options.delays and not ask.plain and ask.places.keys() != {ANY}
    return Level.NODE if wishes else Level.ANYWHERE


def left_on(node: Node) -> Amounts:
    """What nobody uses: free, or kept for somebody."""
    if not node.holds:
        return node.free
    left = node.free.copy()
    for hold in node.holds:
        left.add(hold.got)
    return left


def devices_left_on(node: Node) -> Sequence[int]:
    """The same by device."""
    if not node.holds:
        return node.device_free
    left = list(node.device_free)
    for hold in node.holds:
        for position, milli in hold.device_milli.items():
            left[position] += milli
    return left


def _gpus_left(node: Node, shape: Shape) -> int:
    devices = devices_left_on(node)
    if shape.gpu_model is None:
        return min(sum(devices), left_on(node).gpus)
    return min(sum(devices[i] for i in node.positions_of_model(shape.gpu_model)), left_on(node).gpus)
