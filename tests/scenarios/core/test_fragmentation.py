"""How fragmented a node is for the usual tasks, worked out by hand."""

from __future__ import annotations

import pytest

from hrm.core.applications import Shape
from hrm.core.fragmentation import Fragmentation, Lookahead, refill
from hrm.core.mix import WINDOW, Kind, TaskMix, Typical
from hrm.core.nodes import Node
from hrm.model.nodes import DeviceSpec, NodeSpec
from hrm.model.resources import Resources
from hrm.testing.builders import node

WHOLE_GPU = Kind(4000, 1000)
HALF_GPU = Kind(2000, 500)
NO_GPU = Kind(1000, 0)
#: Of four tasks two need a GPU, one half of one, and one none.
MIX = (Typical(WHOLE_GPU, 0.5), Typical(HALF_GPU, 0.25), Typical(NO_GPU, 0.25))


def place(on: Node, cpus: float, gpus: float) -> None:
    on.take(Shape.make(Resources.parse(cpus=cpus, gpus=gpus), None))


def test_of_an_idle_node_only_tasks_without_gpus_make_fragments() -> None:
    idle = Node(node("n1", cpus=8, gpus=2))

    # 2 GPUs are idle, which a quarter of the tasks has no use for.
    assert Fragmentation(MIX).of(idle) == pytest.approx(0.25 * 2000)


def test_what_is_left_of_a_device_is_a_fragment_for_tasks_that_need_more() -> None:
    one = Node(node("n1", cpus=8, gpus=2))
    place(one, cpus=2, gpus=0.5)

    # 0.5 and 1 are idle: half of the tasks cannot use the 0.5, a quarter nothing of the 1.5.
    assert Fragmentation(MIX).of(one) == pytest.approx(0.5 * 500 + 0.25 * 1500)


def test_without_vcores_for_a_task_all_that_is_idle_is_a_fragment() -> None:
    one = Node(node("n1", cpus=8, gpus=2))
    place(one, cpus=5, gpus=0)

    # 3 vcores are too few for those that need 4.
    assert Fragmentation(MIX).of(one) == pytest.approx(0.5 * 2000 + 0.25 * 2000)


def test_tasks_for_several_devices_use_wholly_free_ones_if_there_are_enough() -> None:
    pairs = Fragmentation([Typical(Kind(1000, 2000), 1.0)])
    one = Node(node("n1", gpus=3))

    assert pairs.of(one) == 0
    place(one, cpus=0, gpus=0.5)
    assert pairs.of(one) == 500
    place(one, cpus=0, gpus=1)
    # One whole device is left, and 0.5: no pair.
    assert pairs.of(one) == 1500


def test_devices_of_another_model_are_fragments() -> None:
    mixed = Node(
        NodeSpec(
            node_id="n1",
            total=Resources.parse(cpus=8, memory="8G", gpus=3),
            devices=tuple(
                DeviceSpec(device_id=f"d{i}", index=i, model=model) for i, model in enumerate(("A100", "T4", "T4"))
            ),
        )
    )
    picky = Fragmentation([Typical(Kind(1000, 1000, "a100*"), 0.5), Typical(Kind(1000, 2000, "t4"), 0.5)])

    assert picky.of(mixed) == pytest.approx(0.5 * 2000 + 0.5 * 1000)


def test_devices_with_more_on_them_than_they_have_count_as_full() -> None:
    over = Node(node("n1", gpus=2))
    over.device_free[0] = -500
    over.overcommitted = True

    assert Fragmentation(MIX).of(over) == pytest.approx(0.25 * 1000)


def test_typical_tasks_are_the_most_popular_up_to_95_percent() -> None:
    # 60 + 30 are 90 of 100, so the next is needed too; then the last is not.
    mix = TaskMix.of([WHOLE_GPU] * 60 + [HALF_GPU] * 30 + [NO_GPU] * 6 + [Kind(9000, 200)] * 4)

    assert mix.typical() == (
        Typical(WHOLE_GPU, 60 / 96),
        Typical(HALF_GPU, 30 / 96),
        Typical(NO_GPU, 6 / 96),
    )


def test_a_mix_is_worked_out_anew_when_a_quarter_more_was_seen() -> None:
    mix = TaskMix()
    epochs = []
    for _ in range(12):
        mix.see(HALF_GPU, 1)
        epochs.append(mix.epoch)

    assert epochs == [1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 7, 7]


def test_what_was_asked_for_long_ago_counts_less() -> None:
    mix = TaskMix()
    mix.see(WHOLE_GPU, WINDOW)
    mix.see(HALF_GPU, WINDOW // 2)

    # Halved when the window was full: 32768 of the old, 16384 of the new.
    assert [one.frequency for one in mix.typical()] == pytest.approx([2 / 3, 1 / 3])


def test_a_gap_is_worth_what_usual_tasks_can_fill_of_it() -> None:
    filled = refill([Typical(Kind(1000, 300), 0.4), Typical(Kind(1000, 700), 0.4), Typical(Kind(1000, 2000), 0.2)])

    assert [filled[left] for left in (299, 300, 650, 700, 950, 1000)] == [0, 300, 600, 700, 900, 1000]


def test_looking_ahead_a_whole_device_is_not_all_usable_by_a_task_that_leaves_a_gap() -> None:
    mix = [Typical(Kind(1000, 800), 1.0)]
    one = Node(node("n1", cpus=8, gpus=1))

    assert Fragmentation(mix).of(one) == 0
    assert Lookahead(mix).of(one) == pytest.approx(200)


def test_looking_ahead_vcores_must_suffice_for_all_that_is_idle() -> None:
    mix = [Typical(Kind(4000, 1000), 1.0)]
    one = Node(node("n1", cpus=4, gpus=4))

    # One task fits, so nothing is a fragment; but the vcores are for a quarter of the GPUs, which a tenth depends on.
    assert Fragmentation(mix).of(one) == 0
    assert Lookahead(mix).of(one) == pytest.approx(0.1 * 0.75 * 4000)


def test_looking_ahead_tasks_for_several_devices_use_multiples() -> None:
    mix = [Typical(Kind(0, 2000), 1.0)]
    three = Node(node("n1", gpus=3))

    assert Fragmentation(mix).of(three) == 0
    assert Lookahead(mix).of(three) == 1000
