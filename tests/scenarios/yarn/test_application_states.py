"""What YARN's clients are told of an application from its submission to its end, and what they may do to it."""

from __future__ import annotations

import pytest

from hrm.model.masters import FinalStatus
from hrm.testing.lives import Lives, tasks
from hrm.yarn.errors import AccessDenied, ApplicationNotFound, YarnError
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from tests.scenarios.yarn.client_door import WEB, Door, id_message


def ends(report: records.ApplicationReportProto) -> tuple[int, int]:
    return report.yarn_application_state, report.final_application_status


async def test_what_has_no_room_is_accepted_and_says_why_it_waits(door: Door) -> None:
    await door.life.submit(tasks(cpus=4))
    report = await door.report(await door.submit())
    assert ends(report) == (records.ACCEPTED, records.APP_UNDEFINED)
    assert report.diagnostics == (await door.life.service.application(await name_of(report))).message != ""


async def name_of(report: records.ApplicationReportProto) -> str:
    return f"application_{report.applicationId.cluster_timestamp}_{report.applicationId.id:04d}"


async def test_it_runs_once_its_master_has_registered(door: Door) -> None:
    app = await door.submit()
    assert (await door.report(app)).yarn_application_state == records.ACCEPTED
    await door.master(app).register()
    report = await door.report(app)
    assert report.yarn_application_state == records.RUNNING
    assert report.currentApplicationAttemptId.attemptId == 1
    assert report.trackingUrl == f"{WEB}/proxy/{app}/"


async def test_a_master_that_says_it_went_well_ends_it_well(door: Door) -> None:
    app = await door.submit()
    master = door.master(app)
    await master.register()
    await master.finish(message="pi is 3")
    assert ends(await door.report(app)) == (records.FINISHED, records.APP_SUCCEEDED)
    await master.exit(0)
    report = await door.report(app)
    assert ends(report) == (records.FINISHED, records.APP_SUCCEEDED)
    assert (report.diagnostics, report.progress) == ("pi is 3", 1.0)
    assert report.finishTime >= report.startTime > 0


async def test_a_master_that_says_it_failed_has_finished_all_the_same(door: Door) -> None:
    app = await door.submit()
    master = door.master(app)
    await master.register()
    await master.finish(FinalStatus.FAILED, "the driver threw")
    await master.exit(1)
    report = await door.report(app)
    assert ends(report) == (records.FINISHED, records.APP_FAILED)
    assert report.diagnostics == "the driver threw"


async def test_a_master_that_says_nothing_is_started_again_and_then_has_failed(door: Door) -> None:
    app = await door.submit()
    await door.master(app).exit(7)
    second = await door.report(app)
    assert (second.yarn_application_state, second.currentApplicationAttemptId.attemptId) == (records.ACCEPTED, 2)
    await door.master(app, 2).exit(7)
    report = await door.report(app)
    assert ends(report) == (records.FAILED, records.APP_FAILED)
    assert "its master failed in 2 attempts" in report.diagnostics


async def test_what_is_told_of_the_end_is_told_after_a_restart_too(lives: Lives) -> None:
    door = Door(await lives.begin())
    app = await door.submit()
    master = door.master(app)
    await master.register()
    await master.finish(FinalStatus.FAILED, "the driver threw")
    await master.exit(1)
    before = await door.report(app)
    await door.life.kill()
    assert await Door(await lives.begin()).report(app) == before


async def test_killing_is_over_when_it_has_ended(door: Door) -> None:
    app = await door.submit(
        am_container_spec=records.ContainerLaunchContextProto(command=["trap 'exit 3' TERM; sleep 1000"])
    )
    request = service.KillApplicationRequestProto(application_id=id_message(app))
    await door.call("forceKillApplication", request)
    await door.life.ended(app)
    assert (await door.call("forceKillApplication", request)).is_kill_completed
    report = await door.report(app)
    assert ends(report) == (records.KILLED, records.APP_KILLED)
    assert report.diagnostics == "Application killed by user ada"


async def test_what_the_client_says_of_its_kill_is_the_diagnostics(door: Door) -> None:
    app = await door.submit()
    request = service.KillApplicationRequestProto(application_id=id_message(app), diagnostics="no longer needed")
    await door.call("forceKillApplication", request)
    await door.life.ended(app)
    assert (await door.report(app)).diagnostics == "no longer needed"


async def test_what_it_held_is_told_in_seconds_while_it_runs_and_later(lives: Lives) -> None:
    door = Door(await lives.begin())
    app = await door.submit(resource=records.ResourceProto(memory=2048, virtual_cores=2))
    master = door.master(app)
    await master.register()
    await door.life.pass_time(10)
    running = (await door.report(app)).app_resource_Usage
    assert (running.memory_seconds, running.vcore_seconds) == (20480, 20)
    await door.life.pass_time(10)
    await master.finish()
    await master.exit(0)
    for life in (door.life, None):
        if life is None:
            await door.life.kill()
            door = Door(await lives.begin())
        over = (await door.report(app)).app_resource_Usage
        assert (over.memory_seconds, over.vcore_seconds) == (40960, 40)
        assert {one.key: one.value for one in over.application_resource_usage_map}["memory-mb"] == 40960


