"""Want of room: what is in use of how much, where the rest lies, and who holds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from hrm.core.applications import App, Shape
from hrm.core.explain.finding import SHORT_OF, Finding, has_to
from hrm.core.explain.funnel import Funnel
from hrm.core.nodes import WHOLE, Node, size
from hrm.core.reasons import Reason
from hrm.core.wording import MAX_NAMES, say_number, say_of, say_resources, say_shape
from hrm.model.evidence import BestNodeFact, Fact, HolderFact, LargestNodeFact, RoomFact
from hrm.model.explanations import GpuUse
from hrm.model.phrases import Phrase, phrase
from hrm.model.resources import GPUS, MEMORY, VCORES, Resources


def no_room(funnel: Funnel) -> Finding:
    """Nodes could take it, all are too full: the reason that most of them have, and how near the best is."""
    ask = funnel.ask
    shape = ask.shape
    short = {reason: nodes for reason, nodes in funnel.by_reason.items() if reason in _SHORT}
    reason = max(short, key=lambda one: (len(short[one]), one or 0))
    assert reason is not None
    name = SHORT_OF.get(reason) or _short_other(shape, short[reason])
    # The nodes that lack something else are counted, too: they may have what this one lacks.
    nodes = [node for some in short.values() for node in some]
    kinds = [node for one in short for node in funnel.kinds[one]]
    room = _room(name, shape, [(node, len(funnel.alike[node])) for node in kinds])
    best = max(funnel.kinds[reason], key=lambda node: (_piece(node, name, shape), _free(node, name, shape)))
    pieces = best.pieces(shape) if shape.gpus else []
    facts: list[Fact] = [
        room,
        BestNodeFact(
            node_id=best.node_id, free=best.free.frozen().as_dict(), short_of=name, device_free_milli=list(pieces)
        ),
        *_holders(ask.app, name, shape, nodes, funnel.nodes),
    ]
    said = phrase(
        "room.short",
        asked=say_shape(shape),
        in_use=_in_use(room, nodes),
        left=_what_is_left(room, reason, best, pieces),
    )
    ends = phrase("change.end_on_node") if len(nodes) == 1 else phrase("change.end_on_a_node")
    return Finding(reason, said, facts, [has_to("end_something", ends)])


_SHORT = frozenset((*SHORT_OF, Reason.INSUFFICIENT_OTHER))


def is_short(funnel: Funnel) -> bool:
    """True iff some node could take it and is too full: `no_room` says how."""
    return not _SHORT.isdisjoint(funnel.by_reason)


def _in_use(room: RoomFact, nodes: Sequence[Node]) -> Phrase:
    name, count = room.resource, len(nodes)
    where = phrase("room.only_node", node=nodes[0].node_id) if count == 1 else phrase("room.nodes", count=count)
    used = say_of(name, room.used, room.total, such=bool(room.gpu_model))
    return phrase("room.in_use", used=used, one=_is_one(name, room.used), where=where)


def _what_is_left(room: RoomFact, reason: Reason, best: Node, pieces: Sequence[int]) -> Phrase:
    """Where the free rest lies, and why it is not enough."""
    name, free, asked, nodes = room.resource, room.free, room.asked, room.nodes_with_some
    if not free:
        return phrase("room.none_free")
    if reason is Reason.GPU_FRAGMENTED:
        at_once = (
            phrase("room.largest", amount=say_number(name, max(pieces)))
            if asked <= WHOLE
            else phrase("room.whole_devices", amount=say_number(name, pieces.count(WHOLE) * WHOLE))
        )
        return phrase(
            "room.in_pieces",
            node=best.node_id,
            free=say_number(name, sum(pieces)),
            devices=sum(piece > 0 for piece in pieces),
            at_once=at_once,
        )
    largest = phrase("room.at_most", amount=say_number(name, room.largest_piece))
    said, one = say_number(name, free), _is_one(name, free)
    if free < asked:
        return phrase("room.free", free=said, one=one, largest=largest if nodes > 1 else "")
    if nodes > 1:
        even = room.largest_piece * nodes == free
        asks = say_number(name, asked)
        return phrase("room.spread", free=said, one=one, nodes=nodes, largest="" if even else largest, asked=asks)
    return phrase("room.elsewhere_short", free=said, one=one, node=best.node_id)


def _is_one(name: str, amount: int) -> int:
    """1 where the amount is spoken of as of one thing."""
    return int(name == MEMORY or amount == (WHOLE if name in (VCORES, GPUS) else 1))


def _room(name: str, shape: Shape, kinds: Sequence[tuple[Node, int]]) -> RoomFact:
    """``kinds``: nodes, each with how many there are like it."""
    frees = [(max(_free(node, name, shape), 0), count) for node, count in kinds]
    total = sum(_total(node, name, shape) * count for node, count in kinds)
    free = sum(amount * count for amount, count in frees)
    return RoomFact(
        resource=name,
        gpu_model=shape.gpu_model if name == GPUS else None,
        total=total,
        used=total - free,
        free=free,
        nodes_with_some=sum(count for amount, count in frees if amount > 0),
        nodes=sum(count for _, count in kinds),
        largest_piece=max(_piece(node, name, shape) for node, _ in kinds),
        asked=shape.resources.get(name),
    )


def _holders(app: App, name: str, shape: Shape, nodes: Sequence[Node], all_nodes: Sequence[Node]) -> list[HolderFact]:
    """Those who hold most of it on these nodes; of GPUs only such devices as would serve the shape."""
    held: dict[App, int] = {}
    if name == GPUS and shape.gpu_model is not None:
        for node in nodes:
            serving_ids = {node.devices[at].device_id for at in node.positions_of_model(shape.gpu_model)}
            for container in node.containers:
                if serving := len(serving_ids.intersection(container.device_ids)):
                    held[container.app] = held.get(container.app, 0) + serving * container.milli_per_device
    elif 2 * len(nodes) > len(all_nodes):
        # What somebody uses, without what lies on the few other nodes: not every container need be looked at.
        root, counted = app.queue.lineage[-1], set(nodes)
        held = {one: _amount(one.usage, name) for leaf in root.walk() for one in leaf.apps}
        _count(held, name, (node for node in all_nodes if node not in counted), -1)
    else:
        _count(held, name, nodes, 1)
    most = sorted((one for one in held if held[one]), key=lambda one: (-held[one], one.application_id.seq))
    return [
        HolderFact(
            application=str(one.application_id),
            user=one.user,
            queue=one.queue.path,
            resource=name,
            amount=held[one],
        )
        for one in most[:MAX_NAMES]
    ]


def _count(held: dict[App, int], name: str, nodes: Iterable[Node], times: int) -> None:
    for node in nodes:
        for container in node.containers:
            held[container.app] = held.get(container.app, 0) + times * _amount(container.shape, name)


def _amount(amounts: object, name: str) -> int:
    """Of `Amounts`, without making a value of them: this is asked of every container."""
    attribute = _ATTRIBUTES.get(name)
    if attribute is not None:
        return int(getattr(amounts, attribute))
    return int(amounts.other(name))  # type: ignore[attr-defined]


_ATTRIBUTES = {"memory_mib": "memory", "vcores_milli": "vcores", "gpus_milli": "gpus"}


def _short_other(shape: Shape, nodes: Sequence[Node]) -> str:
    return next(name for name, amount in (shape.others or {}).items() if amount > nodes[0].free.other(name))


def _free(node: Node, name: str, shape: Shape) -> int:
    """Free of the resource; of GPUs what counts for the model asked for."""
    return sum(node.pieces(shape)) if name == GPUS else _amount(node.free, name)


def _total(node: Node, name: str, shape: Shape) -> int:
    return len(node.pieces(shape)) * WHOLE if name == GPUS else _amount(node.total, name)


def _piece(node: Node, name: str, shape: Shape) -> int:
    """The most of it that one container can get here now."""
    if name != GPUS:
        return max(_amount(node.free, name), 0)
    return gpus_at_once(node.pieces(shape))


def gpus_at_once(pieces: Sequence[int]) -> int:
    """The most GPU milli that one container can get of these devices: all whole ones, else the largest piece."""
    return pieces.count(WHOLE) * WHOLE or max((*pieces, 0))


def gpu_use(alike: Mapping[Node, Sequence[Node]], app: App) -> list[GpuUse]:
    """Every model of the cluster, by name. ``alike``: nodes that do not differ, under the first of each kind."""
    sums: dict[str, list[int]] = {}
    for node, nodes in alike.items():
        if not node.devices:
            continue
        count = len(nodes)
        away = not node.schedulable or (node.reservation is not None and node.reservation.app is not app)
        for position, (model, free) in enumerate(zip(node.device_models, node.device_free, strict=True)):
            of_model = sums.setdefault(model, [0, 0, 0])
            kept = sum(hold.device_milli.get(position, 0) for hold in node.holds) if node.holds else 0
            left = max(free, 0) + kept
            of_model[0] += count
            of_model[1] += left * count
            of_model[2] += (left if away else kept) * count
    return [
        GpuUse(
            model=model,
            total_milli=devices * WHOLE,
            used_milli=devices * WHOLE - free,
            free_milli=free,
            unavailable_milli=unavailable,
        )
        for model, (devices, free, unavailable) in sorted(sums.items())
    ]


# ---- what would not fit an empty node


def too_large(shape: Shape, nodes: Sequence[Node]) -> Finding:
    """No node would hold it empty: names the one that comes nearest."""
    nearest = max(nodes, key=lambda node: (_part_there(node, shape), size(node.spec.total)))
    there = _size_for(nearest, shape)
    model = shape.gpu_model if shape.gpus else None
    has = say_resources(there, model) if model else say_resources(nearest.spec.total)
    most = shape.resources.smallest(there)
    return Finding(
        Reason.NEVER_FITS,
        phrase("room.never", asked=say_shape(shape), node=nearest.node_id, has=has),
        [
            LargestNodeFact(
                node_id=nearest.node_id,
                total=nearest.spec.total.as_dict(),
                asked=shape.resources.as_dict(),
                too_much=list(shape.resources.exceeding(there)),
            )
        ],
        [has_to("less", phrase("change.less", amount=say_resources(most, model)))],
    )


def _size_for(node: Node, shape: Shape) -> Resources:
    """Its size, with only those GPUs that may serve the shape."""
    return replace(node.spec.total, gpus_milli=len(node.pieces(shape)) * WHOLE)


def _part_there(node: Node, shape: Shape) -> float:
    """How much of the ask it has of what it has least of: 1 would be enough."""
    there = _size_for(node, shape)
    return min(there.get(name) / amount for name, amount in shape.resources.items() if amount)


def most_at_once(name: str, shape: Shape, nodes: Sequence[Node]) -> int:
    """The most of one resource that one container could get now on one of the nodes, the rest as asked for."""
    asked = shape.resources.get(name)
    # Who asks for several whole devices has no use for a part of one.
    least = WHOLE if name == GPUS and asked > WHOLE else 1
    best = 0
    with_rest: dict[int, Shape] = {}
    for node in nodes:
        piece = min(_piece(node, name, shape), asked)
        if piece > best and piece >= least:
            smaller = with_rest.get(piece)
            if smaller is None:
                rest = shape.resources - only(name, asked - piece)
                smaller = with_rest[piece] = Shape.make(rest, shape.gpu_model, shape.needs)
            if node.fits(smaller):
                best = piece
    return best


def only(name: str, amount: int) -> Resources:
    """A vector of one resource."""
    return Resources.of({name: amount})
