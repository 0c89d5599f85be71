"""`hrm.sdk.ApplicationMaster`: a program that masters its own application, in a container of its own.

It asks for containers, decides what runs in them, and says in the end how it went. Submitted with
``hrm submit --master -- python my_master.py`` it finds its server and its token in its environment.

>>> from hrm.sdk import ApplicationMaster
>>> from hrm.model.requests import ResourceRequest
>>> from hrm.model.resources import Resources
>>> with ApplicationMaster() as master:
...     news = master.allocate([ResourceRequest(resources=Resources(512, 1000), count=2)], wait_s=60)
...     for container in news.allocated:
...         master.launch(container, "python", "part.py")
...     ...                                        # allocate() again, until news.ended tells of all of them
...     master.finish("SUCCEEDED", "all parts done")
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from hrm.model.errors import HrmError, NoServer, Unauthenticated
from hrm.model.masters import (
    EndedContainer,
    FinalStatus,
    GrantedContainer,
    Heartbeat,
    Launched,
    Registration,
    Retyped,
    WarnedContainer,
)
from hrm.model.requests import ExecutionType, ResourceRequest
from hrm.model.states import TaskState
from hrm.sdk.transport import Transport, decoded

#: How often `ApplicationMaster.allocate` asks again while it waits for news.
POLL_S = 0.1
#: How long to keep still before a server that does not answer is called again.
RETRY_S = 0.5


@dataclass(slots=True)
class News:
    """What happened since it was asked last."""

    #: Containers to launch something in, or to give back.
    allocated: list[GrantedContainer] = field(default_factory=list)
    #: Containers that are over.
    ended: list[EndedContainer] = field(default_factory=list)
    #: Containers that are to end for another application: save the work, stop them, or others in their place.
    warned: list[WarnedContainer] = field(default_factory=list)
    #: Ids of those that need not end after all.
    spared: list[str] = field(default_factory=list)
    #: Containers that were promoted or demoted, with what they are now.
    retyped: dict[str, ExecutionType] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.allocated or self.ended or self.warned or self.spared or self.retyped)


class ApplicationMaster:
    """One attempt of an application's master, as its own process speaks for it. Threads may share one.

    As a context manager it registers, heartbeats in a thread, and at the end of the block finishes with success unless
    it has finished before. An exception leaves the application without a last word: the attempt has failed, and the
    server starts another if there is one left.

    A server that does not answer is called again for ``patience_s``; one that was restarted is told anew what is still
    wanted. Errors are those of `hrm.model.errors`; Unauthenticated means that the attempt is over.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        token: str | None = None,
        attempt_id: str | None = None,
        heartbeat_interval_s: float = 1.0,
        patience_s: float = 600.0,
    ) -> None:
        """None: what the container's environment says. Raises Unauthenticated outside of a master's container."""
        address = address or os.environ.get("HRM_ADDRESS")
        token = token or os.environ.get("HRM_AM_TOKEN")
        attempt_id = attempt_id or os.environ.get("HRM_ATTEMPT_ID")
        if not (address and token and attempt_id):
            raise Unauthenticated(
                "this process is no application's master", next_step="submit it: hrm submit --master -- PROGRAM"
            )
        self.attempt_id = attempt_id
        self._address, self._token = address, token
        self._heartbeat_interval_s = heartbeat_interval_s
        self._patience_s = patience_s
        self._transport: Transport | None = None
        self._lock = threading.RLock()
        self._response_id = 0
        self._news = News()
        #: What is still asked for, as it was said last less what came of it.
        self._wanted: dict[Any, ResourceRequest] = {}
        #: Given to the program, which has launched nothing there.
        self._held: dict[str, GrantedContainer] = {}
        self._told_ended: set[str] = set()
        self._finished = False
        self._failure: HrmError | None = None
        self._leaving = threading.Event()
        self._heart: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.register()
        self._heart = threading.Thread(target=self._beat_on, name="hrm heartbeats", daemon=True)
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        if self._heart is not None:
            self._heart.join()
        if error is None and not self._finished:
            self.finish()
        self.close()

    def close(self) -> None:
        """Drop its connection."""
        if self._transport is not None:
            self._transport.close()

    def register(self) -> Registration:
        """Say that it is there. Containers of an earlier attempt that were kept are in ``running``."""
        with self._lock:
            registration = self._register()
            self._told_ended.update(one.container_id for one in registration.ended)
            return registration

    def allocate(
        self,
        asks: Sequence[ResourceRequest] = (),
        releases: Iterable[GrantedContainer | str] = (),
        progress: float | None = None,
        *,
        wait_s: float = 0.0,
    ) -> News:
        """Ask and give back, and hear what happened. With ``wait_s`` (seconds) until something has, or that is over.

        Counts are absolute: an ask replaces the one like it from before, and 0 withdraws it. ``progress`` is
        from 0 to 1. Raises InvalidInput for an ask that no node could ever hold.
        """
        deadline = time.monotonic() + wait_s
        names = [_name(one) for one in releases]
        with self._lock:
            for ask in asks:
                self._wanted[_key(ask)] = ask
            for name in names:
                self._held.pop(name, None)
        self._beat(asks, names, progress)
        while not self._news and time.monotonic() < deadline:
            time.sleep(POLL_S)
            self._beat()
        with self._lock:
            news, self._news = self._news, News()
            return news

    def launch(
        self,
        container: GrantedContainer | str,
        *command: str,
        env: Mapping[str, str] | None = None,
        workdir: str | None = None,
    ) -> int:
        """Run a command in a container; returns the number under which `hrm logs APP --task` shows it.

        It is safe on disk when this returns. No shell reads the command. Raises NotFound if the container has ended.

        >>> master.launch(container, "python", "part.py", env={"PART": "3"})
        3
        """
        name = _name(container)
        body = {"container_id": name, "command": command, "env": dict(env or {}), "workdir": workdir}
        launched = decoded(self._call("launch", body), Launched)
        with self._lock:
            self._held.pop(name, None)
        return launched.task_index

    def stop(self, *containers: GrantedContainer | str) -> None:
        """End what runs there; a container in which nothing was launched is given back."""
        names = [_name(one) for one in containers]
        self._call("stop", {"container_ids": names})
        with self._lock:
            for name in names:
                self._held.pop(name, None)

    def promote(self, *containers: GrantedContainer | str) -> dict[str, str]:
        """Have opportunistic containers be guaranteed, each when its turn comes: `News.retyped` says when.

        Returns those of which it cannot be, and why.
        """
        return self._retype(containers, ExecutionType.GUARANTEED)

    def demote(self, *containers: GrantedContainer | str) -> dict[str, str]:
        """Have guaranteed containers be opportunistic, at once. Returns those of which it cannot be, and why."""
        return self._retype(containers, ExecutionType.OPPORTUNISTIC)

    def _retype(self, containers: Sequence[GrantedContainer | str], wanted: ExecutionType) -> dict[str, str]:
        body = {"containers": {_name(one): wanted for one in containers}}
        return decoded(self._call("retype", body), Retyped).refused

    def finish(self, status: FinalStatus | str = FinalStatus.SUCCEEDED, message: str = "") -> None:
        """The last word: SUCCEEDED, FAILED or KILLED. The first one stands; what still runs is ended."""
        body = {"status": str(status)} | ({"message": message} if message else {})
        self._call("finish", body)
        self._finished = True

    # --- inside

    def _beat_on(self) -> None:
        while not self._leaving.wait(self._heartbeat_interval_s):
            try:
                self._beat()
            except HrmError as error:
                # Told where the program next asks: nobody looks into this thread.
                self._failure = error
                return

    def _beat(
        self, asks: Sequence[ResourceRequest] = (), releases: Sequence[str] = (), progress: float | None = None
    ) -> None:
        with self._lock:
            if self._failure is not None:
                raise self._failure
            heard = self._exchange(asks, releases, progress)
            if heard.resync:
                self._begin_anew()
                heard = self._exchange([*self._wanted.values()], (), progress)
            for container in heard.allocated:
                self._count_down(container)
                self._held[container.container_id] = container
            self._news.allocated += heard.allocated
            for name in heard.spared:
                self._forget_warning(name)
                self._news.spared.append(name)
            for warned in heard.warned:
                self._forget_warning(warned.container_id)
                self._news.warned.append(warned)
            self._news.retyped.update(heard.retyped)
            self._tell_ended(heard.ended)

    def _exchange(self, asks: Sequence[ResourceRequest], releases: Sequence[str], progress: float | None) -> Heartbeat:
        body: dict[str, Any] = {
            "response_id": self._response_id,
            "asks": [_ask_to_dict(ask) for ask in asks],
            "releases": list(releases),
        }
        if progress is not None:
            body["progress"] = progress
        heard = decoded(self._call("allocate", body), Heartbeat)
        self._response_id = heard.response_id
        return heard

    def _register(self) -> Registration:
        registration = decoded(self._call("register", {}), Registration)
        self._response_id = 0
        return registration

    def _begin_anew(self) -> None:
        """The server was restarted: grants in which nothing was launched are gone, warnings void, the rest goes on."""
        self._news.warned.clear()
        self._tell_ended(self._register().ended)
        self._news.allocated.clear()
        gone = [
            EndedContainer(container_id=name, state=TaskState.LOST, exit_code=None, message="the server was restarted")
            for name in self._held
        ]
        self._held.clear()
        self._tell_ended(gone)

    def _tell_ended(self, ended: Iterable[EndedContainer]) -> None:
        for one in ended:
            self._held.pop(one.container_id, None)
            self._forget_warning(one.container_id)
            if one.container_id not in self._told_ended:
                self._told_ended.add(one.container_id)
                self._news.ended.append(one)

    def _forget_warning(self, name: str) -> None:
        """What the program has not heard of, and is not so any more, it need not hear of."""
        self._news.warned = [one for one in self._news.warned if one.container_id != name]
        self._news.spared = [one for one in self._news.spared if one != name]

    def _count_down(self, container: GrantedContainer) -> None:
        for key, ask in self._wanted.items():
            alike = (ask.priority, ask.allocation_request_id, ask.resources.as_dict(), ask.execution_type)
            given = (container.priority, container.allocation_request_id, container.resources, container.execution_type)
            if ask.count and alike == given:
                self._wanted[key] = replace(ask, count=ask.count - 1)
                return

    def _call(self, what: str, body: dict[str, Any]) -> bytes:
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                if self._transport is None:
                    self._transport = Transport(self._address, self._token, timeout_s=30.0)
                return self._transport.call("POST", f"/masters/{self.attempt_id}/{what}", body=body, repeatable=True)
            except NoServer:
                # Each of these calls, said twice, is said once.
                if time.monotonic() + RETRY_S > deadline:
                    raise
                time.sleep(RETRY_S)


def _name(container: GrantedContainer | str) -> str:
    return container if isinstance(container, str) else container.container_id


def _key(ask: ResourceRequest) -> tuple[object, ...]:
    return (
        ask.priority,
        ask.allocation_request_id,
        ask.resource_name,
        ask.resources,
        ask.gpu_model,
        ask.needs,
        ask.execution_type,
    )


def _ask_to_dict(ask: ResourceRequest) -> dict[str, Any]:
    return {
        "resources": ask.resources.as_dict(),
        "count": ask.count,
        "priority": ask.priority,
        "resource_name": ask.resource_name,
        "relax_locality": ask.relax_locality,
        "allocation_request_id": ask.allocation_request_id,
        "gpu_model": ask.gpu_model,
        "constraint": ask.needs.constraint or None,
        "node_label": ask.needs.label,
        "execution_type": str(ask.execution_type),
    }
