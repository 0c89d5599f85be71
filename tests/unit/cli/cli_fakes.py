"""What commands are tested against: a client that is kept in memory, and reports to fill it with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hrm.model.containers import LogFile
from hrm.model.errors import Forbidden, NotFound
from hrm.model.explanations import Explanation
from hrm.model.ids import ApplicationId
from hrm.model.jobs import JobSpec
from hrm.model.reports import (
    ApplicationReport,
    CleanReport,
    ContainerReport,
    NodeLabelReport,
    NodeReport,
    QueueAccessReport,
    QueueReport,
    ReloadReport,
    ServerReport,
    SubmitReport,
    TaskAttemptReport,
    TaskReport,
    WorkReport,
)
from hrm.model.states import ApplicationState, NodeState, TaskState

TIMESTAMP = 1763900000000


def app_id(seq: int) -> str:
    return str(ApplicationId(TIMESTAMP, seq))


def application(seq: int, state: ApplicationState = ApplicationState.RUNNING, **fields: Any) -> ApplicationReport:
    """A report; what a test does not name is as uninteresting as can be."""
    defaults: dict[str, Any] = {
        "application_id": app_id(seq),
        "name": f"job{seq}",
        "user": "me",
        "queue": "default",
        "state": state,
        "priority": 0,
        "submitted_at": 1000.0,
        "started_at": 1001.0,
        "ended_at": 1002.5 if state.final else None,
        "tasks_total": 1,
        "tasks_pending": 0,
        "tasks_running": 0 if state.final else 1,
        "tasks_succeeded": 1 if state is ApplicationState.FINISHED else 0,
        "tasks_failed": 1 if state is ApplicationState.FAILED else 0,
        "tasks_killed": 1 if state is ApplicationState.KILLED else 0,
        "progress": 1.0 if state.final else 0.5,
        "used": {"memory_mib": 1024, "vcores_milli": 1000, "gpus_milli": 0},
        "reason": "",
        "message": "",
        "exit_code": {ApplicationState.FINISHED: 0, ApplicationState.FAILED: 3}.get(state),
        "nodes": ["box"],
    }
    return ApplicationReport(**{**defaults, **fields})


def task(index: int, state: TaskState) -> TaskReport:
    return TaskReport(
        task_index=index, group="main", state=state, attempt=1, container_id=None, node_id=None, progress=None,
        exit_code=None, message="",
    )  # fmt: skip


def attempt(seq: int, index: int, **fields: Any) -> TaskAttemptReport:
    defaults: dict[str, Any] = {
        "application_id": app_id(seq),
        "name": "job",
        "user": "me",
        "queue": "default",
        "task_index": index,
        "attempt": 1,
        "container_id": f"container_e01_{TIMESTAMP}_{seq:04d}_01_{index:06d}",
        "node_id": "box",
        "resources": {"memory_mib": 1024, "vcores_milli": 1000, "gpus_milli": 0},
        "device_ids": [],
        "allocated_at": 999.0,
        "started_at": 1000.0,
        "ended_at": 1001.0,
        "exit_code": 0,
        "state": TaskState.SUCCEEDED,
        "message": "",
        "cpu_s": None,
        "max_rss_mib": None,
    }
    return TaskAttemptReport(**{**defaults, **fields})


def queue_report(name: str, **fields: Any) -> QueueReport:
    parent = None if name == "root" else name.rpartition(".")[0] or "root"
    defaults: dict[str, Any] = {
        "name": name,
        "parent": parent,
        "policy": "fair",
        "weight": 1.0,
        "used": {"memory_mib": 2048, "vcores_milli": 1500, "gpus_milli": 0},
        "demand": {"memory_mib": 4096, "vcores_milli": 3000, "gpus_milli": 0},
        "fair_share": {"memory_mib": 1536, "vcores_milli": 1000, "gpus_milli": 0},
        "steady_fair_share": {"memory_mib": 0, "vcores_milli": 0, "gpus_milli": 0},
        "min_share": {"memory_mib": 0, "vcores_milli": 0, "gpus_milli": 0},
        "max_share": None,
        "max_running_apps": None,
        "applications_running": 1,
        "applications_pending": 0,
        "containers_running": 1,
        "containers_pending": 0,
    }
    return QueueReport(**{**defaults, **fields})


def node_report(**fields: Any) -> NodeReport:
    defaults: dict[str, Any] = {
        "node_id": "box",
        "state": NodeState.RUNNING,
        "rack": "/default-rack",
        "total": {"memory_mib": 8192, "vcores_milli": 4000, "gpus_milli": 0},
        "used": {"memory_mib": 1024, "vcores_milli": 1000, "gpus_milli": 0},
        "devices": [],
        "isolation": "process groups",
        "containers": 1,
        "last_heartbeat_at": 1000.0,
        "memory_used_mib": None,
        "cpu_used_milli": None,
        "disk_free_mib": None,
        "message": "",
    }
    return NodeReport(**{**defaults, **fields})


def clean_report(**fields: Any) -> CleanReport:
    nothing = dict.fromkeys(("applications", "rows", "events", "logs", "logs_bytes", "scratch", "scratch_bytes"), 0)
    return CleanReport(**{"dry_run": False, "more": False, **nothing, **fields})


@dataclass
class FakeClient:
    """`hrm.sdk.client.Client` over lists; what is submitted ends as ``ends_as`` says."""

    apps: list[ApplicationReport] = field(default_factory=list)
    attempts: list[TaskAttemptReport] = field(default_factory=list)
    task_reports: list[TaskReport] = field(default_factory=list)
    queue_reports: list[QueueReport] = field(default_factory=lambda: [queue_report("root"), queue_report("default")])
    access_reports: list[QueueAccessReport] = field(default_factory=list)
    node_reports: list[NodeReport] = field(default_factory=lambda: [node_report()])
    work_reports: list[WorkReport] = field(default_factory=list)
    #: What is in force on the server; None iff the caller is no admin.
    configuration: dict[str, Any] | None = None
    #: (node, reason) of each that was drained; None for the reason where it was undrained.
    drains: list[tuple[str, str | None]] = field(default_factory=list)
    #: Labels that there are; and (node, attributes or label) that was said, (add or remove, label).
    labels: list[NodeLabelReport] = field(default_factory=list)
    words: list[tuple[str, object]] = field(default_factory=list)
    #: What `clean` answers, in dry runs and else; and what it was asked for.
    told: list[CleanReport] = field(default_factory=lambda: [clean_report()])
    cleaned: list[CleanReport] = field(default_factory=lambda: [clean_report()])
    cleanings: list[tuple[list[str], float | None, bool]] = field(default_factory=list)
    explanation: Explanation | None = None
    log: dict[tuple[int, str], bytes] = field(default_factory=dict)
    ends_as: ApplicationReport = field(default_factory=lambda: application(0, ApplicationState.FINISHED))
    submitted: list[tuple[JobSpec, str | None]] = field(default_factory=list)
    killed: list[tuple[str, str]] = field(default_factory=list)
    #: Raised by the next calls, one by one.
    errors: list[Exception] = field(default_factory=list)
    closed: int = 0

    def __enter__(self) -> FakeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed += 1

    def server(self) -> ServerReport:
        return ServerReport(
            pid=4242, address="http://127.0.0.1:8765", home="/srv/hrm", version="0.1.0", engine="embedded",
            started_at=0.0, ephemeral=False, applications_running=0, applications_pending=0, nodes=1,
            loop_lag_max_ms=0.1,
        )  # fmt: skip

    def submit(self, job: JobSpec, *, submit_id: str | None = None) -> SubmitReport:
        self.submitted.append((job, submit_id))
        if self.errors:
            raise self.errors.pop(0)
        seen = [name for _, name in self.submitted[:-1]]
        seq = len({name for _, name in self.submitted})
        self.apps.insert(0, replace(self.ends_as, application_id=app_id(seq), name=job.display_name))
        return SubmitReport(application_id=app_id(seq), created=submit_id not in seen)

    def kill(self, application_id: str, message: str = "") -> None:
        self.application(application_id)
        self.killed.append((application_id, message))

    def move(self, application_id: str, queue: str) -> ApplicationReport:
        return self._changed(application_id, queue=queue)

    def suspend(self, application_id: str) -> ApplicationReport:
        return self._changed(application_id, suspended_at=1_763_900_001.0)

    def resume(self, application_id: str) -> ApplicationReport:
        return self._changed(application_id, suspended_at=None)

    def set_priority(self, application_id: str, priority: int) -> ApplicationReport:
        return self._changed(application_id, priority=priority)

    def _changed(self, application_id: str, **changes: Any) -> ApplicationReport:
        before = self.application(application_id)
        if self.errors:
            raise self.errors.pop(0)
        self.apps[self.apps.index(before)] = after = replace(before, **changes)
        return after

    def queue_access(self) -> list[QueueAccessReport]:
        return self.access_reports

    def application(self, application_id: str) -> ApplicationReport:
        for app in self.apps:
            if app.application_id == application_id:
                return app
        raise NotFound(f"no application {application_id}", next_step="`hrm ps --all` lists them")

    def applications(
        self,
        states: Sequence[str] = (),
        *,
        user: str | None = None,
        queue: str | None = None,
        limit: int = 1000,
        before: str | None = None,
    ) -> list[ApplicationReport]:
        found = [
            app
            for app in sorted(self.apps, key=lambda app: app.application_id, reverse=True)
            if (not states or app.state in states)
            and user in (None, app.user)
            and queue in (None, app.queue)
            and (before is None or app.application_id < before)
        ]
        return found[:limit]

    def tasks(self, application_id: str, offset: int = 0, limit: int = 1000) -> list[TaskReport]:
        return self.task_reports[offset : offset + limit]

    def history(
        self, application_id: str | None = None, since: float | None = None, limit: int = 10_000, offset: int = 0
    ) -> list[TaskAttemptReport]:
        found = [a for a in self.attempts if application_id in (None, a.application_id)]
        return found[offset : offset + limit]

    def work(self) -> list[WorkReport]:
        return self.work_reports

    def containers(self, application_id: str | None = None) -> list[ContainerReport]:
        return []

    def queues(self) -> list[QueueReport]:
        return self.queue_reports

    def nodes(self) -> list[NodeReport]:
        return self.node_reports

    def clean(self, kinds: Sequence[str], *, older_than_s: float | None = None, dry_run: bool = False) -> CleanReport:
        self.cleanings.append(([str(kind) for kind in kinds], older_than_s, dry_run))
        reports = self.told if dry_run else self.cleaned
        return replace(reports.pop(0), dry_run=dry_run)

    def drain_node(self, node_id: str, reason: str = "") -> NodeReport:
        return self._change_node(
            node_id, reason, state=NodeState.DRAINING, drained_at=1000.0, drained_by="me", drain_reason=reason
        )

    def set_attributes(self, node_id: str, change: Mapping[str, str | None]) -> NodeReport:
        self.words.append((node_id, dict(change)))
        return next(one for one in self.node_reports if one.node_id == node_id)

    def set_node_label(self, node_id: str, label: str | None) -> NodeReport:
        self.words.append((node_id, label))
        return next(one for one in self.node_reports if one.node_id == node_id)

    def node_labels(self) -> list[NodeLabelReport]:
        return self.labels

    def add_node_label(self, label: str, *, exclusive: bool = True) -> list[NodeLabelReport]:
        self.words.append(("add", label if exclusive else f"{label} shared"))
        return self.labels

    def remove_node_label(self, label: str) -> list[NodeLabelReport]:
        self.words.append(("remove", label))
        return self.labels

    def undrain_node(self, node_id: str) -> NodeReport:
        return self._change_node(node_id, None, state=NodeState.RUNNING, drained_at=None)

    def _change_node(self, node_id: str, reason: str | None, **fields: Any) -> NodeReport:
        for at, report in enumerate(self.node_reports):
            if report.node_id == node_id:
                self.drains.append((node_id, reason))
                self.node_reports[at] = replace(report, **fields)
                return self.node_reports[at]
        raise NotFound(f"no node {node_id!r}", next_step="`hrm nodes` lists them")

    def explain(self, application_id: str, *, nodes: bool = False) -> Explanation:
        assert self.explanation is not None
        return self.explanation if nodes else replace(self.explanation, nodes=[])

    def wait(self, application_id: str, timeout_s: float | None = None) -> ApplicationReport:
        if self.errors:
            raise self.errors.pop(0)
        return self.application(application_id)

    def log_files(self, application_id: str, *, task: int = 0, attempt: int | None = None) -> list[LogFile]:
        return [
            LogFile(name="stdout", size_bytes=6),
            LogFile(name="gc.log", size_bytes=2048, modified_at=1_763_900_000.0),
        ]

    def logs(
        self, application_id: str, *, task: int = 0, stream: str = "stdout", file: str | None = None, **_: Any
    ) -> Iterator[bytes]:
        self.application(application_id)
        yield self.log.get((task, file or stream), b"")

    def queue_configuration(self) -> dict[str, Any]:
        if self.configuration is None:
            raise Forbidden("me is no admin of this server", next_step="ask its operator")
        return self.configuration

    def reload_queues(self) -> ReloadReport:
        return ReloadReport(added=["new"], removed=[], changed=["default"])
