"""Submitting as YARN's clients do: under an id that was asked for, once, and only what can run."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.model.placement import PlacementPolicy
from hrm.model.yarn import YarnApplication
from hrm.testing.builders import node
from hrm.testing.lives import Lives
from hrm.yarn.errors import (
    AccessDenied,
    ApplicationIdNotProvided,
    FeatureNotEnabled,
    IllegalArgument,
    InvalidLabelResourceRequest,
    InvalidResourceRequest,
    YarnError,
)
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from tests.scenarios.yarn.client_door import Door, submission


async def test_a_new_application_is_told_the_largest_container(door: Door) -> None:
    response = await door.call("getNewApplication", service.GetNewApplicationRequestProto())
    maximum = response.maximumCapability
    assert (maximum.memory, maximum.virtual_cores) == (8192, 4)
    assert {entry.key: (entry.value, entry.units) for entry in maximum.resource_value_map} == {
        "memory-mb": (8192, "Mi"), "vcores": (4, ""), "yarn.io/gpu": (0, ""),
    }  # fmt: skip


async def test_what_is_submitted_gets_a_container_and_waits_for_its_master(door: Door) -> None:
    app = await door.submit()
    report = await door.report(app)
    assert (report.name, report.user, report.applicationType) == ("pi", "ada", "SPARK")
    assert report.yarn_application_state == records.ACCEPTED
    assert report.app_resource_Usage.used_resources.memory == 1024
    assert len(door.life.engine.launches) == 1


async def test_all_that_a_submission_says_is_kept(door: Door) -> None:
    app = await door.submit(
        queue="root.research",
        priority=records.PriorityProto(priority=7),
        maxAppAttempts=1,
        keep_containers_across_application_attempts=True,
        attempt_failures_validity_interval=60_000,
        applicationTags=["Nightly", "nightly", "etl"],
        application_timeouts=[
            records.ApplicationTimeoutMapProto(application_timeout_type=records.APP_TIMEOUT_LIFETIME, timeout=90)
        ],
        am_container_spec=records.ContainerLaunchContextProto(
            application_ACLs=[
                records.ApplicationACLMapProto(accessType=records.APPACCESS_VIEW_APP, acl="bob staff"),
                records.ApplicationACLMapProto(accessType=records.APPACCESS_MODIFY_APP, acl="cy"),
            ]
        ),
    )
    job = await door.life.service.job(app)
    assert (job.queue, job.priority) == ("research", 7)
    assert job.master is not None
    assert (job.master.max_attempts, job.master.keep_containers, job.master.validity_interval_s) == (1, True, 60.0)
    assert job.yarn == YarnApplication(
        application_type="SPARK", tags=("nightly", "etl"), lifetime_s=90.0, view_acl="bob staff", modify_acl="cy"
    )


@pytest.mark.parametrize(("queue", "place"), [("", "research"), ("default", "research"), ("root.default", "default")])
async def test_default_is_how_clients_name_no_queue(tmp_path: Path, queue: str, place: str) -> None:
    async with Lives(tmp_path, placement=PlacementPolicy(default_queue="research")) as lives:
        door = Door(await lives.begin())
        app = await door.submit(queue=queue)
        assert (await door.report(app)).queue == f"root.{place}"


async def test_a_request_is_raised_to_the_minimum_and_to_a_multiple_of_the_increment(door: Door) -> None:
    small = await door.submit(resource=records.ResourceProto(memory=1, virtual_cores=0))
    odd = await door.submit(resource=records.ResourceProto(memory=1025, virtual_cores=1))
    assert (await door.report(small)).app_resource_Usage.used_resources.memory == 128
    assert (await door.report(odd)).app_resource_Usage.used_resources.memory == 1152


async def test_newer_clients_say_what_the_master_needs_as_a_request_for_any_place(door: Door) -> None:
    asks = [
        records.ResourceRequestProto(resource_name="n1", capability=records.ResourceProto(memory=1, virtual_cores=1)),
        records.ResourceRequestProto(resource_name="*", capability=records.ResourceProto(memory=2048, virtual_cores=2)),
    ]
    app = await door.submit(am_container_resource_request=asks)
    used = (await door.report(app)).app_resource_Usage.used_resources
    assert (used.memory, used.virtual_cores) == (2048, 2)


async def test_a_master_may_have_gpus_and_sees_just_those(tmp_path: Path) -> None:
    async with Lives(tmp_path, [node("n1", cpus=4, memory="8G", gpus=2)]) as lives:
        door = Door(await lives.begin())
        gpu = records.ResourceInformationProto(key="yarn.io/gpu", value=1)
        with_one = records.ResourceProto(memory=1024, virtual_cores=1, resource_value_map=[gpu])
        app = await door.submit(resource=with_one)
        await door.submit()
        granted, none = (spec.device_ids for spec in door.life.engine.launches)
        assert (len(granted), none) == (1, ())
        used = (await door.report(app)).app_resource_Usage.used_resources
        assert {one.key: one.value for one in used.resource_value_map}["yarn.io/gpu"] == 1


async def test_said_again_it_is_the_same_application(door: Door) -> None:
    context = submission(await door.new_id())
    assert await door.submit_context(context) == await door.submit_context(context)
    assert await door.listed() == ["pi"]


async def test_said_again_after_a_restart_it_is_the_same_application(lives: Lives) -> None:
    door = Door(await lives.begin())
    context = submission(await door.new_id())
    await door.submit_context(context)
    await door.life.kill()
    door = Door(await lives.begin())
    await door.submit_context(context)
    assert await door.listed() == ["pi"]


async def test_what_another_submitted_is_not_submitted_again_by_me(door: Door) -> None:
    context = submission(await door.new_id())
    await door.submit_context(context)
    with pytest.raises(AccessDenied):
        await door.submit_context(context, user="bob")


async def test_without_an_id_nothing_is_submitted(door: Door) -> None:
    context = submission(records.ApplicationIdProto())
    context.ClearField("application_id")
    with pytest.raises(ApplicationIdNotProvided):
        await door.submit_context(context)


async def test_an_id_that_was_not_handed_out_is_refused(door: Door) -> None:
    made_up = await door.new_id()
    made_up.id += 1000
    with pytest.raises(YarnError, match="was not handed out"):
        await door.submit_context(submission(made_up))


@pytest.mark.parametrize(
    "resource",
    [
        records.ResourceProto(memory=8193, virtual_cores=1),
        records.ResourceProto(memory=1024, virtual_cores=5),
        records.ResourceProto(memory=-1, virtual_cores=1),
        records.ResourceProto(
            memory=1024,
            virtual_cores=1,
            resource_value_map=[records.ResourceInformationProto(key="yarn.io/gpu", value=1)],
        ),
        records.ResourceProto(
            memory=1024,
            virtual_cores=1,
            resource_value_map=[records.ResourceInformationProto(key="yarn.io/fpga", value=1)],
        ),
    ],
)
async def test_what_can_never_fit_is_refused_when_it_is_submitted(door: Door, resource: records.ResourceProto) -> None:
    with pytest.raises(InvalidResourceRequest, match="Invalid resource request"):
        await door.submit(resource=resource)
    assert await door.listed() == []


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"node_label_expression": "gpu"}, InvalidLabelResourceRequest),
        ({"reservation_id": records.ReservationIdProto(id=1)}, FeatureNotEnabled),
        (
            {
                "application_timeouts": [
                    records.ApplicationTimeoutMapProto(
                        application_timeout_type=records.APP_TIMEOUT_LIFETIME, timeout=-5
                    )
                ]
            },
            IllegalArgument,
        ),
        ({"queue": "nowhere"}, YarnError),
    ],
)
async def test_what_is_not_there_is_refused(door: Door, fields: dict, error: type[YarnError]) -> None:
    with pytest.raises(error):
        await door.submit(**fields)
    assert await door.listed() == []


async def test_a_name_that_would_steer_a_terminal_is_made_plain(door: Door) -> None:
    await door.submit(application_name="red \x1b[31m alert" + "x" * 300)
    (name,) = await door.listed()
    assert name.startswith("red  [31m alert")
    assert len(name) == 256
