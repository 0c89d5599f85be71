"""Why is it waiting: for each reason one situation, its sentence, its numbers and its cure."""

from __future__ import annotations

import pytest

from hrm.core.events import BlacklistChanged, ContainerRecovered, NodeSchedulable
from hrm.core.reasons import Reason
from hrm.model.ids import ContainerId
from hrm.testing.builders import Scenario, amounts, queue, queues, request


def one_queue(**limits: object) -> Scenario:
    return Scenario(queues(queue("all", policy="drf", **limits), policy="drf"))  # type: ignore[arg-type]


def test_nothing_waits_when_all_of_it_runs() -> None:
    s = one_queue()
    s.add_node("n1")
    app = s.submit("all")
    s.ask(app, 2)
    s.settle()

    assert s.reason(app) == "nothing_pending"
    assert "holds 2 containers" in s.explain(app).message


def test_no_nodes() -> None:
    s = one_queue()
    app = s.submit("all")
    s.ask(app)

    assert s.reason(app) == "no_nodes"


def test_never_fits_names_the_largest_node_and_what_is_too_much() -> None:
    s = one_queue()
    s.add_node("small", cpus=2, memory="4G")
    s.add_node("large", cpus=8, memory="16G")
    app = s.submit("all")
    s.ask(app, 1, cpus=12, memory="1G")

    explanation = s.explain(app)

    assert explanation.reason == "never_fits"
    assert explanation.message == "asks for 12 vcores, 1G; the largest node, large, has 8 vcores, 16G"
    assert explanation.evidence[0]["too_much"] == ["vcores_milli"]
    assert explanation.remedies == ["ask for at most 8 vcores, 1G"]


def test_too_little_memory_now_says_how_much_there_is() -> None:
    s = one_queue()
    s.add_node("n1", cpus=8, memory="8G")
    s.add_node("n2", cpus=8, memory="8G")
    other, app = s.submit("all"), s.submit("all")
    s.ask(other, 2, memory="7G")
    s.visit("n1", "n2")
    s.ask(app, 1, memory="2G")
    s.settle()

    explanation = s.explain(app)

    assert explanation.reason == "insufficient_memory"
    assert explanation.message == (
        "waits for 1 vcore, 2G: 14G of 16G memory is in use on the 2 nodes that could hold it; the 2G free is on 2"
        " nodes, and it needs 2G on one; would start now with 1G per task"
    )
    assert "would start now with 1G per task" in explanation.remedies
    assert {"kind": "nodes", "reason": "insufficient_memory", "count": 2, "nodes": ["n1", "n2"]} in explanation.evidence


def test_too_few_vcores_now() -> None:
    s = one_queue()
    s.add_node("n1", cpus=2, memory="64G")
    other, app = s.submit("all"), s.submit("all")
    s.ask(other, 2)
    s.settle()
    s.ask(app)

    assert s.reason(app) == "insufficient_vcores"
    assert "2 of 2 vcores are in use on n1, the only node that could hold it; none is free" in s.explain(app).message


def test_too_few_gpus_now() -> None:
    s = one_queue()
    s.add_node("n1", gpus=2)
    other, app = s.submit("all"), s.submit("all")
    s.ask(other, 1, gpus=1)
    s.settle()
    s.ask(app, 1, gpus=2)

    assert s.reason(app) == "insufficient_gpus"
    assert "would start now with 1 GPU per task" in s.explain(app).remedies


def test_a_fragmented_gpu_names_the_largest_piece() -> None:
    s = one_queue()
    s.add_node("n1", gpus=2)
    other, app = s.submit("all"), s.submit("all")
    s.ask(other, 2, gpus=0.6)
    s.settle()
    s.ask(app, 1, gpus=0.7)
    s.settle()

    explanation = s.explain(app)

    assert explanation.reason == "gpu_fragmented"
    assert "n1 has 0.8 on 2 devices, at most 0.4 on one" in explanation.message
    assert "would start now with 0.4 GPUs per task" in explanation.remedies


def test_pieces_that_together_are_less_than_the_request_are_simply_too_few() -> None:
    s = one_queue()
    s.add_node("n1", gpus=4)
    other, app = s.submit("all"), s.submit("all")
    s.ask(other, 2, gpus=0.6)
    s.settle()
    s.ask(app, 1, gpus=3)

    # 2.8 are free, 2 of them on whole devices.
    assert s.reason(app) == "insufficient_gpus"


def test_too_few_whole_devices_say_how_many_there_are() -> None:
    s = one_queue()
    s.add_node("n1", gpus=4)
    other, app = s.submit("all"), s.submit("all")
    for seq, device in ((1, "n1/0"), (2, "n1/1")):
        s.handle(ContainerRecovered(ContainerId(other, 0, seq), "n1", amounts(1, "1G", gpus=0.4), (device,)))
    s.ask(app, 1, gpus=3)

    explanation = s.explain(app)

    assert explanation.reason == "gpu_fragmented"
    assert explanation.remedies[0] == "would start now with 2 GPUs per task"


