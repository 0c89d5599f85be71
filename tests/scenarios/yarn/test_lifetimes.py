"""An application that has a lifetime is ended when that is over, and clients may change it."""

from __future__ import annotations

from typing import Any

import pytest

from hrm.testing.lives import Lives
from hrm.yarn.application_messages import format_time, parse_time
from hrm.yarn.errors import AccessDenied, IllegalArgument, YarnError
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from tests.scenarios.yarn.client_door import Door, id_message


def of(seconds: int) -> list[records.ApplicationTimeoutMapProto]:
    return [records.ApplicationTimeoutMapProto(application_timeout_type=records.APP_TIMEOUT_LIFETIME, timeout=seconds)]


async def change(door: Door, app: str, expire_time: str, **how: Any) -> None:
    timeout = records.ApplicationUpdateTimeoutMapProto(
        application_timeout_type=records.APP_TIMEOUT_LIFETIME, expire_time=expire_time
    )
    request = service.UpdateApplicationTimeoutsRequestProto(
        applicationId=id_message(app), application_timeouts=[timeout]
    )
    await door.call("updateApplicationTimeouts", request, **how)


async def test_it_is_told_and_kept_to(door: Door) -> None:
    app = await door.submit(application_timeouts=of(90))
    (told,) = (await door.report(app)).appTimeouts
    assert told.application_timeout.remaining_time == 90
    await door.life.pass_time(89)
    assert (await door.report(app)).yarn_application_state == records.ACCEPTED
    await door.life.pass_time(2)
    await door.life.ended(app)
    report = await door.report(app)
    assert report.final_application_status == records.APP_KILLED
    assert report.diagnostics == "Application killed due to exceeding its lifetime period"


async def test_it_counts_from_the_submission_over_restarts(lives: Lives) -> None:
    door = Door(await lives.begin())
    app = await door.submit(application_timeouts=of(90))
    await door.life.kill()
    door = Door(await lives.begin())
    await door.life.pass_time(91)
    assert (await door.life.ended(app)).state == "KILLED"


async def test_a_client_may_make_it_longer(door: Door) -> None:
    app = await door.submit(application_timeouts=of(90))
    await change(door, app, format_time(door.life.manager.clock() + 300))
    await door.life.pass_time(200)
    (told,) = (await door.report(app)).appTimeouts
    assert told.application_timeout.remaining_time == 100
    await door.life.pass_time(101)
    assert (await door.life.ended(app)).state == "KILLED"


async def test_without_one_it_is_unlimited(door: Door) -> None:
    (told,) = (await door.report(await door.submit())).appTimeouts
    assert (told.application_timeout.expire_time, told.application_timeout.remaining_time) == ("UNLIMITED", -1)


async def test_what_is_no_time_is_over_or_is_anothers_is_refused(door: Door) -> None:
    app = await door.submit(application_timeouts=of(90))
    soon = format_time(door.life.manager.clock() + 300)
    with pytest.raises(IllegalArgument):
        await change(door, app, "tomorrow")
    with pytest.raises(YarnError, match="over already"):
        await change(door, app, format_time(1))
    with pytest.raises(AccessDenied):
        await change(door, app, soon, user="bob")
    (told,) = (await door.report(app)).appTimeouts
    assert told.application_timeout.remaining_time == 90


async def test_of_what_is_over_nothing_changes_and_nobody_is_told_off(door: Door) -> None:
    app = await door.submit()
    await door.life.service.kill(app, by="ada")
    await door.life.ended(app)
    await change(door, app, format_time(door.life.manager.clock() + 300))
    (told,) = (await door.report(app)).appTimeouts
    assert told.application_timeout.remaining_time == -1


@pytest.mark.parametrize(
    ("text", "at"), [("2016-12-05T22:51:00.104+0530", 1480958460.104), ("1970-01-01T00:00:01.000+0000", 1.0)]
)
def test_times_are_read_in_any_zone_and_written_in_one(text: str, at: float) -> None:
    assert parse_time(text) == pytest.approx(at)
    assert parse_time(format_time(at)) == pytest.approx(at)
