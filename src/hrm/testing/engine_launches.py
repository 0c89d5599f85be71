"""What every engine must do with containers whose program is started anew in place; a part of the conformance suite."""

from __future__ import annotations

import os
from collections.abc import Sequence

from hrm.engines.base import Engine
from hrm.model.containers import ExitReason, LaunchSpec, StartRecord
from hrm.model.errors import Conflict, NotFound
from hrm.model.launch_contexts import LaunchContext, LocalResource
from hrm.model.relaunching import LocalizationState, Relaunch, RelaunchKind
from hrm.model.retrying import RetryPolicy
from hrm.testing.conditions import eventually_async
from hrm.testing.engine_harness import EngineCheck, EngineHarness, EngineMaker, raises, started

READY = "sh", "-c", "echo first; sleep 1000"


class Launched:
    """A container that may be run anew, and short words for what checks do with it."""

    def __init__(self, run: EngineHarness, spec: LaunchSpec) -> None:
        self._run = run
        self.spec = spec
        self.container_id = spec.container_id
        run.engine.launch(run.node_id, [spec])

    @property
    def starts(self) -> Sequence[StartRecord]:
        return [one for one in self._run.heard.starts if one.container_id == self.container_id]

    async def runs(self, launch: int) -> StartRecord:
        """As soon as that launch of it is told."""

        def found() -> list[StartRecord]:
            return [one for one in self.starts if one.launch == launch]

        records: list[StartRecord] = await eventually_async(found, describe=f"launch {launch} of it is told")
        return records[0]

    async def order(self, kind: RelaunchKind, *command: str, **fields: object) -> None:
        spec = None
        if command:
            spec = self._run.spec(*command, container_id=self.container_id, restartable=True)
        order = Relaunch(kind=kind, spec=spec, **{"grace_s": 0.0, **fields})  # type: ignore[arg-type]
        await self._run.engine.relaunch(self._run.node_id, self.container_id, order)


def launched(run: EngineHarness, *command: str, **fields: object) -> Launched:
    return Launched(run, run.spec(*(command or READY), **{"restartable": True, **fields}))


async def check_a_restart_runs_the_same_anew_in_the_same_log(maker: EngineMaker) -> None:
    async with started(maker("restarts")) as run:
        one = launched(run)
        first = await one.runs(1)
        await run.printed(one.container_id, "first\n")
        await one.order(RelaunchKind.RESTART)
        second = await one.runs(2)
        assert second.pid != first.pid
        assert second.started_at == first.started_at
        assert await run.printed(one.container_id, "first\nfirst\n") == "first\nfirst\n"
        assert not run.heard.ends
        run.stop(one.container_id, grace_s=0)
        assert (await run.ended(one.container_id)).reason is ExitReason.STOPPED


async def check_what_is_replaced_can_be_rolled_back_until_it_is_committed(maker: EngineMaker) -> None:
    async with started(maker("replaces")) as run:
        one = launched(run)
        await run.printed(one.container_id, "first\n")
        await raises(Conflict, one.order(RelaunchKind.ROLL_BACK))
        await raises(Conflict, one.order(RelaunchKind.COMMIT))
        await one.order(RelaunchKind.REPLACE, "sh", "-c", "echo second; sleep 1000", auto_commit=False)
        await run.printed(one.container_id, "first\nsecond\n")
        await one.order(RelaunchKind.ROLL_BACK)
        await run.printed(one.container_id, "first\nsecond\nfirst\n")
        await raises(Conflict, one.order(RelaunchKind.ROLL_BACK))
        await one.order(RelaunchKind.REPLACE, "sh", "-c", "echo third; sleep 1000", auto_commit=False)
        await run.printed(one.container_id, "third\n")
        assert (await run.engine.launch_state(run.node_id, one.container_id)).can_roll_back
        await one.order(RelaunchKind.COMMIT)
        await raises(Conflict, one.order(RelaunchKind.ROLL_BACK))
        state = await run.engine.launch_state(run.node_id, one.container_id)
        assert (state.launch, state.can_roll_back) == (4, False)
        run.stop(one.container_id, grace_s=0)
        await run.ended(one.container_id)


async def check_a_replacement_that_fails_is_followed_by_what_ran_before(maker: EngineMaker) -> None:
    async with started(maker("rolled-back")) as run:
        one = launched(run)
        await run.printed(one.container_id, "first\n")
        await one.order(RelaunchKind.REPLACE, "sh", "-c", "echo second; exit 3", auto_commit=False)
        await run.printed(one.container_id, "first\nsecond\nfirst\n")
        assert "exit code 3" in (await one.runs(3)).message
        await one.order(RelaunchKind.REPLACE, "sh", "-c", "echo fourth; exit 4")
        assert (await run.ended(one.container_id)).exit_code == 4


async def check_a_program_that_fails_is_retried_as_often_as_its_policy_says(maker: EngineMaker) -> None:
    async with started(maker("retries")) as run:
        policy = RetryPolicy(exit_codes=frozenset({3}), max_retries=1, interval_s=0.0)
        one = launched(run, "sh", "-c", "echo once; exit 3", retry=policy)
        record = await run.ended(one.container_id)
        assert (record.reason, record.exit_code) == (ExitReason.EXITED, 3)
        assert [start.launch for start in one.starts] == [1, 2]
        assert await run.log(one.container_id) == "once\nonce\n"
        other = launched(run, "sh", "-c", "exit 4", retry=policy)
        assert (await run.ended(other.container_id)).exit_code == 4
        assert [start.launch for start in other.starts] == [1]


