"""`FakeMasters`: the side of the ResourceManager in masters' calls, in memory. It keeps what it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from hrm.model.errors import Unauthenticated
from hrm.model.masters import (
    EndedContainer,
    FinalStatus,
    GrantedContainer,
    Heartbeat,
    Launched,
    MasterStanding,
    Registration,
    WarnedContainer,
)
from hrm.model.relaunching import LaunchPhase, LaunchState, RelaunchKind
from hrm.model.requests import ExecutionType, ResourceRequest


class FakeMasters:
    """Every attempt is live that is not in ``over``."""

    def __init__(self) -> None:
        self.over: set[str] = set()
        #: (attempt, what it called) in order.
        self.calls: list[tuple[str, str]] = []
        self.asks: list[ResourceRequest] = []
        #: What the next answer tells.
        self.grants: list[GrantedContainer] = []
        self.warned: list[WarnedContainer] = []
        self.spared: list[str] = []
        #: All that is told to one who registers.
        self.ended: list[EndedContainer] = []
        #: True iff nobody has registered since the server, as played, was restarted.
        self.restarted = False
        self.launched: list[tuple[str, tuple[str, ...], dict[str, str], str | None]] = []
        self.final: tuple[FinalStatus, str] | None = None
        #: What containers are wanted to be, and those that are not there any more.
        self.retyped: dict[str, ExecutionType] = {}
        self.gone: set[str] = set()

    async def register(
        self, attempt_id: str, *, host: str = "", rpc_port: int = -1, tracking_url: str = ""
    ) -> Registration:
        self._take(attempt_id, "register")
        self.restarted = False
        return Registration(
            attempt_id=attempt_id, queue="default", maximum_resources={"memory_mib": 8192}, ended=self.ended
        )

    async def allocate(
        self,
        attempt_id: str,
        response_id: int,
        *,
        asks: Sequence[ResourceRequest] = (),
        releases: Sequence[str] = (),
        progress: float | None = None,
        blacklist: frozenset[str] | None = None,
        tracking_url: str | None = None,
    ) -> Heartbeat:
        self._take(attempt_id, "allocate")
        if self.restarted:
            return Heartbeat(response_id=response_id, resync=True)
        self.asks += asks
        allocated, self.grants = self.grants, []
        warned, self.warned = self.warned, []
        spared, self.spared = self.spared, []
        return Heartbeat(response_id=response_id + 1, allocated=allocated, warned=warned, spared=spared)

    async def retype(self, attempt_id: str, wanted: Mapping[str, ExecutionType]) -> dict[str, str]:
        self._take(attempt_id, "retype")
        self.retyped.update(wanted)
        return {name: "it has ended" for name in wanted if name in self.gone}

    async def launch(
        self, attempt_id: str, container_id: str, command: Sequence[str], env: Mapping[str, str], workdir: str | None
    ) -> Launched:
        self._take(attempt_id, "launch")
        self.launched.append((container_id, tuple(command), dict(env), workdir))
        return Launched(container_id=container_id, task_index=len(self.launched))

    async def stop(self, attempt_id: str, container_ids: Sequence[str]) -> None:
        self._take(attempt_id, "stop")

    async def signal(self, attempt_id: str, container_id: str, signum: int) -> None:
        self._take(attempt_id, "signal")

    async def relaunch(
        self,
        attempt_id: str,
        container_id: str,
        kind: RelaunchKind,
        *,
        command: Sequence[str] = (),
        env: Mapping[str, str] = MappingProxyType({}),
        auto_commit: bool = True,
        key: str = "",
    ) -> None:
        self._take(attempt_id, f"relaunch {kind}")

    async def localize(
        self, attempt_id: str, container_id: str, command: Sequence[str], env: Mapping[str, str]
    ) -> None:
        self._take(attempt_id, "localize")

    async def launch_state(self, attempt_id: str, container_id: str) -> LaunchState:
        self._take(attempt_id, "launch_state")
        return LaunchState(launch=1, phase=LaunchPhase.RUNS, can_roll_back=False)

    def standing(self, attempt_id: str) -> MasterStanding:
        self._take(attempt_id, "standing")
        return MasterStanding(
            user="ada",
            queue="default",
            priority=0,
            registered=not self.restarted,
            finished=self.final is not None,
            submitted_at=0.0,
            max_attempts=2,
            keep_containers=False,
            nodes=1,
        )

    async def finish(
        self, attempt_id: str, status: FinalStatus, message: str = "", *, tracking_url: str | None = None
    ) -> None:
        self._take(attempt_id, "finish")
        self.final = self.final or (status, message)

    def _take(self, attempt_id: str, call: str) -> None:
        if attempt_id in self.over:
            raise Unauthenticated(f"attempt {attempt_id} is over, and its token with it")
        self.calls.append((attempt_id, call))
