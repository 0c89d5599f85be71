"""Why an application waits, runs or ended: the scheduler's word, and what only the ResourceManager knows.

That is how long tasks take, what its master has not asked for yet, what was noted in the event log, how it ended, and
the line that would submit it otherwise.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from hrm.am.group_order import names
from hrm.core.reasons import Reason
from hrm.model.errors import NotFound
from hrm.model.evidence import DeviceOutFact, DrainedFact, Fact, GroupFact
from hrm.model.explanations import Change, Ended, Explanation, Failure, Preempted
from hrm.model.ids import ApplicationId
from hrm.model.jobs import DEFAULT_RESOURCES, JobSpec
from hrm.model.phrases import Phrase, parts, phrase, say
from hrm.model.resources import Resources
from hrm.model.states import ApplicationState, TaskState
from hrm.model.units import format_memory, format_milli
from hrm.rm import reason_log
from hrm.rm.applications import LiveApplication
from hrm.rm.manager import ResourceManager
from hrm.rm.outlook import Outlook
from hrm.rm.records import ApplicationRow, ContainerRow, EventRow

#: Groups that an explanation names, nodes that it tells one by one, attempts that it counts, and changes of reason.
MAX_GROUPS = 8
MAX_NODES = 1000
MAX_ATTEMPTS = 10_000
MAX_SPANS = 1000
#: Nodes and GPUs out of use that are told.
MAX_OUT = 8
#: Containers of it that others took: the latest.
MAX_PREEMPTED = 20
#: Events of a container that is to end for somebody.
WARNED, KILLED, SPARED = "container_warned", "container_killed", "container_spared"
_NOT_SUCCEEDED = frozenset(state for state in TaskState if state.final and state is not TaskState.SUCCEEDED)


class Explaining:
    """Answers one question at a time, on the manager's loop."""

    def __init__(self, manager: ResourceManager) -> None:
        self._manager = manager
        manager.after_tick = reason_log.ReasonLog(manager).look

    async def live(self, app: LiveApplication, *, nodes: bool) -> Explanation:
        """Of one that is not over; with ``nodes`` node by node."""
        rows = await self._rows(app.row.seq)
        outlook = Outlook(self._manager)
        try:
            found = self._manager.scheduler.explain(
                app.id, now=outlook.now, expected_end=outlook.expected_end, nodes=MAX_NODES if nodes else 0
            )
        except NotFound:
            return _on_its_way(app)
        found = await self._as_allowed(app, found)
        nothing_asked = found.reason == str(Reason.NOTHING_PENDING)
        said, held_back = found.said, say_held_back(app)
        if held_back is not None:
            said = held_back if nothing_asked or said is None else parts([said, held_back])
        facts: list[Fact] = [] if nothing_asked else self._out_of_use(app)
        facts += [GroupFact(name=name, waits_for=missing) for name, missing in app.master.held_back[:MAX_GROUPS]]
        return replace(
            found,
            state=str(app.row.state),
            message=found.message if said is None else say(said),
            said=said,
            evidence=[*found.evidence, *(fact.as_dict() for fact in facts)],
            changes=[_with_line(change, app) for change in found.changes],
            history=reason_log.spans(rows[reason_log.KIND], ended_at=None),
            preempted=_preempted(rows),
        )

    def _out_of_use(self, app: LiveApplication) -> list[Fact]:
        """Nodes and GPUs that somebody, or the doctor, has taken out of use while it waits."""
        wants_gpus = app.job.master is not None or any(group.resources.gpus_milli for group in app.job.groups)
        facts: list[Fact] = []
        for node in self._manager.nodes:
            if node.drain is not None:
                facts.append(DrainedFact(node_id=node.spec.node_id, by=node.drain.by, reason=node.drain.reason))
            elif wants_gpus:
                facts += (
                    DeviceOutFact(node_id=node.spec.node_id, device_id=device_id, reason=reason)
                    for device_id, reason in node.out.items()
                )
        return facts[:MAX_OUT]

    async def _as_allowed(self, app: LiveApplication, found: Explanation) -> Explanation:
        """Without queues that its user may not submit to: the scheduler knows nothing of that."""
        queues = {change.queue for change in found.changes if change.queue is not None}
        refused = {one for one in queues if not await self._manager.queues.may_submit(one, app.row.user)}
        changes = [change for change in found.changes if change.queue not in refused]
        dropped = [change.said for change in found.changes if change not in changes]
        if not dropped or found.said is None:
            return found
        sentences = found.said.values["parts"]
        assert isinstance(sentences, list), "the scheduler says its sentences one by one"
        said = Phrase(found.said.code, {"parts": [one for one in sentences if one not in dropped]})
        remedies = [change.text for change in changes]
        return replace(found, message=say(said), said=said, changes=changes, remedies=remedies)

    async def ended(self, application_id: ApplicationId, row: ApplicationRow) -> Explanation:
        """How it ended, of one that is over."""
        store = self._manager.store
        history = await store.history(application_seq=row.seq, limit=MAX_ATTEMPTS)
        attempts = [one.row for one in history]
        rows = await self._rows(row.seq)
        failure = _first_failure(attempts)
        logs = f"hrm logs {row.seq}"
        if failure is not None and row.tasks_total > 1:
            logs += f" --task {failure.task_index}"
        printed = phrase("change.logs")
        output = Change(kind="logs", text=say(printed), said=printed, starts_now=False, command=logs)
        said = _say_end(row, failure)
        return Explanation(
            application_id=str(application_id),
            reason=row.state.value.lower(),
            message=say(said),
            said=said,
            evidence=[],
            changes=[output] if attempts else [],
            at=self._manager.clock(),
            state=str(row.state),
            history=reason_log.spans(rows[reason_log.KIND], ended_at=row.ended_at),
            preempted=_preempted(rows),
            ended=Ended(
                state=str(row.state),
                started_at=row.started_at,
                ended_at=row.ended_at,
                exit_code=row.exit_code,
                exit_codes=_exit_codes(attempts),
                more=len(attempts) == MAX_ATTEMPTS,
                first_failure=failure,
            ),
        )

    async def _rows(self, seq: int) -> dict[str, list[EventRow]]:
        """Its events that an explanation is made from, by kind."""
        kinds = (reason_log.KIND, WARNED, KILLED, SPARED)
        rows: dict[str, list[EventRow]] = {kind: [] for kind in kinds}
        for row in await self._manager.store.events_of(seq, kinds, limit=MAX_SPANS):
            rows[row.kind].append(row)
        return rows


