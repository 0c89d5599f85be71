"""Facts behind an explanation (`hrm.model.evidence`) as phrases, for whoever shows them: `hrm explain` and the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hrm.model.ids import ContainerId, short_id
from hrm.model.phrases import Item, Phrase, Value, parts, phrase
from hrm.model.resources import GPUS, MEMORY, VCORES

#: Kinds that have a table or a sentence elsewhere.
SHOWN_OTHERWISE = frozenset({"nodes", "room", "holder", "application", "application_ahead", "queue_ahead"})

_BUILT_IN = (VCORES, MEMORY, GPUS)

Facts = Mapping[str, Any]


def phrase_of(fact: Facts) -> Phrase | None:
    """None for a kind that this program does not know: a newer server may tell it."""
    make = _MAKERS.get(str(fact.get("kind")))
    return None if make is None else make(fact)


def amounts_phrase(amounts: Mapping[str, int]) -> Phrase:
    """``2 vcores, 4G, 1 GPU``; what is none is left out."""
    names = [name for name in (*_BUILT_IN, *sorted(amounts.keys() - set(_BUILT_IN))) if amounts.get(name, 0) > 0]
    said: list[Item] = [
        phrase(f"amount.{name}", amount=amounts[name])
        if name in _BUILT_IN
        else phrase("amount.other", amount=amounts[name], name=name)
        for name in names
    ]
    return phrase("resources", amounts=said) if said else phrase("resources.none")


def _gpu_models(fact: Facts) -> Phrase:
    some: list[Item] = [phrase("fact.of_model", count=count, model=model) for model, count in fact["models"].items()]
    there = phrase("model.list", models=some) if some else phrase("fact.no_gpus")
    return phrase("fact.gpu_models", there=there, asked=fact["asked"])


def _places(fact: Facts) -> Phrase:
    return phrase("fact.places", places=fact["asked"])


def _largest_node(fact: Facts) -> Phrase:
    total, lacks = amounts_phrase(fact["total"]), _resources(fact["too_much"])
    return phrase("fact.largest_node", node=fact["node_id"], total=total, lacks=lacks)


def _queue_max_share(fact: Facts) -> Phrase:
    amounts = {name: amounts_phrase(fact[name]) for name in ("used", "max_share", "asked")}
    return phrase("fact.queue_max_share", queue=fact["queue"], over=_resources(fact["over"]), **amounts)


def _queue_am_share(fact: Facts) -> Phrase:
    amounts = {name: amounts_phrase(fact[name]) for name in ("used", "limit", "asked")}
    return phrase("am_share", queue=fact["queue"], **amounts)


def _running_in_queue(fact: Facts) -> Phrase:
    return phrase("fact.running_in_queue", queue=fact["queue"], apps=_applications(fact["running_applications"]))


def _running_of_user(fact: Facts) -> Phrase:
    apps = _applications(fact["running_applications"])
    return phrase("fact.running_of_user", user=fact["user"], queue=fact["queue"], apps=apps)


def _best_node(fact: Facts) -> Phrase:
    free, lacks = amounts_phrase(fact["free"]), _resources([fact["short_of"]])
    devices: list[Item] = [phrase("number.milli", amount=milli) for milli in fact["device_free_milli"]]
    if not devices or not any(fact["free"].values()):
        return phrase("fact.best_node", node=fact["node_id"], free=free, lacks=lacks)
    return phrase("fact.best_node_by_gpu", node=fact["node_id"], free=free, devices=devices, lacks=lacks)


def _preemption(fact: Facts) -> Phrase:
    said = []
    if fact["victims"]:
        victims = [ContainerId.parse(one) for one in fact["victims"]]
        named: list[Item] = [
            phrase("fact.victim", container=one.seq, app=one.attempt.application.seq) for one in victims
        ]
        said.append(
            phrase("fact.preemption", containers=named, count=len(named), node=fact["node_id"], kill_at=fact["kill_at"])
        )
    if not said or any(fact["kept"].values()):
        said.append(phrase("fact.kept_for_it", node=fact["node_id"], kept=amounts_phrase(fact["kept"])))
    return parts(said)


def _kept(fact: Facts) -> Phrase:
    kept = amounts_phrase(fact["kept"])
    return phrase("fact.kept", node=fact["node_id"], kept=kept, app=short_id(fact["application"]))


def _share(fact: Facts) -> Phrase:
    return phrase("fact.share", used=amounts_phrase(fact["used"]), share=amounts_phrase(fact["fair_share"]))


def _locality(fact: Facts) -> Phrase:
    levels = {"node": "locality.nodes", "rack": "locality.racks"}
    far = phrase(levels.get(fact["level"], "locality.anywhere"))
    return phrase("fact.locality", places=fact["asked"], far=far, missed=fact["missed"])


def _missing(fact: Facts) -> Phrase:
    more = fact["count"] - len(fact["nodes"])
    nodes = phrase("names.more", names=fact["nodes"], more=more) if more else phrase("names", names=fact["nodes"])
    return phrase("missing", need=fact["need"], nodes=nodes)


def _attribute(fact: Facts) -> Phrase:
    values: list[Item] = [
        phrase("attribute.have", count=count, what=what) if what else phrase("attribute.have_none", count=count)
        for what, count in fact["there"].items()
    ]
    there: Value = phrase("attribute.there", values=values) if values else ""
    more = fact["count"] - len(fact["nodes"])
    nodes = phrase("names.more", names=fact["nodes"], more=more) if more else phrase("names", names=fact["nodes"])
    return phrase("attribute.missing", condition=fact["need"], nodes=nodes, there=there)


def _reservation(fact: Facts) -> Phrase:
    waits_for = amounts_phrase(fact["waits_for"])
    return phrase("fact.reservation", node=fact["node_id"], app=short_id(fact["application"]), waits_for=waits_for)


def _warning(fact: Facts) -> Phrase:
    places: Value = phrase("fact.of_places", places=fact["places"]) if fact["places"] else ""
    return phrase("fact.warning", message=fact["message"], places=places)


def _group(fact: Facts) -> Phrase:
    return phrase("fact.group", group=fact["name"], groups=fact["waits_for"])


def _gang(fact: Facts) -> Phrase:
    most = fact["tasks_per_node"]
    said = [
        phrase(
            "fact.gang",
            size=fact["size"],
            at_most="" if most is None else phrase("fact.gang_at_most", count=most),
            fitting=fact["fitting"],
            when_empty=fact["fitting_when_empty"],
        )
    ]
    if fact["gathers_since"] is not None:
        said.append(phrase("fact.gathered", since=fact["gathers_since"], nodes=fact["gathered"]))
    if fact["gathers_before"] is not None:
        said.append(phrase("fact.gathers_before", app=short_id(fact["gathers_before"])))
    return parts(said)


def _drained(fact: Facts) -> Phrase:
    why: Value = phrase("fact.drained_why", reason=fact["reason"]) if fact["reason"] else ""
    return phrase("fact.drained", node=fact["node_id"], by=fact["by"], why=why)


def _gpu_out(fact: Facts) -> Phrase:
    return phrase("fact.gpu_out", node=fact["node_id"], device=fact["device_id"], reason=fact["reason"])


_MAKERS: dict[str, Callable[[Facts], Phrase]] = {
    "gpu_models": _gpu_models,
    "places": _places,
    "largest_node": _largest_node,
    "queue_max_share": _queue_max_share,
    "queue_am_share": _queue_am_share,
    "queue_max_running_apps": _running_in_queue,
    "user_max_running_apps": _running_of_user,
    "best_node": _best_node,
    "preemption": _preemption,
    "kept": _kept,
    "share": _share,
    "locality": _locality,
    "missing": _missing,
    "attribute": _attribute,
    "reservation": _reservation,
    "warning": _warning,
    "group": _group,
    "drained": _drained,
    "gpu_out": _gpu_out,
    "gang": _gang,
}


def _resources(names: Iterable[str]) -> list[Item]:
    return [phrase(f"resource.{name}") if name in _BUILT_IN else name for name in names]


def _applications(ids: Iterable[str]) -> Phrase:
    names: list[Item] = [short_id(one) for one in ids]
    return phrase("names", names=names) if names else phrase("number.none")