def test_too_little_of_another_resource_now() -> None:
    s = one_queue()
    s.add_node("n1", others={"licences": 3})
    other, app = s.submit("all"), s.submit("all")
    s.ask(other, 1, others={"licences": 2})
    s.settle()
    s.ask(app, 1, others={"licences": 2})

    assert s.reason(app) == "insufficient_other"
    assert "1 is free" in s.explain(app).message


def test_an_unknown_gpu_model_lists_those_there_are() -> None:
    s = one_queue()
    s.add_node("n1", gpus=2, model="RTX 2080 Ti")
    s.add_node("n2", gpus=1, model="V100")
    app = s.submit("all")
    s.ask(app, 1, gpus=1, model="H100")

    explanation = s.explain(app)

    assert explanation.reason == "no_such_gpu_model"
    assert explanation.evidence[0]["models"] == {"RTX 2080 Ti": 2, "V100": 1}


def test_a_model_on_too_few_devices_never_fits() -> None:
    s = one_queue()
    s.add_node("n1", gpus=2, model="V100")
    s.add_node("n2", gpus=4, model="RTX 2080 Ti")
    app = s.submit("all")
    s.ask(app, 1, gpus=3, model="V100")

    explanation = s.explain(app)

    assert explanation.reason == "never_fits"
    assert explanation.evidence[0]["too_much"] == ["gpus_milli"]
    assert explanation.remedies == [
        "would start now with GPUs of any model",
        "ask for at most 1 vcore, 1G, 2 GPUs of model V100",
    ]


def test_a_place_that_is_not_in_the_cluster() -> None:
    s = one_queue()
    s.add_node("n1")
    app = s.submit("all")
    s.ask(app, 1, where="n7", relax=False)

    assert s.reason(app) == "place_not_found"
    assert "n7" in s.explain(app).message


def test_a_place_that_is_full_is_not_a_full_cluster() -> None:
    s = one_queue()
    s.add_node("n1", cpus=1, memory="1G")
    s.add_node("n2", cpus=8, memory="8G")
    other, app = s.submit("all"), s.submit("all")
    s.ask(other, 1, where="n1", relax=False)
    s.settle()
    s.ask(app, 1, where="n1", relax=False)
    s.settle()

    explanation = s.explain(app)

    assert explanation.reason == "insufficient_memory"
    assert {"kind": "nodes", "reason": "wrong_place", "count": 1, "nodes": ["n2"]} in explanation.evidence


@pytest.mark.parametrize("anywhere", [True, False])
def test_a_request_that_may_lie_nowhere_is_told_so_and_not_that_the_next_visit_places_it(anywhere: bool) -> None:
    s = one_queue()
    s.add_node("n1", rack="/r1")
    app = s.submit("all")
    s.request(app, request(1, where="/r1", relax=False), request(1, relax=anywhere))
    s.settle()

    explanation = s.explain(app)

    assert explanation.reason == "wrong_place"
    assert "may run nowhere: relax_locality is off for /r1" in explanation.message
    assert [one.remaining for one in explanation.conditions if one.code == "place"] == [0]
    assert explanation.changes[0].text == "would start now elsewhere, if the place were only a wish (relax_locality)"


def test_a_rack_that_is_closed_is_no_place_where_a_request_may_lie() -> None:
    s = one_queue()
    s.add_node("n1", rack="/r1")
    app = s.submit("all")
    s.request(app, request(1, where="n7"), request(1, where="/r1", relax=False), request(1, relax=False))
    s.settle()

    assert s.reason(app) == "place_not_found"
    assert "must run on n7, which is not in the cluster" in s.explain(app).message


def test_nodes_of_a_closed_rack_are_passed_over_where_another_rack_is_only_full() -> None:
    s = one_queue()
    s.add_node("n1", rack="/r1", cpus=4)
    s.add_node("n2", rack="/r2", cpus=1)
    app = s.submit("all")
    s.request(app, request(2, where="/r1", relax=False), request(2))
    s.settle()

    explanation = s.explain(app)

    assert explanation.reason == "insufficient_vcores"
    assert {"kind": "nodes", "reason": "wrong_place", "count": 1, "nodes": ["n1"]} in explanation.evidence


def test_blacklisted_nodes() -> None:
    s = one_queue()
    s.add_node("n1")
    app = s.submit("all")
    s.handle(BlacklistChanged(app.application, frozenset({"n1"})))
    s.ask(app)
    s.settle()

    assert s.reason(app) == "blacklisted"


