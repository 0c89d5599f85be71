"""What is over is kept for a time and up to an amount, then cleared away: rows here, output and directories on nodes.

It goes on in the background in small steps. Only of applications that are over and of which nothing runs: the ends of
all their containers are on disk. Nodes clear up by themselves what this asks for, and spare what they know better.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace

import structlog

from hrm.model.cleaning import Cleanable, CleanPolicy, Freed, RetentionPolicy
from hrm.model.errors import ClusterError, HrmError
from hrm.model.ids import ApplicationId
from hrm.model.reports import CleanReport
from hrm.rm.manager import ResourceManager
from hrm.rm.turn import Turn
from hrm.rm.uploads import Cleared, Uploads

log = structlog.get_logger(__name__)

#: After the server's start, and from then on.
FIRST_AFTER_S = 15.0
INTERVAL_S = 600.0
#: Where one call did not come to the end.
AGAIN_AFTER_S = 1.0
#: How long one call of `clean` takes at most, about: a client waits for its answer.
BUDGET_S = 15.0
#: Applications that are looked up at a time.
_BATCH = 100
_EVERYTHING = frozenset(Cleanable)


@dataclass(slots=True)
class _Tally:
    """What one call of `clean` did, or would do."""

    applications: int = 0
    rows: int = 0
    events: int = 0
    on_nodes: Freed = field(default_factory=Freed)
    uploads: Cleared = field(default_factory=Cleared)
    more: bool = False
    problems: list[str] = field(default_factory=list)

    def report(self, *, dry_run: bool) -> CleanReport:
        freed = self.on_nodes
        return CleanReport(
            dry_run=dry_run,
            applications=self.applications,
            rows=self.rows,
            events=self.events,
            logs=freed.logs,
            logs_bytes=freed.logs_bytes,
            scratch=freed.scratch,
            scratch_bytes=freed.scratch_bytes,
            uploads=self.uploads.uploads,
            uploads_bytes=self.uploads.size_bytes,
            more=self.more or freed.more,
            problems=self.problems,
        )


class Retention:
    """Keeps to a policy; `run` does so until it is cancelled."""

    def __init__(self, manager: ResourceManager, policy: RetentionPolicy, uploads: Uploads | None = None) -> None:
        self._manager = manager
        self._uploads = uploads
        self._policy = policy
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Clear up now and then."""
        await asyncio.sleep(FIRST_AFTER_S)
        while True:
            more = False
            try:
                report = await self.clean()
            except Exception:
                # Whatever it is: the server goes on, and it is tried again.
                log.exception("clearing up failed")
            else:
                more = report.more and not report.problems
                for problem in report.problems:
                    log.warning("cannot clear up", problem=problem)
            await asyncio.sleep(AGAIN_AFTER_S if more else INTERVAL_S)

    async def clean(
        self,
        kinds: Collection[Cleanable] = _EVERYTHING,
        *,
        older_than_s: float | None = None,
        dry_run: bool = False,
        by: str = "",
        budget_s: float = BUDGET_S,
    ) -> CleanReport:
        """Clear away what is over for longer than this; None: what the policy does not keep.

        With ``dry_run`` only say what that would be. What cannot be done now is told as a problem. Ends after about
        ``budget_s``, then with ``more`` to do.
        """
        async with self._turn:
            tally, until = _Tally(), time.monotonic() + budget_s
            try:
                if Cleanable.LOGS in kinds or Cleanable.SCRATCH in kinds:
                    await self._clean_nodes(tally, kinds, older_than_s, dry_run, until)
                if Cleanable.APPS in kinds:
                    await self._clean_applications(tally, older_than_s, dry_run, until)
                    if older_than_s is None:
                        await self._clean_events(tally, dry_run)
                if Cleanable.UPLOADS in kinds and self._uploads is not None:
                    tally.uploads = await self._uploads.clean(
                        age_s=self._policy.uploads_age_s if older_than_s is None else older_than_s,
                        most_bytes=self._policy.uploads_bytes if older_than_s is None else None,
                        dry_run=dry_run,
                    )
            except HrmError as error:
                tally.problems.append(error.message)
            report = tally.report(dry_run=dry_run)
        if not dry_run and (report.applications or report.events or report.logs or report.scratch or report.uploads):
            self._manager.post(self._record, by, report)
        return report

    async def _clean_nodes(
        self, tally: _Tally, kinds: Collection[Cleanable], older_than_s: float | None, dry_run: bool, until: float
    ) -> None:
        manager = self._manager
        policy = self._policy.on_nodes
        if older_than_s is not None:
            policy = CleanPolicy(logs_age_s=older_than_s, scratch_age_s=older_than_s)
        if Cleanable.LOGS not in kinds:
            policy = replace(policy, logs_age_s=None, logs_bytes=None)
        if Cleanable.SCRATCH not in kinds:
            policy = replace(policy, scratch_age_s=None, scratch_bytes=None)
        for node in list(manager.nodes):
            node_id = node.spec.node_id
            if not manager.nodes.is_up(node_id):
                tally.problems.append(f"node {node_id} does not answer")
                continue
            # Who is submitted after this has not ended before: the node looks at what there is now.
            live = frozenset(map(str, manager.applications))
            left_s = max(0.0, until - time.monotonic())
            try:
                tally.on_nodes += await manager.engine.clean(
                    node_id, policy, spare=live, dry_run=dry_run, budget_s=left_s
                )
            except ClusterError as error:
                tally.problems.append(f"node {node_id}: {error.message}")

    async def _clean_applications(self, tally: _Tally, older_than_s: float | None, dry_run: bool, until: float) -> None:
        manager, store, policy = self._manager, self._manager.store, self._policy
        if older_than_s is None:
            ended_before, keep = manager.clock() - policy.applications_age_s, policy.applications
        else:
            # So that 0 means all that is over, also what ended in this very moment.
            ended_before, keep = manager.clock() - older_than_s + 1e-6, None
        if dry_run:
            tally.applications = await store.count_applications_over(ended_before=ended_before, keep=keep)
            return
        last = 0
        while seqs := await store.applications_over(ended_before=ended_before, keep=keep, limit=_BATCH, after_seq=last):
            for last in seqs:
                if ApplicationId(store.cluster_timestamp, last) in manager.applications:
                    continue
                if time.monotonic() > until:
                    tally.more = True
                    return
                places = await store.places(last)
                tally.rows += await store.delete_application(last)
                tally.applications += 1
                for node_id, container_ids in places.items():
                    # One that is away clears up by age.
                    if manager.nodes.is_up(node_id):
                        manager.engine.forget(node_id, container_ids)

    async def _clean_events(self, tally: _Tally, dry_run: bool) -> None:
        """By the policy alone: what happened is not forgotten by the way."""
        store, policy = self._manager.store, self._policy
        last = await store.last_event(before=self._manager.clock() - policy.applications_age_s, keep=policy.events)
        if dry_run:
            tally.events = await store.count_events(last)
        elif last:
            tally.events = await store.delete_events(last)

    def _record(self, turn: Turn, by: str, report: CleanReport) -> None:
        self._manager.record(
            turn,
            "cleaned",
            by=by,
            applications=report.applications,
            events=report.events,
            logs=report.logs,
            logs_bytes=report.logs_bytes,
            scratch=report.scratch,
            scratch_bytes=report.scratch_bytes,
            uploads=report.uploads,
            uploads_bytes=report.uploads_bytes,
        )
