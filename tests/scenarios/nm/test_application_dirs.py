"""What the containers of one application share on a node: there for as long as the application is, and for it alone."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.cleaning import CleanPolicy
from hrm.model.isolation import IsolationMode, IsolationSettings
from hrm.model.launch_contexts import LaunchContext
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.nm import application_dirs
from hrm.nm.shepherd import records
from hrm.testing import EngineHarness, eventually_async, started

NODE = NodeSpec(node_id="node1", total=Resources(4096, 4000))
#: As the containers' ids say.
APPLICATION, ANOTHER = f"application_{os.getpid()}_0001", f"application_{os.getpid()}_0002"
ALL = CleanPolicy(scratch_age_s=0.0)


def launch(run: EngineHarness, script: str, **fields: object) -> str:
    context = LaunchContext(commands=(script,))
    return run.launch(*context.command, env=context.variables(), **{"application_id": APPLICATION, **fields})


async def says(run: EngineHarness, script: str, **fields: object) -> str:
    container_id = launch(run, script, **fields)
    record = await run.ended(container_id)
    return await run.log(container_id) or record.detail


async def end(run: EngineHarness, folder: Path) -> None:
    run.engine.end_applications(run.node_id, [APPLICATION])
    await eventually_async(lambda: not folder.exists(), describe=f"{folder} is gone")


async def test_what_one_container_leaves_the_next_one_finds_until_the_application_ends(
    engine: EmbeddedEngine, state_dir: Path
) -> None:
    folder = state_dir / records.APPLICATIONS / APPLICATION
    async with started(engine) as run:
        assert await says(run, "echo kept > $LOCAL_DIRS/file; echo $LOCAL_DIRS") == f"{folder}\n"
        assert await says(run, "cat $LOCAL_DIRS/file; test $LOCAL_DIRS != $PWD && echo apart") == "kept\napart\n"
        await end(run, folder)


async def test_an_application_that_is_over_keeps_it_while_one_of_its_containers_still_ends(
    engine: EmbeddedEngine, state_dir: Path
) -> None:
    folder = state_dir / records.APPLICATIONS / APPLICATION
    async with started(engine) as run:
        container_id = launch(run, "echo runs; sleep 1000")
        await run.printed(container_id, "runs")
        run.engine.end_applications(run.node_id, [APPLICATION])
        # What is asked for after it has been done.
        await run.ended(run.launch("true"))
        assert folder.is_dir()
        run.stop(container_id, grace_s=0)
        await eventually_async(lambda: not folder.exists(), describe="it went with the container")


async def test_what_was_left_goes_when_it_is_said_which_applications_live(
    engine: EmbeddedEngine, successor: EmbeddedEngine, state_dir: Path
) -> None:
    folder = state_dir / records.APPLICATIONS
    async with started(engine) as run:
        for application_id in (APPLICATION, ANOTHER):
            await says(run, "touch $LOCAL_DIRS/file", application_id=application_id)
    async with started(successor) as run:
        await run.engine.clean(run.node_id, ALL, spare=[ANOTHER], dry_run=True, budget_s=30.0)
        assert set(os.listdir(folder)) == {APPLICATION, ANOTHER}
        await run.engine.clean(run.node_id, ALL, spare=[ANOTHER], dry_run=False, budget_s=30.0)
        assert os.listdir(folder) == [ANOTHER]


async def test_of_a_live_application_nothing_goes_that_has_just_begun_here(
    engine: EmbeddedEngine, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started(engine) as run:
        await says(run, "true")
        await run.engine.clean(run.node_id, ALL, spare=[], dry_run=False, budget_s=30.0)
        assert (state_dir / records.APPLICATIONS / APPLICATION).is_dir()
        monkeypatch.setattr(application_dirs, "FRESH_S", -1.0)
        container_id = launch(run, "echo runs; sleep 1000")
        await run.printed(container_id, "runs")
        await run.engine.clean(run.node_id, ALL, spare=[], dry_run=False, budget_s=30.0)
        assert (state_dir / records.APPLICATIONS / APPLICATION).is_dir()


async def test_one_that_shares_more_than_it_may_is_ended(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hrm.nm.usage._QUOTA_WALK_S", 0.05)
    settings = IsolationSettings(disk_quota_mib=2)
    engine = EmbeddedEngine(NODE, state_dir, heartbeat_interval_s=0.05, isolation=settings)
    async with started(engine) as run:
        container_id = launch(run, "head -c 8M /dev/zero > $LOCAL_DIRS/file; sleep 1000")
        record = await run.ended(container_id)
        assert record.detail.startswith("disk quota exceeded")


@pytest.fixture
async def run_of_root(public_dir: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EngineHarness]:
    # A Python that every user can run: that of the tests may lie in somebody's home.
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    settings = IsolationSettings(mode=IsolationMode.NONE)
    async with started(EmbeddedEngine(NODE, public_dir / "node", isolation=settings)) as harness:
        yield harness


@pytest.mark.root
async def test_it_is_its_users_and_others_cannot_look_in(run_of_root: EngineHarness, public_dir: Path) -> None:
    folder = public_dir / "node" / records.APPLICATIONS / APPLICATION
    said = await says(run_of_root, "touch $LOCAL_DIRS/file; stat -c '%U %a' $LOCAL_DIRS", user="nobody")
    assert said == "nobody 700\n"
    looked = await says(
        run_of_root, f"ls {folder} || ls {folder.parent} || echo refused", user="daemon", application_id=ANOTHER
    )
    assert looked == "refused\n"


@pytest.mark.root
async def test_a_directory_of_which_a_crash_left_only_the_name_gets_its_user(
    run_of_root: EngineHarness, public_dir: Path
) -> None:
    folder = public_dir / "node" / records.APPLICATIONS / APPLICATION
    folder.mkdir(parents=True, mode=0o700)
    assert await says(run_of_root, "touch $LOCAL_DIRS/file && echo written", user="nobody") == "written\n"
    assert folder.stat().st_uid == pwd.getpwnam("nobody").pw_uid
