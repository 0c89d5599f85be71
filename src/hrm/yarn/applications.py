"""Applications as YARN tells them: what is known of each, seen by somebody, from what the ResourceManager reports.

An application of HRM becomes one of YARN by its attempts. It is RUNNING once its master has registered, and FINISHED
as soon as its master has said how it ended, be it well or not; FAILED is what never came to that.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hrm.model.errors import InvalidInput, NotFound
from hrm.model.jobs import JobSpec
from hrm.model.masters import FinalStatus
from hrm.model.queues import ROOT
from hrm.model.reports import ApplicationReport, AttemptReport
from hrm.model.states import ApplicationState, AttemptState
from hrm.model.yarn import YarnApplication
from hrm.rm.facade import Facade
from hrm.yarn.errors import ApplicationNotFound

#: What HRM's own jobs are called where YARN asks for a type.
NATIVE_TYPE = "HRM"
#: What nobody may see, or nobody has said (YARN's UNAVAILABLE).
UNAVAILABLE = "N/A"
#: Applications that are over of which the job and the attempts, which change no more, are kept in memory; no more of
#: them are told in one list.
KEPT = 10_000
PAGE = 500
#: How old sums may be that are told of applications that are not over.
FRESH_S = 5.0

_NATIVE = YarnApplication(application_type=NATIVE_TYPE)
#: In the order of YarnApplicationState.
STATES = ("NEW", "NEW_SAVING", "SUBMITTED", "ACCEPTED", "RUNNING", "FINISHED", "FAILED", "KILLED")
FINAL_STATES = ("FINISHED", "FAILED", "KILLED")
#: In which states of HRM's an application may be that YARN sees in this one.
_MAY_BE = {
    "SUBMITTED": ("SUBMITTED",),
    "ACCEPTED": ("ACCEPTED", "RUNNING"),
    "RUNNING": ("RUNNING",),
    "FINISHED": ("RUNNING", "FINISHED", "FAILED", "KILLED"),
    "FAILED": ("FAILED",),
    "KILLED": ("KILLED",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """One application, whoever submitted it by whichever door."""

    report: ApplicationReport
    yarn: YarnApplication
    #: The latest run of its master, and all that are kept in memory; of one that is not over the latest alone.
    attempts: tuple[AttemptReport, ...]
    #: What its containers held, by HRM's names, times the seconds that they held it; up to `FRESH_S` old.
    seconds: Mapping[str, float]
    #: Node labels of what its master asks for, and of the master's own container; "" for none.
    node_labels: tuple[str, str] = ("", "")

    @property
    def attempt(self) -> AttemptReport | None:
        return self.attempts[-1] if self.attempts else None

    @property
    def state(self) -> str:
        """Of `STATES`."""
        ours, attempt = self.report.state, self.attempt
        if attempt is not None and attempt.final_status is not FinalStatus.UNDEFINED:
            return "FINISHED"
        if ours is ApplicationState.RUNNING and (attempt is None or attempt.state is AttemptState.LAUNCHED):
            return "ACCEPTED"
        return ours.value

    @property
    def final_status(self) -> FinalStatus:
        """UNDEFINED until it has ended (RMAppImpl.createFinalApplicationStatus)."""
        state = self.state
        if state == "FINISHED":
            said = self.attempt.final_status if self.attempt is not None else FinalStatus.UNDEFINED
            return said if said is not FinalStatus.UNDEFINED else FinalStatus.SUCCEEDED
        return FinalStatus(state) if state in FINAL_STATES else FinalStatus.UNDEFINED

    @property
    def is_over(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def queue(self) -> str:
        return full_queue(self.report.queue)

    @property
    def diagnostics(self) -> str:
        """Why it waits, or how it ended."""
        attempt = self.attempt
        if self.is_over and attempt is not None and attempt.final_status is not FinalStatus.UNDEFINED:
            return attempt.message
        return self.report.message

    @property
    def finished_at(self) -> float | None:
        """Epoch seconds."""
        if self.report.ended_at is not None:
            return self.report.ended_at
        return self.attempt.ended_at if self.is_over and self.attempt is not None else None


def full_queue(path: str) -> str:
    """``root.research`` for ``research``: as YARN's FairScheduler calls queues."""
    return path if path == ROOT else f"{ROOT}.{path}"