def _on_its_way(app: LiveApplication) -> Explanation:
    """The scheduler does not know it: it enters its queue in the next turn, or has left it and this is not on disk."""
    said = phrase("on_its_way")
    return Explanation(
        application_id=str(app.id),
        reason=str(Reason.NOT_YET_SCHEDULED),
        message=say(said),
        said=said,
        evidence=[],
        state=str(app.told.state),
    )


def say_suspended(app: LiveApplication) -> Phrase | None:
    """None where it is not."""
    return None if app.row.suspended_at is None else phrase("suspended", app=app.row.seq)


def say_held_back(app: LiveApplication) -> Phrase | None:
    """``report waits for train``; None where nothing does."""
    held_back = app.master.held_back
    if app.row.suspended_at is not None or not held_back:
        return say_suspended(app)
    group, missing = held_back[0]
    more = phrase("group.more", count=len(held_back) - 1) if len(held_back) > 1 else ""
    return phrase("group.waits", group=group, groups=names(missing), more=more)


# ---- what was taken from it


def _preempted(rows: dict[str, list[EventRow]]) -> list[Preempted]:
    """Containers that were told to end for others and were not spared, and those that were killed for them."""
    told = sorted((*rows[WARNED], *rows[KILLED], *rows[SPARED]), key=lambda one: one.seq)
    last: dict[str, Preempted] = {}
    for row in told:
        detail = row.detail or {}
        if row.container_id is None:
            continue
        if row.kind == SPARED:
            last.pop(row.container_id, None)
            continue
        before = last.get(row.container_id)
        beneficiary = detail.get("beneficiary")
        words = str(detail.get("message", ""))
        why = Phrase.from_dict(detail["said"]) if detail.get("said") else words
        said = phrase("preempted.killed" if row.kind == KILLED else "preempted.told", why=why)
        last[row.container_id] = Preempted(
            at=row.at,
            container_id=row.container_id,
            node_id=row.node_id or "",
            text=say(said),
            said=said,
            beneficiary=str(beneficiary) if beneficiary else (before.beneficiary if before else None),
        )
    return list(last.values())[-MAX_PREEMPTED:]