async def check_who_waits_for_its_next_launch_can_be_stopped(maker: EngineMaker) -> None:
    async with started(maker("waits")) as run:
        one = launched(run, "sh", "-c", "exit 3", retry=RetryPolicy(interval_s=1000.0))

        async def waits() -> bool:
            try:
                return (await run.engine.launch_state(run.node_id, one.container_id)).phase == "waits"
            except NotFound:
                return False

        await eventually_async(waits, describe="it waits")
        await raises(Conflict, one.order(RelaunchKind.RESTART))
        run.stop(one.container_id)
        assert (await run.ended(one.container_id)).reason is ExitReason.STOPPED


async def check_an_order_that_is_repeated_is_carried_out_once(maker: EngineMaker) -> None:
    async with started(maker("repeated")) as run:
        one = launched(run)
        await run.printed(one.container_id, "first\n")
        for _ in range(2):
            await one.order(RelaunchKind.RESTART, key="the same")
        await one.runs(2)
        await one.order(RelaunchKind.RESTART, key="the same")
        await one.order(RelaunchKind.RESTART, key="another")
        await one.runs(3)
        assert [start.launch for start in one.starts] == [1, 2, 3]
        run.stop(one.container_id, grace_s=0)
        await run.ended(one.container_id)


async def check_what_was_asked_for_is_done_though_the_server_ends(maker: EngineMaker) -> None:
    state = "asked-before"
    engine: Engine = maker(state)
    async with started(engine) as run:
        one = launched(run, "sh", "-c", "trap '' TERM; echo first; sleep 1000")
        await run.printed(one.container_id, "first\n")
        await one.order(RelaunchKind.REPLACE, "sh", "-c", "echo second; sleep 1000", grace_s=0.5)
    async with started(maker(state)) as run:
        assert await run.printed(one.container_id, "second\n") == "first\nsecond\n"

        async def second() -> bool:
            return (await run.engine.launch_state(run.node_id, one.container_id)).launch == 2

        await eventually_async(second, describe="its second launch runs")
        run.stop(one.container_id, grace_s=0)
        assert (await run.ended(one.container_id)).reason is ExitReason.STOPPED


async def check_files_are_brought_into_a_container_that_runs(maker: EngineMaker) -> None:
    async with started(maker("localizes")) as run:
        one = launched(run)
        await run.printed(one.container_id, "first\n")
        context = LaunchContext(
            commands=("true",),
            local_resources={
                "there": LocalResource(url="file:///etc/hostname", timestamp_ms=_time_of("/etc/hostname")),
                "missing": LocalResource(url="file:///no/such/file", timestamp_ms=1),
            },
        )
        spec = run.spec(*context.command, container_id=one.container_id, env=context.variables())
        await run.engine.localize(run.node_id, spec)

        async def over() -> dict[str, tuple[LocalizationState, bool]]:
            state = await run.engine.launch_state(run.node_id, one.container_id)
            found = {file.link: (file.state, bool(file.message)) for file in state.localizations}
            return {} if any(state is LocalizationState.PENDING for state, _ in found.values()) else found

        assert await eventually_async(over, describe="nothing is pending") == {
            "there": (LocalizationState.COMPLETED, False),
            "missing": (LocalizationState.FAILED, True),
        }
        run.stop(one.container_id, grace_s=0)
        await run.ended(one.container_id)


async def check_what_does_not_run_cannot_be_run_anew(maker: EngineMaker) -> None:
    async with started(maker("runs-not")) as run:
        one = launched(run, "true")
        await run.ended(one.container_id)
        await raises(NotFound, one.order(RelaunchKind.RESTART))
        await raises(NotFound, run.engine.launch_state(run.node_id, one.container_id))
        plain = launched(run, restartable=False)
        await run.printed(plain.container_id, "first\n")
        await raises(Conflict, plain.order(RelaunchKind.RESTART))
        await plain.order(RelaunchKind.REPLACE, "sh", "-c", "echo second; exit 5", auto_commit=False)
        assert (await run.ended(plain.container_id)).exit_code == 5
        assert await run.log(plain.container_id) == "first\nsecond\n"


def _time_of(path: str) -> int:
    return os.stat(path).st_mtime_ns // 1_000_000


LAUNCH_CHECKS: tuple[EngineCheck, ...] = (
    check_a_restart_runs_the_same_anew_in_the_same_log,
    check_what_is_replaced_can_be_rolled_back_until_it_is_committed,
    check_a_replacement_that_fails_is_followed_by_what_ran_before,
    check_a_program_that_fails_is_retried_as_often_as_its_policy_says,
    check_who_waits_for_its_next_launch_can_be_stopped,
    check_an_order_that_is_repeated_is_carried_out_once,
    check_what_was_asked_for_is_done_though_the_server_ends,
    check_files_are_brought_into_a_container_that_runs,
    check_what_does_not_run_cannot_be_run_anew,
)