class Applications:
    """Looks applications up. One instance, on the ResourceManager's loop."""

    def __init__(self, facade: Facade, clock: Callable[[], float] = time.time) -> None:
        self._facade = facade
        self._clock = clock
        self._over: OrderedDict[str, Application] = OrderedDict()
        #: Of those that are not over: what they held, and until when that counts.
        self._seconds: OrderedDict[str, tuple[Mapping[str, float], float]] = OrderedDict()

    async def find(self, application_id: str) -> Application:
        """Raises ApplicationNotFound."""
        try:
            return await self._with_all(await self._facade.application(application_id))
        except (NotFound, InvalidInput):
            raise not_found(application_id) from None

    async def is_gone(self, application_id: str) -> bool:
        """True iff all of it has ended, or nobody knows it any more."""
        try:
            return (await self._facade.application(application_id)).state.final
        except (NotFound, InvalidInput):
            return True

    async def attempts(self, application_id: str) -> list[AttemptReport]:
        """All runs of its master, oldest first. Raises ApplicationNotFound."""
        try:
            return await self._facade.attempts(application_id)
        except (NotFound, InvalidInput):
            raise not_found(application_id) from None

    async def listed(self, *, states: Sequence[str] = (), user: str | None = None) -> AsyncIterator[Application]:
        """Newest first, of YARN's ``states`` (none: all); of those that are over at most `KEPT`."""
        ours = sorted({one for state in states for one in _MAY_BE.get(state, ())})
        if states and not ours:
            return
        before: str | None = None
        over = 0
        while over < KEPT:
            page = await self._facade.applications(states=ours, user=user, limit=PAGE, before=before)
            for report in page:
                before = report.application_id
                over += report.state.final
                try:
                    found = await self._with_all(report)
                except NotFound:
                    continue  # cleared away meanwhile
                if not states or found.state in states:
                    yield found
            if len(page) < PAGE:
                return
            await asyncio.sleep(0)

    async def _with_all(self, report: ApplicationReport) -> Application:
        name = report.application_id
        if not report.state.final:
            current = self._facade.current_attempt(name)
            if current is not None:
                job, seconds = await self._facade.job(name), await self._seconds_of(name)
                return Application(report=report, **_of_job(job), attempts=(current,), seconds=seconds)
            report = await self._facade.application(name)  # it has ended meanwhile
        known = self._over.get(name)
        if known is None:
            self._seconds.pop(name, None)
            known = self._over[name] = Application(
                report=report,
                **_of_job(await self._facade.job(name)),
                attempts=tuple(await self._facade.attempts(name)),
                seconds=await self._facade.resource_seconds(name),
            )
            if len(self._over) > KEPT:
                self._over.popitem(last=False)
        return known

    async def _seconds_of(self, name: str) -> Mapping[str, float]:
        """Asked of the store, so not for each of many questions."""
        kept, now = self._seconds.get(name), self._clock()
        if kept is not None and now < kept[1]:
            return kept[0]
        seconds = await self._facade.resource_seconds(name)
        self._seconds[name] = (seconds, now + FRESH_S)
        if len(self._seconds) > KEPT:
            self._seconds.popitem(last=False)
        return seconds


def _of_job(job: JobSpec) -> dict[str, Any]:
    of_asks = job.master.node_label if job.master is not None else job.groups[0].node_label
    return {"yarn": job.yarn or _NATIVE, "node_labels": (of_asks or "", job.groups[0].node_label or "")}


def not_found(application_id: str) -> ApplicationNotFound:
    return ApplicationNotFound(f"Application with id '{application_id}' doesn't exist in RM.")
