"""The scheduler driven by a program, in memory: what the driver promises, and the example as it stands."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from hrm.core.commands import KillContainer, PreemptContainer
from hrm.core.driver import Driver
from hrm.core.events import NodeSchedulable
from hrm.model.errors import InvalidInput, NotFound
from hrm.model.ids import AttemptId
from hrm.testing.builders import amounts, node, queue, queues, request

HOUSE = Path(__file__).parents[3]
EXAMPLE = HOUSE / "examples" / "drive_the_core.py"


def small() -> tuple[Driver, AttemptId]:
    """A node of 4 and an application that asks for 6."""
    core = Driver(queues(queue("a", weight=3, fair_share_preemption_timeout_s=30), queue("b")), now=1000.0)
    core.join(node("n1", cpus=4, memory="4G"))
    app = core.submit("b")
    core.request(app, request(6))
    return core, app


def test_nothing_is_placed_before_a_node_is_updated() -> None:
    core, app = small()
    before = core.application(app).containers

    granted = core.update_node("n1")

    assert (before, len(granted)) == (0, 4)
    assert core.containers(app) == granted


def test_time_passes_only_as_told_and_never_backwards() -> None:
    core, _ = small()
    core.update_nodes()

    core.advance(2.5)

    assert core.now == 1002.5
    with pytest.raises(InvalidInput, match="backwards"):
        core.advance(-1)


def test_shares_usage_and_the_reason_can_be_read() -> None:
    core, app = small()
    core.update_nodes()
    core.submit("a")
    core.update_shares()

    assert (core.queue("root.b").used, core.queue("b").fair_share) == (amounts(4, "4G"), amounts(1, "1G"))
    assert core.application(app).pending == 2
    assert core.explain(app).reason == "insufficient_memory"


def test_an_end_frees_what_was_held() -> None:
    core, app = small()
    first, *_ = core.update_nodes()

    core.finish(first)
    core.end(app)

    assert core.granted == {}
    assert core.node("n1").containers == 0


def test_the_starved_get_their_share_by_warning_and_kill() -> None:
    core, greedy = small()
    core.update_nodes()
    starved = core.submit("a")
    core.request(starved, request(6))
    core.preempt()

    core.advance(30)
    warned = core.preempt()
    core.advance(15)
    killed = core.preempt()
    for command in killed:
        core.finish(command.container_id)
    core.update_nodes()

    assert {type(one) for one in warned} == {PreemptContainer}
    assert {type(one) for one in killed} == {KillContainer}
    assert {one.container_id for one in warned} == {one.container_id for one in killed}
    # Half of its fair share of 3, which is the threshold where none is set, lets it have one.
    assert (core.application(greedy).containers, core.application(starved).containers) == (3, 1)


def test_whatever_has_no_method_is_told_as_an_event() -> None:
    core, _ = small()

    core.handle(NodeSchedulable("n1", False))

    assert core.update_nodes() == []


def test_what_is_not_there_is_not_found() -> None:
    core, app = small()
    granted, *_ = core.update_nodes()
    core.end(app)

    for read in (
        lambda: core.queue("c"),
        lambda: core.node("n2"),
        lambda: core.application(app),
        lambda: core.container(granted.container_id),
        lambda: core.explain(app),
    ):
        with pytest.raises(NotFound):
            read()


def test_a_move_and_a_reload_that_a_limit_forbids_change_nothing() -> None:
    core, app = small()
    core.update_nodes()

    with pytest.raises(InvalidInput):
        core.reload(queues(queue("b", queue("below"))))
    core.reload(queues(queue("b"), queue("narrow", max_share=amounts(1, "1G"))))
    with pytest.raises(InvalidInput, match="max share"):
        core.move(app, "narrow")

    assert core.application(app).queue == "b"


def test_the_same_calls_give_the_same_answers() -> None:
    def told() -> list[object]:
        core, app = small()
        return [core.update_nodes(), core.preempt(), core.explain(app), core.queues(), core.nodes()]

    assert told() == told()


def test_the_example_starves_one_queue_and_gives_it_its_share(capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(EXAMPLE))["main"]

    assert main([]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert sum("warned until 45 s" in line for line in lines) == sum("killed" in line for line in lines) == 4
    assert "batch    runs 8" in lines[-3]
    assert "research runs 4, waits for 0" in lines[-1]


def test_the_program_of_the_page_runs_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    page = (HOUSE / "docs" / "core-api.md").read_text(encoding="utf-8")
    program = page.split("```python\n")[1].split("```")[0]

    exec(compile(program, "core-api.md", "exec"), {})  # noqa: S102

    assert capsys.readouterr().out.startswith("8 ")


def test_the_example_reads_a_file_of_ones_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "hrm.yaml"
    file.write_text("queues:\n  day:\n  night:\n    max_share: {cpus: 2, memory: 64G}\n", encoding="utf-8")

    assert runpy.run_path(str(EXAMPLE))["main"]([str(file), "night", "day"]) == 0

    assert "batch    runs 2" in capsys.readouterr().out.splitlines()[1]


def test_the_example_reads_yarns_xml_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "fair-scheduler.xml"
    file.write_text(
        '<allocations><queue name="day"/><queue name="night">'
        "<maxResources>vcores=3</maxResources></queue></allocations>",
        encoding="utf-8",
    )

    assert runpy.run_path(str(EXAMPLE))["main"]([str(file), "night", "day"]) == 0

    assert "batch    runs 3" in capsys.readouterr().out.splitlines()[1]
