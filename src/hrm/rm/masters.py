"""The calls of masters that run in containers of their own (YARN's ApplicationMasterService).

Each is handled in a turn and answered when that is on disk. What a call decides goes the way of every master's
decisions; what comes of it is heard with the next heartbeat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

from hrm.am.master import Actions
from hrm.am.own_master import OwnMaster
from hrm.am.unheard import granted
from hrm.core.events import BlacklistChanged, ContainerResize, ExecutionTypeWanted
from hrm.model.errors import Conflict, InvalidInput, NotFound, Unauthenticated
from hrm.model.ids import AttemptId
from hrm.model.jobs import MAX_TASKS, MasterSpec, TaskGroupSpec
from hrm.model.masters import FinalStatus, Heartbeat, Launched, MasterStanding, Registration
from hrm.model.relaunching import LaunchState, RelaunchKind
from hrm.model.requests import ExecutionType, ResourceRequest
from hrm.model.resources import Resources
from hrm.model.states import AttemptState, ContainerState
from hrm.rm.applications import LiveApplication
from hrm.rm.labels import check_label
from hrm.rm.manager import ResourceManager
from hrm.rm.relaunches import Relaunches
from hrm.rm.reporting import limit as words
from hrm.rm.turn import Turn

MAX_HOST_CHARS = 255
MAX_URL_CHARS = 2048
#: Different asks of one master in one heartbeat.
MAX_ASKS = 1000

Said = TypeVar("Said")


class MasterCalls:
    """One instance, on the manager's loop. Every call raises Unauthenticated once its attempt is over."""

    def __init__(self, manager: ResourceManager) -> None:
        self._manager = manager
        self._relaunches = Relaunches(manager)

    async def register(
        self, attempt_id: str, *, host: str = "", rpc_port: int = -1, tracking_url: str = ""
    ) -> Registration:
        """Begin, or begin again after `Heartbeat.resync`: asks made before count no more."""
        tracking_url = _url(tracking_url)

        def register(turn: Turn, app: LiveApplication, master: OwnMaster) -> Registration:
            master.register(turn.now)
            self._manager.called(turn, app, Actions())
            response = self._manager.register(app.attempt.id)
            app.attempt.change(host=host[:MAX_HOST_CHARS], rpc_port=rpc_port, tracking_url=tracking_url)
            turn.touch(app.attempt)
            # What the attempt before did not want is forgotten with it.
            self._manager.tell(turn, BlacklistChanged(app.id))
            self._manager.record(turn, "master_registered", application_seq=app.row.seq, attempt=app.attempt.id.number)
            return Registration(
                attempt_id=attempt_id,
                queue=response.queue,
                maximum_resources=response.maximum_resources.as_dict(),
                running=[granted(container) for container in response.running],
                ended=master.ended,
                ended_lately=master.ended_lately,
            )

        return await self._in_turn(attempt_id, register)

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
        """A heartbeat: asks with absolute counts, containers to give back. Raises InvalidInput for what never fits."""
        tracking_url = None if tracking_url is None else _url(tracking_url)
        if len(asks) > MAX_ASKS:
            raise InvalidInput(f"more than {MAX_ASKS} at once: {len(asks)}", field="asks")
        manager, queue = self._manager, self._live(AttemptId.parse(attempt_id))[0].row.queue
        limit = manager.queues.max_container(queue)
        for number, ask in enumerate(asks):
            if not 0 <= ask.count <= MAX_TASKS or ask.allocation_request_id < 0:
                raise InvalidInput("count or allocation_request_id is out of range", field=f"asks[{number}]")
            if ask.count:
                check_label(ask.needs.label, queue, manager.queues, manager.nodes)
            if ask.count and limit is not None and not ask.resources.fits_in(limit):
                raise InvalidInput(
                    f"{ask.resources} is larger than any container in its queue may be ({words(limit)})",
                    field=f"asks[{number}].resources",
                    next_step="ask for less",
                )
            if ask.count and len(manager.nodes) and not manager.scheduler.fits_some_node(ask):
                raise InvalidInput(
                    f"{ask.resources} fits on no node",
                    field=f"asks[{number}].resources",
                    next_step="ask for no more than the registration's maximum_resources",
                )

        def allocate(turn: Turn, app: LiveApplication, master: OwnMaster) -> Heartbeat:
            master.hear(response_id, asks, releases, progress, turn.now)
            if tracking_url is not None and tracking_url != app.attempt.row.tracking_url:
                app.attempt.change(tracking_url=tracking_url)
                turn.touch(app.attempt)
            if blacklist is not None:
                self._manager.tell(turn, BlacklistChanged(app.id, blacklist))
                self._manager.pacer.demand()
            self._manager.called(turn, app, Actions())
            return master.answer(response_id)

        return await self._in_turn(attempt_id, allocate)

    async def resize(self, attempt_id: str, wanted: Mapping[str, Resources]) -> dict[str, str]:
        limit = self._manager.queues.max_container(self._live(AttemptId.parse(attempt_id))[0].row.queue)
        refused: dict[str, str] = {}

        def resize(turn: Turn, app: LiveApplication, master: OwnMaster) -> dict[str, str]:
            running = {*master.running}
            for name, resources in wanted.items():
                container = app.containers.get(name)
                if container is None or name not in running or container.row.state is not ContainerState.RUNNING:
                    refused[name] = "nothing of this master's runs there"
                elif not resources.memory_mib or not resources.vcores_milli:
                    refused[name] = "a container holds some memory and some of a CPU"
                elif limit is not None and not resources.fits_in(limit):
                    refused[name] = f"{resources} is larger than any container in its queue may be ({words(limit)})"
                else:
                    try:
                        self._manager.tell(turn, ContainerResize(container.id, resources))
                    except InvalidInput as error:
                        refused[name] = error.message
            self._manager.pacer.demand()
            return refused

        return await self._in_turn(attempt_id, resize)

    async def retype(self, attempt_id: str, wanted: Mapping[str, ExecutionType]) -> dict[str, str]:
        refused: dict[str, str] = {}

        def retype(turn: Turn, app: LiveApplication, master: OwnMaster) -> dict[str, str]:
            for name, execution_type in wanted.items():
                container = app.containers.get(name)
                if container is None or container.row.state is ContainerState.STOPPING:
                    refused[name] = "it has ended, or was never this master's"
                    continue
                try:
                    self._manager.tell(turn, ExecutionTypeWanted(container.id, execution_type))
                except InvalidInput as error:
                    refused[name] = error.message
            self._manager.pacer.demand()
            return refused

        return await self._in_turn(attempt_id, retype)

    async def launch(
        self, attempt_id: str, container_id: str, command: Sequence[str], env: Mapping[str, str], workdir: str | None
    ) -> Launched:
        """Run a command in a granted container. Said again it starts nothing more. Raises NotFound, InvalidInput."""
        group = TaskGroupSpec(command=tuple(command), env=env, workdir=workdir)

        def launch(turn: Turn, app: LiveApplication, master: OwnMaster) -> Launched:
            if container_id not in self._manager.containers:
                raise NotFound(f"container {container_id} has ended")
            index, actions = master.launch(container_id, group)
            self._manager.called(turn, app, actions)
            return Launched(container_id=container_id, task_index=index)

        return await self._in_turn(attempt_id, launch)

    async def stop(self, attempt_id: str, container_ids: Sequence[str]) -> None:
        """End what runs there; a container in which nothing was launched is given back."""

        def stop(turn: Turn, app: LiveApplication, master: OwnMaster) -> None:
            self._manager.called(turn, app, master.stop(container_ids))

        await self._in_turn(attempt_id, stop)

    async def signal(self, attempt_id: str, container_id: str, signum: int) -> None:
        def signal(turn: Turn, app: LiveApplication, master: OwnMaster) -> None:
            if container_id in app.containers and (container := self._manager.containers.get(container_id)):
                node_id = container.row.node_id
                turn.after_commit(lambda: self._manager.engine.signal(node_id, container_id, signum))

        await self._in_turn(attempt_id, signal)

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
        await self._relaunches.relaunch(
            *self._live(AttemptId.parse(attempt_id)),
            container_id,
            kind,
            command=command,
            env=env,
            auto_commit=auto_commit,
            key=key,
        )

    async def localize(
        self, attempt_id: str, container_id: str, command: Sequence[str], env: Mapping[str, str]
    ) -> None:
        await self._relaunches.localize(*self._live(AttemptId.parse(attempt_id)), container_id, command, env)

    async def launch_state(self, attempt_id: str, container_id: str) -> LaunchState:
        app, _ = self._live(AttemptId.parse(attempt_id))
        return await self._relaunches.state(app, container_id)

    def standing(self, attempt_id: str) -> MasterStanding:
        app, master = self._live(AttemptId.parse(attempt_id))
        spec = app.job.master or MasterSpec()
        return MasterStanding(
            user=app.row.user,
            queue=app.row.queue,
            priority=app.row.priority,
            registered=master.registered,
            finished=master.final is not None,
            submitted_at=app.row.submitted_at,
            max_attempts=spec.max_attempts,
            keep_containers=spec.keep_containers,
            nodes=len(self._manager.nodes),
        )

    async def finish(
        self, attempt_id: str, status: FinalStatus, message: str = "", *, tracking_url: str | None = None
    ) -> None:
        """The application's last word: it stands, whatever comes after. What it still runs is ended."""
        tracking_url = None if tracking_url is None else _url(tracking_url)

        def finish(turn: Turn, app: LiveApplication, master: OwnMaster) -> None:
            if app.attempt.row.state is AttemptState.LAUNCHED:
                raise Conflict("this master has not registered", next_step="register first")
            first = master.final is None
            actions = master.finish(status, message, turn.now)
            assert master.final is not None, "it has just finished"
            final_status, diagnostics = master.final
            app.attempt.change(final_status=final_status, diagnostics=diagnostics)
            if first and tracking_url:
                app.attempt.change(tracking_url=tracking_url)
            turn.touch(app.attempt)
            self._manager.called(turn, app, actions)

        await self._in_turn(attempt_id, finish)

    async def _in_turn(self, attempt_id: str, do: Callable[[Turn, LiveApplication, OwnMaster], Said]) -> Said:
        parsed = AttemptId.parse(attempt_id)
        said: list[Said] = []

        def handler(turn: Turn) -> None:
            said.append(do(turn, *self._live(parsed)))

        await self._manager.turns.ask(handler)
        return said[0]

    def _live(self, attempt_id: AttemptId) -> tuple[LiveApplication, OwnMaster]:
        app = self._manager.applications.get(attempt_id.application)
        if (
            app is None
            or app.attempt.id != attempt_id
            or app.attempt.row.state.final
            or not isinstance(app.master, OwnMaster)
        ):
            raise Unauthenticated(f"attempt {attempt_id} is over, and its token with it", next_step="leave")
        return app, app.master


def _url(text: str) -> str:
    """Where a master shows what it does, as it says. Raises InvalidInput."""
    if len(text) > MAX_URL_CHARS or any(char <= " " for char in text):
        raise InvalidInput(f"not an address: {text!r:.80}", field="tracking_url")
    return text
