"""Facts behind an explanation, each as a sentence (`hrm.model.evidence` has the kinds)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hrm.cli.output import show_amounts, show_time
from hrm.model.ids import ContainerId, short_id
from hrm.model.resources import GPUS, MEMORY, VCORES
from hrm.model.units import format_milli

#: What people call the resources of `hrm.model.resources` in tables.
UNITS = {MEMORY: "memory", VCORES: "cpu", GPUS: "gpu"}

Facts = Mapping[str, Any]


def say_fact(fact: Facts) -> str:
    """One fact. What a newer server may tell, and this program does not know, is shown field by field."""
    say = _SENTENCES.get(str(fact.get("kind")))
    if say is not None:
        return say(fact)
    said = [f"{_words(key)} {_show(value)}" for key, value in fact.items() if key != "kind"]
    return f"{_words(str(fact.get('kind', 'fact')))}: {'; '.join(said)}"


def _gpu_models(fact: Facts) -> str:
    there = ", ".join(f"{count} of model {model}" for model, count in fact["models"].items()) or "no GPUs"
    return f"the cluster has {there}, and none of model {fact['asked']}"


def _places(fact: Facts) -> str:
    return f"places that it names: {', '.join(fact['asked'])}"


def _largest_node(fact: Facts) -> str:
    too_much = _resources(fact["too_much"])
    return f"{fact['node_id']}, the node nearest to it, has {show_amounts(fact['total'])}: too little {too_much}"


def _queue_max_share(fact: Facts) -> str:
    return (
        f"queue {fact['queue']} uses {show_amounts(fact['used'])} and may use {show_amounts(fact['max_share'])};"
        f" with {show_amounts(fact['asked'])} more that would be too much {_resources(fact['over'])}"
    )


def _queue_am_share(fact: Facts) -> str:
    return (
        f"masters in queue {fact['queue']} use {show_amounts(fact['used'])} and may use {show_amounts(fact['limit'])};"
        f" this one asks for {show_amounts(fact['asked'])}"
    )


def _running_in_queue(fact: Facts) -> str:
    return f"running in queue {fact['queue']}: {_applications(fact['running_applications'])}"


def _running_of_user(fact: Facts) -> str:
    return f"running for {fact['user']} in queue {fact['queue']}: {_applications(fact['running_applications'])}"


def _best_node(fact: Facts) -> str:
    devices = fact["device_free_milli"]
    by_device = f" (by GPU: {', '.join(map(format_milli, devices))})" if devices else ""
    free = {name: amount for name, amount in fact["free"].items() if amount > 0}
    has = f"{show_amounts(free)} free{by_device}" if free else "nothing free"
    return f"{fact['node_id']} comes nearest: it has {has}, too little {_resources([fact['short_of']])}"


def _preemption(fact: Facts) -> str:
    victims = [ContainerId.parse(one) for one in fact["victims"]]
    kept = f"on {fact['node_id']} {show_amounts(fact['kept'])} is kept for it" if any(fact["kept"].values()) else ""
    if not victims:
        return kept
    named = ", ".join(f"{one.seq} (of application {one.attempt.application.seq})" for one in victims)
    noun, verb = ("container", "is") if len(victims) == 1 else ("containers", "are")
    ends = f"{noun} {named} on {fact['node_id']} {verb} to end for it, by {show_time(fact['kill_at'])} at the latest"
    return f"{ends}; {kept}" if kept else ends


def _kept(fact: Facts) -> str:
    return f"on {fact['node_id']} {show_amounts(fact['kept'])} is kept for application {short_id(fact['application'])}"


def _share(fact: Facts) -> str:
    used = show_amounts(fact["used"])
    return f"it has {'nothing' if used == '-' else used} of its fair share of {show_amounts(fact['fair_share'])}"


def _locality(fact: Facts) -> str:
    missed = fact["missed"]
    far = {"node": "its nodes", "rack": "its nodes and racks"}.get(fact["level"], "any node")
    passed = f"{missed} {'opportunity' if missed == 1 else 'opportunities'}"
    return f"it would like {', '.join(fact['asked'])}; for now {far} will do, and it has let {passed} pass"


def _missing(fact: Facts) -> str:
    more = fact["count"] - len(fact["nodes"])
    return f"{fact['need']} is missing on {', '.join(fact['nodes'])}" + (f" and {more} more" if more else "")


def _reservation(fact: Facts) -> str:
    whom = short_id(fact["application"])
    return f"{fact['node_id']} is reserved for application {whom}, which waits for {show_amounts(fact['waits_for'])}"


def _warning(fact: Facts) -> str:
    places = f" ({', '.join(fact['places'])})" if fact["places"] else ""
    return f"warning: {fact['message']}{places}"


def _group(fact: Facts) -> str:
    return f"group {fact['name']} begins when all tasks of {', '.join(fact['waits_for'])} have succeeded"


def _gang(fact: Facts) -> str:
    at_most = "" if fact["tasks_per_node"] is None else f" with at most {fact['tasks_per_node']} on a node"
    words = (
        f"of {fact['size']} containers at once{at_most} {fact['fitting']} fit now, and"
        f" {fact['fitting_when_empty']} would if nothing ran"
    )
    if fact["gathers_since"] is not None:
        words += f"; since {show_time(fact['gathers_since'])} {', '.join(fact['gathered'])} take nothing else"
    if fact["gathers_before"] is not None:
        words += f"; application {short_id(fact['gathers_before'])} gathers nodes before it"
    return words


_SENTENCES: dict[str, Callable[[Facts], str]] = {
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
    "reservation": _reservation,
    "warning": _warning,
    "group": _group,
    "gang": _gang,
}


def _resources(names: Iterable[str]) -> str:
    return " and ".join(UNITS.get(name, name) for name in names)


def _applications(ids: Iterable[str]) -> str:
    return ", ".join(map(short_id, ids)) or "none"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _show(value: Any) -> str:
    if isinstance(value, dict):
        amounts = all(isinstance(amount, int) for amount in value.values())
        return show_amounts(value) if amounts else " ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, list):
        return ",".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