# ---- how it ended


def _first_failure(attempts: list[ContainerRow]) -> Failure | None:
    failed = [row for row in attempts if row.task_state in _NOT_SUCCEEDED and row.task_state is not TaskState.KILLED]
    failed = failed or [row for row in attempts if row.task_state in _NOT_SUCCEEDED]
    first = min(failed, key=lambda row: (row.ended_at or 0.0, row.task_index or 0), default=None)
    if first is None:
        return None
    return Failure(
        task_index=first.task_index or 0,
        attempt=first.task_attempt or 1,
        node_id=first.node_id,
        container_id=first.container_id,
        at=first.ended_at,
        exit_code=first.exit_code,
        message=first.message,
    )


def _exit_codes(attempts: list[ContainerRow]) -> dict[str, int]:
    counts = Counter("none" if row.exit_code is None else str(row.exit_code) for row in attempts)
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def _say_end(row: ApplicationRow, failure: Failure | None) -> Phrase:
    """``failed after 12s: 3 of 10 tasks failed; task 4 …``."""
    since = row.submitted_at if row.started_at is None else row.started_at
    after = "" if row.ended_at is None else phrase("end.after", seconds=max(row.ended_at - since, 0.0))
    if row.state is ApplicationState.FINISHED:
        return phrase("end.finished", after=after, succeeded=row.tasks_succeeded, total=row.tasks_total)
    never = "" if row.started_at is not None else phrase("end.never_ran")
    why: Phrase | str = row.message
    if failure is not None and failure.message and failure.message not in row.message:
        first = phrase("end.first_failure", task=failure.task_index, message=failure.message)
        why = phrase("end.why_first", why=why, first=first) if why else failure.message
    code = "end.failed" if row.state is ApplicationState.FAILED else "end.killed"
    return phrase(code, after=after, never=never, why=phrase("end.why", why=why) if why else "")


# ---- the line that would submit it otherwise


def _with_line(change: Change, app: LiveApplication) -> Change:
    """The change with a whole line to copy, where the job is one that a line can say."""
    if not change.starts_now or change.queue is not None:
        return change
    job = app.job
    if len(job.groups) > 1 or job.master is not None or job.stdin or job.terminal or job.attached:
        return replace(change, command="")
    return replace(change, command=f"hrm kill {app.row.seq} && {_submit_line(change, app.row, job)}")


def _submit_line(change: Change, row: ApplicationRow, job: JobSpec) -> str:
    group = job.groups[0]
    resources = group.resources if change.asked is None else Resources.of(change.asked)
    model = None if change.kind == "any_model" else group.gpu_model
    options: dict[str, str | None] = {
        "--queue": row.queue,
        "--name": job.name or None,
        "--tasks": str(group.tasks) if group.tasks > 1 else None,
        "--cpus": _unless(resources.vcores_milli, DEFAULT_RESOURCES.vcores_milli, format_milli),
        "--memory": _unless(resources.memory_mib, DEFAULT_RESOURCES.memory_mib, format_memory),
        "--gpus": _unless(resources.gpus_milli, 0, format_milli),
        "--gpu-model": model,
        "--workdir": group.workdir,
        "--timeout": None if group.timeout_s is None else f"{group.timeout_s:g}s",
        "--retries": str(group.retries) if group.retries else None,
        "--priority": str(row.priority) if row.priority else None,
    }
    words = [word for name, value in options.items() if value is not None for word in (name, value)]
    return shlex.join(["hrm", "submit", *words, "--", *group.command])


def _unless(amount: int, usual: int, say: Callable[[int], str]) -> str | None:
    return None if amount == usual else say(amount)