async def test_jobs_of_hrms_own_are_told_too(door: Door) -> None:
    running = await door.life.submit(tasks(), name="train")
    ended = await door.life.submit(tasks("false"), name="broken")
    await door.life.ended(ended)
    assert ends(await door.report(running)) == (records.RUNNING, records.APP_UNDEFINED)
    report = await door.report(ended)
    assert ends(report) == (records.FAILED, records.APP_FAILED)
    assert (report.applicationType, report.trackingUrl) == ("HRM", f"{WEB}/cluster/app/{ended}")


async def test_an_application_that_never_was_is_not_found(door: Door) -> None:
    for message in (await door.new_id(), records.ApplicationIdProto(id=1, cluster_timestamp=1)):
        with pytest.raises(ApplicationNotFound, match="doesn't exist in RM"):
            await door.call("getApplicationReport", service.GetApplicationReportRequestProto(application_id=message))


# --- moving, priority, rights


async def test_it_moves_to_another_queue(door: Door) -> None:
    app = await door.submit()
    request = service.MoveApplicationAcrossQueuesRequestProto(
        application_id=id_message(app), target_queue="root.research"
    )
    await door.call("moveApplicationAcrossQueues", request)
    assert (await door.report(app)).queue == "root.research"


async def test_it_does_not_move_to_a_queue_that_is_not_there(door: Door) -> None:
    app = await door.submit()
    request = service.MoveApplicationAcrossQueuesRequestProto(application_id=id_message(app), target_queue="nowhere")
    with pytest.raises(YarnError, match="nowhere"):
        await door.call("moveApplicationAcrossQueues", request)


async def test_its_priority_changes(door: Door) -> None:
    app = await door.submit()
    request = service.UpdateApplicationPriorityRequestProto(
        applicationId=id_message(app), applicationPriority=records.PriorityProto(priority=5)
    )
    response = await door.call("updateApplicationPriority", request)
    assert response.applicationPriority.priority == (await door.report(app)).priority.priority == 5


async def test_the_priority_of_what_is_over_stays(door: Door) -> None:
    app = await door.submit()
    await door.life.service.kill(app, by="ada")
    await door.life.ended(app)
    request = service.UpdateApplicationPriorityRequestProto(
        applicationId=id_message(app), applicationPriority=records.PriorityProto(priority=5)
    )
    response = await door.call("updateApplicationPriority", request)
    assert response.applicationPriority.priority == (await door.report(app)).priority.priority == 0


async def test_others_see_that_it_is_there_and_not_what_it_says(door: Door) -> None:
    app = await door.submit()
    master = door.master(app)
    await master.register()
    await master.finish(message="my secret")
    report = await door.report(app, user="bob")
    assert ends(report) == (records.FINISHED, records.APP_SUCCEEDED)
    assert (report.diagnostics, report.trackingUrl, report.HasField("currentApplicationAttemptId")) == (
        "N/A", "N/A", False,
    )  # fmt: skip


async def test_whom_its_view_acl_names_sees_it_and_changes_nothing(door: Door) -> None:
    app = await door.submit(am_container_spec=acls(view="bob"))
    assert (await door.report(app, user="bob")).trackingUrl != "N/A"
    with pytest.raises(AccessDenied, match="bob cannot perform operation MODIFY_APP"):
        await kill(door, app, user="bob")


async def test_whom_its_modify_acl_names_ends_it(door: Door) -> None:
    app = await door.submit(am_container_spec=acls(modify="bob"))
    await kill(door, app, user="bob")
    await door.life.ended(app)
    assert (await door.report(app)).diagnostics == "Application killed by user bob"


async def test_groups_of_an_acl_are_those_of_the_machine(lives: Lives) -> None:
    lives.groups["bob"] = ("staff",)
    door = Door(await lives.begin())
    app = await door.submit(am_container_spec=acls(modify=" staff"))
    with pytest.raises(AccessDenied):
        await kill(door, app, user="cy")
    await kill(door, app, user="bob")


def acls(*, view: str = "", modify: str = "") -> records.ContainerLaunchContextProto:
    return records.ContainerLaunchContextProto(
        application_ACLs=[
            records.ApplicationACLMapProto(accessType=records.APPACCESS_VIEW_APP, acl=view),
            records.ApplicationACLMapProto(accessType=records.APPACCESS_MODIFY_APP, acl=modify),
        ]
    )


async def kill(door: Door, app: str, *, user: str) -> None:
    await door.call(
        "forceKillApplication", service.KillApplicationRequestProto(application_id=id_message(app)), user=user
    )
