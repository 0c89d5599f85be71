"""Vectors of resources as people write and read them."""

from __future__ import annotations

import pytest

from hrm.model.errors import InvalidInput
from hrm.model.resources import ZERO, Resources
from hrm.model.units import LARGEST


def test_human_forms_become_exact_integers() -> None:
    asked = Resources.parse(cpus="0.5", memory="4G", gpus=2, others={"fpga": 1})
    assert asked == Resources(memory_mib=4096, vcores_milli=500, gpus_milli=2000, others=(("fpga", 1),))
    assert str(asked) == "0.5 vcores, 4G, 2 GPUs, 1 fpga"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"memory": "lots"}, "memory"),
        ({"memory": "-1G"}, "memory"),
        ({"cpus": "two"}, "cpus"),
        ({"cpus": -1}, "cpus"),
        ({"gpus": 1.5}, "gpus"),
        ({"gpus": "0.0001"}, "gpus"),
        ({"others": {"fpga": 0.5}}, "fpga"),
        ({"others": {"fpga": True}}, "fpga"),
        ({"others": {"fpga": LARGEST + 1}}, "fpga"),
    ],
)
def test_a_wrong_amount_is_refused_with_its_field(asked: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        Resources.parse(**asked)  # type: ignore[arg-type]
    assert refusal.value.field == field


@pytest.mark.parametrize("gpus", [0.25, 1, 2, 8])
def test_gpus_are_a_part_of_one_or_whole_ones(gpus: float) -> None:
    assert Resources.parse(gpus=gpus).gpus_milli == gpus * 1000


def test_a_fraction_spanning_two_gpus_is_refused_with_what_to_ask_instead() -> None:
    with pytest.raises(InvalidInput, match=r"^gpus: a fraction of a GPU lies on one device") as refusal:
        Resources.parse(gpus=1.5)
    assert "at most 1, or" in refusal.value.next_step


def test_zero_amounts_of_other_resources_leave_no_trace() -> None:
    assert Resources.of({"fpga": 0, "memory_mib": 0}) == ZERO
    assert Resources(others=(("fpga", 1),)) - Resources(others=(("fpga", 1),)) == ZERO


def test_an_absent_resource_is_zero() -> None:
    assert Resources(memory_mib=1).get("fpga") == 0
    assert Resources(memory_mib=1).names() == ("memory_mib", "vcores_milli", "gpus_milli")


def test_all_that_does_not_fit_is_named_in_the_usual_order() -> None:
    asked = Resources(memory_mib=2048, vcores_milli=4000, gpus_milli=1000, others=(("fpga", 1),))
    room = Resources(memory_mib=1024, vcores_milli=8000)
    assert asked.exceeding(room) == ("memory_mib", "gpus_milli", "fpga")
    assert not asked.fits_in(room)


def test_nothing_fits_where_a_resource_is_overdrawn() -> None:
    overdrawn = Resources(memory_mib=4096, vcores_milli=4000, others=(("fpga", -1),))
    assert not Resources(memory_mib=1).fits_in(overdrawn)
    assert Resources(memory_mib=1).exceeding(overdrawn) == ("fpga",)


def test_a_third_of_a_core_is_taken_and_given_back_without_a_remainder() -> None:
    third, room = Resources(vcores_milli=333), Resources(vcores_milli=4000)
    for _ in range(12):
        room -= third
    assert room == Resources(vcores_milli=4)
    for _ in range(12):
        room += third
    assert room == Resources(vcores_milli=4000)


def test_dominant_shares_of_the_drf_paper_s_example() -> None:
    # Ghodsi et al., NSDI'11, section 4.1: 9 CPUs and 18 GB; A runs 3 tasks of <1, 4>, B 2 tasks of <3, 1>.
    total = Resources.parse(cpus=9, memory="18G")
    a = Resources.parse(cpus=1, memory="4G") * 3
    b = Resources.parse(cpus=3, memory="1G") * 2
    assert a.dominant_share(total) == pytest.approx(2 / 3)
    assert b.dominant_share(total) == pytest.approx(2 / 3)


def test_a_resource_the_cluster_lacks_dominates_everything_where_it_is_used() -> None:
    assert Resources(gpus_milli=1).dominant_share(Resources(memory_mib=1024)) == float("inf")
    assert ZERO.dominant_share(ZERO) == 0