def test_nodes_that_take_nothing() -> None:
    s = one_queue()
    s.add_node("n1")
    s.handle(NodeSchedulable("n1", False))
    app = s.submit("all")
    s.ask(app)

    assert s.reason(app) == "nodes_not_schedulable"


def test_a_queue_at_its_max_share_is_named_even_if_it_is_an_ancestor() -> None:
    s = Scenario(queues(queue("parent", queue("a"), queue("b"), max_share=amounts(2, "8G"))))
    s.add_node("n1")
    a, b = s.submit("parent.a"), s.submit("parent.b")
    s.ask(a, 2)
    s.settle()
    s.ask(b, 1)
    s.settle()

    explanation = s.explain(b)

    assert explanation.reason == "queue_max_share"
    assert explanation.message == ("queue parent uses 2 of 2 vcores of its max share; 1 vcore more would pass it")
    assert explanation.evidence[0]["queue"] == "parent"


def test_more_than_the_max_share_in_one_piece() -> None:
    s = one_queue(max_share=amounts(2, "2G"))
    s.add_node("n1")
    app = s.submit("all")
    s.ask(app, 1, cpus=4)

    assert s.reason(app) == "queue_max_share"
    assert "more than the max share" in s.explain(app).message


def test_the_limit_on_running_applications_says_who_is_ahead() -> None:
    s = one_queue(max_running_apps=1)
    first, second, third = (s.submit("all") for _ in range(3))
    s.ask(third)

    explanation = s.explain(third)

    assert explanation.reason == "queue_max_running_apps"
    assert explanation.message == "queue all runs 1 application and may run 1; 1 waits before this one"
    assert explanation.evidence[0]["running_applications"] == [str(first.application)]
    assert s.reason(second) == "queue_max_running_apps"


def test_room_that_is_promised_to_others_names_who_is_ahead() -> None:
    s = Scenario(queues(queue("a", weight=1), queue("b", weight=1)))
    s.add_node("n1", cpus=1, memory="1G")
    s.add_node("n2", cpus=1, memory="1G")
    a, b = s.submit("a"), s.submit("b")
    s.ask(a, 1)
    s.visit("n1")
    s.ask(a, 1)
    s.ask(b, 1)

    explanation = s.explain(a)

    assert explanation.reason == "behind_others"
    assert explanation.evidence[0]["name"] == "b"
    assert s.reason(b) == "not_yet_scheduled"


def test_behind_an_older_application_of_a_fifo_queue() -> None:
    s = Scenario(queues(queue("line", policy="fifo")))
    s.add_node("n1", cpus=1, memory="1G")
    first, second = s.submit("line"), s.submit("line")
    s.ask(first, 1)
    s.ask(second, 1)

    explanation = s.explain(second)

    assert explanation.reason == "behind_others"
    assert explanation.evidence[0]["name"] == str(first.application)


def test_the_worst_of_several_requests_is_the_one_explained() -> None:
    s = one_queue()
    s.add_node("n1", cpus=1, memory="1G")
    app = s.submit("all")
    s.ask(app, 3)
    s.ask(app, 1, memory="64G", priority=5)
    s.settle()

    assert s.reason(app) == "never_fits"


def test_explaining_changes_nothing() -> None:
    def outcome(explained: bool) -> list[object]:
        s = Scenario(queues(queue("a"), queue("b"), policy="drf"))
        s.add_node("n1", cpus=3, memory="3G")
        a, b = s.submit("a"), s.submit("b")
        s.ask(a, 5)
        s.ask(b, 5, memory="2G")
        if explained:
            s.explain(a)
            s.explain(b)
        return list(s.visit("n1"))

    assert outcome(explained=True) == outcome(explained=False)


def test_the_codes_kept_by_visits_tell_apart_the_common_reasons_without_a_dry_run() -> None:
    s = one_queue(max_share=amounts(2, "64G"))
    s.add_node("n1", cpus=8, memory="4G")
    at_max, short = s.submit("all"), s.submit("all")
    s.ask(short, 1, memory="8G")
    s.ask(at_max, 3)
    s.settle()

    def kept(app) -> Reason:  # type: ignore[no-untyped-def]
        view = s.scheduler.application_view(app.application)
        assert view is not None
        return view.reason

    assert kept(at_max) is Reason.QUEUE_MAX_SHARE
    assert str(kept(at_max)) == "queue_max_share"
    assert kept(short) is Reason.QUEUE_MAX_SHARE
    s.finish(*s.containers(at_max))
    s.ask(at_max, 0)
    s.settle()
    assert kept(short) is Reason.INSUFFICIENT_MEMORY


def test_every_reason_has_words() -> None:
    assert all(reason.sentence and str(reason) == reason.name.lower() for reason in Reason)
