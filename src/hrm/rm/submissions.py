"""Jobs on their way in: each becomes one application, however often the same submission is said."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

from hrm.model.errors import Forbidden, NotFound
from hrm.model.ids import ApplicationId
from hrm.model.job_codec import job_to_dict
from hrm.model.jobs import JobSpec
from hrm.model.reports import SubmitReport
from hrm.model.states import ApplicationState
from hrm.rm.file_calls import FileCalls
from hrm.rm.labels import with_labels
from hrm.rm.manager import ResourceManager
from hrm.rm.numbering import ApplicationNumbers
from hrm.rm.queue_calls import QueueCalls
from hrm.rm.records import ApplicationRow, JobRow

_Submission = asyncio.Future[SubmitReport]


class Submissions:
    """Part of the facade's inside. One instance, on the manager's loop.

    Each submission is a task of its own: a caller who goes away must not leave a job on disk that nobody here knows
    of. Those that may be said again are kept while they are on their way to the store: a repeat waits for the first.
    """

    def __init__(self, manager: ResourceManager, queues: QueueCalls, files: FileCalls, *, next_seq: int) -> None:
        self._manager = manager
        self._files = files
        self._queues = queues
        self.numbers = ApplicationNumbers(manager.store, next_seq)
        #: By user and submit id, and by application id.
        self._named: dict[tuple[str, str], _Submission] = {}
        self._claimed: dict[ApplicationId, _Submission] = {}

    async def submit(self, job: JobSpec, user: str, submit_id: str | None, admin: bool) -> SubmitReport:
        if submit_id is None:
            return await asyncio.shield(asyncio.ensure_future(self._submit(job, user, None, admin)))
        key = (user, submit_id)
        if (first := self._named.get(key)) is None:
            first = self._named[key] = asyncio.ensure_future(self._submit_once(job, user, submit_id, admin))
            first.add_done_callback(lambda _: self._named.pop(key, None))
            return await asyncio.shield(first)
        return replace(await asyncio.shield(first), created=False)

    async def _submit_once(self, job: JobSpec, user: str, submit_id: str, admin: bool) -> SubmitReport:
        known = await self._manager.store.find_submit_id(user, submit_id)
        if known is not None:
            return SubmitReport(application_id=str(self._id(known.seq)), created=False, queue=known.queue)
        return await self._submit(job, user, submit_id, admin)

    async def new_id(self) -> ApplicationId:
        """For `submit_as`. Raises StoreError."""
        return self._id(await self.numbers.hand_out())

    async def submit_as(self, application_id: ApplicationId, job: JobSpec, user: str, admin: bool) -> SubmitReport:
        """Under an id that `new_id` gave. Raises Conflict for any other, Forbidden for one that another user used."""
        known = await self._find(application_id)
        # Looked at last, with no wait between: who comes first claims the number.
        first = self._claimed.get(application_id)
        if known is None and first is None:
            self.numbers.claim(application_id.seq)
            first = asyncio.ensure_future(self._submit(job, user, None, admin, seq=application_id.seq))
            self._claimed[application_id] = first
            first.add_done_callback(partial(self._over, application_id))
            return await asyncio.shield(first)
        if first is not None:
            await asyncio.shield(first)
            known = await self._find(application_id)
        assert known is not None, "it was submitted a moment ago"
        if known.user != user:
            raise Forbidden(
                f"{application_id} is {known.user}'s", next_step="ask for a new application, and submit that"
            )
        return SubmitReport(application_id=str(application_id), created=False, queue=known.queue)

    def _over(self, application_id: ApplicationId, submission: _Submission) -> None:
        del self._claimed[application_id]
        if submission.cancelled() or submission.exception() is not None:
            self.numbers.give_back(application_id.seq)

    async def _find(self, application_id: ApplicationId) -> ApplicationRow | None:
        """The application under an id, if it was submitted. Raises NotFound for an id of another server."""
        if app := self._manager.applications.get(application_id):
            return app.row
        if application_id.cluster_timestamp != self._manager.store.cluster_timestamp:
            raise NotFound(f"{application_id} is no id of this server", next_step="ask for a new application")
        return await self._manager.store.application(application_id.seq)

    async def _submit(
        self, job: JobSpec, user: str, submit_id: str | None, admin: bool, *, seq: int | None = None
    ) -> SubmitReport:
        manager = self._manager
        job = self._files.with_shared(job)
        placed = await self._queues.check(job, user=user, admin=admin)
        await self._files.check(job, user=user)
        job = with_labels(job.in_queue(placed.queue), placed.queue, manager.queues, manager.nodes)
        if seq is None:
            seq = self.numbers.take()
        now = manager.clock()
        lifetime_s = job.yarn.lifetime_s if job.yarn else None
        row = ApplicationRow(
            seq=seq,
            user=user,
            name=job.display_name,
            queue=placed.queue,
            state=ApplicationState.SUBMITTED,
            priority=job.priority,
            submitted_at=now,
            deadline_at=None if lifetime_s is None else now + lifetime_s,
            submit_id=submit_id,
            tasks_total=job.task_count,
        )
        await manager.store.commit([row, JobRow(application_seq=seq, spec=job_to_dict(job))], must=False)
        app = manager.admit(row, job)
        manager.post(manager.accept, app)
        return SubmitReport(application_id=str(app.id), created=True, queue=placed.queue, rule=placed.rule)

    def _id(self, seq: int) -> ApplicationId:
        return ApplicationId(self._manager.store.cluster_timestamp, seq)
