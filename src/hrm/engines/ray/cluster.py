"""What HRM asks of Ray: who is there, room on each machine, an actor that stays there.

All that blocks runs in threads of its own. Ray is imported when a cluster is joined, as it takes a second.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import structlog

from hrm.engines.ray.agent import Agent
from hrm.engines.ray.link import Unreachable
from hrm.engines.ray.token import check_token, require_ray
from hrm.model.errors import ClusterError, HrmError

_log = structlog.get_logger(__name__)
_HEAD = "node:__internal_head__"
_CONNECT_S = 3.0
#: How long the room on a machine is waited for before that is told; it is asked again.
RESERVE_S = 3.0
_MIB = 1 << 20
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine as Ray lists it."""

    ray_node_id: str
    address: str
    host: str
    raylet_port: int
    is_head: bool
    cpus: float
    gpus: int
    memory_mib: int

    def part(self, slab: float) -> Machine:
        """What ``slab`` of it is, 0 to 1: whole GPUs."""
        return Machine(
            ray_node_id=self.ray_node_id,
            address=self.address,
            host=self.host,
            raylet_port=self.raylet_port,
            is_head=self.is_head,
            cpus=int(self.cpus * slab * 1000) / 1000,
            gpus=int(self.gpus * slab),
            memory_mib=int(self.memory_mib * slab),
        )

    async def has_ended(self) -> bool:
        """True iff nobody listens where its raylet did: then it is gone, long before Ray says so."""
        return await self.raylet_listens() is False

    async def raylet_listens(self) -> bool | None:
        """Whether it listens; None where that cannot be told."""
        return await listens(self.address, self.raylet_port)


async def listens(host: str, port: int) -> bool | None:
    """Whether somebody takes connections there; None where that cannot be told."""
    try:
        async with asyncio.timeout(1.0):
            _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return False
    except (OSError, TimeoutError):
        return None
    writer.close()
    return True


class ActorRemote:
    """An agent in an actor (`hrm.engines.ray.link.Remote`)."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def call(self, method: str, *arguments: Any) -> Any:
        from ray.exceptions import RayError, RayTaskError

        try:
            return await asyncio.wrap_future(getattr(self._actor, method).remote(*arguments).future())
        except RayTaskError as error:
            if isinstance(error.cause, HrmError):
                raise error.cause from None
            raise Unreachable(_explain(error)) from None
        except RayError as error:
            raise Unreachable(_explain(error)) from None


class RayCluster:
    """Joined as a driver on one of its machines."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="ray-calls")
        #: GPUs that were taken, by Ray's id of the machine.
        self._gpus_of: dict[str, tuple[int, ...]] = {}

    async def connect(self, address: str, *, node_address: str | None = None) -> None:
        """Raises ClusterError, in a few seconds, where that cannot be."""
        host, _, port = address.rpartition(":")
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            writer.close()
        except (OSError, TimeoutError, ValueError) as error:
            raise ClusterError(
                f"no Ray cluster answers at {address}: {error or 'timed out'}",
                next_step="check the address (HOST:PORT of Ray's head, by default port 6379) and the firewall",
            ) from None
        await self._in_thread(require_ray)
        await self._in_thread(partial(check_token, address))
        await self._in_thread(partial(self._connect, address, node_address))

    def _connect(self, address: str, node_address: str | None) -> None:
        import ray

        named: dict[str, Any] = {"_node_ip_address": node_address} if node_address else {}
        try:
            ray.init(
                address=address,
                namespace=self._namespace,
                log_to_driver=False,
                configure_logging=False,
                include_dashboard=False,
                **named,
            )
        except Exception as error:  # noqa: BLE001 - Ray raises all kinds for a machine that is in no cluster
            text = str(error)
            step = "see Ray's logs"
            if "version" in text.lower():
                step = "install the same versions of Ray and of Python here as on Ray's head"
            elif "node" in text.lower() or "raylet" in text.lower() or isinstance(error, ConnectionError):
                step = "the server has to run on a machine of the cluster: `hrm join` makes this one a machine of it"
            raise ClusterError(
                f"cannot join the Ray cluster at {address}: {_first_line(text)}", next_step=step
            ) from None

    async def close(self) -> None:
        """Actors and room stay."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        # A call that comes after the end of the connection would make another one.
        ended = asyncio.to_thread(self._threads.shutdown, wait=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended, _CONNECT_S)
        await asyncio.to_thread(_shutdown)

    async def machines(self) -> list[Machine]:
        """Those that Ray takes for alive."""
        return await self._in_thread(_machines)

    async def reserve(self, machine: Machine, *, which_gpus: bool) -> bool:
        """Take this much of the machine, so that Ray gives it to nobody else; False while others have it.

        ``which_gpus``: find out for `gpus_of`, at the price of a second.
        """
        return await self._in_thread(partial(self._reserve, machine, which_gpus))

    def _reserve(self, machine: Machine, which_gpus: bool) -> bool:
        from ray.util import get_placement_group, placement_group, placement_group_table, remove_placement_group

        import ray

        bundle = {"CPU": machine.cpus, "GPU": float(machine.gpus), "memory": float(machine.memory_mib * _MIB)}
        bundle = {name: amount for name, amount in bundle.items() if amount}
        name = f"slab-{machine.ray_node_id}"
        group = None
        with contextlib.suppress(ValueError):
            group = get_placement_group(name)
        if group is not None and not _same(placement_group_table(group)["bundles"][0], bundle):
            # It cannot grow or shrink: containers do not live in it, so that nothing ends with it.
            remove_placement_group(group)
            group = None
        if group is None:
            group = placement_group(
                [bundle],
                name=name,
                lifetime="detached",
                bundle_label_selector=[{"ray.io/node-id": machine.ray_node_id}],
            )
        ready: bool = group.wait(RESERVE_S)
        if ready and machine.gpus and which_gpus:
            self._gpus_of[machine.ray_node_id] = ray.get(_ask_for_gpus(group, machine.gpus), timeout=30)
        return ready

    def gpus_of(self, ray_node_id: str) -> tuple[int, ...]:
        """Which GPUs were taken there, by index."""
        return self._gpus_of.get(ray_node_id, ())

    async def release(self, ray_node_id: str) -> None:
        """Give the room back, and end the actor, if there is one."""
        await self._in_thread(partial(self._release, ray_node_id))

    def _release(self, ray_node_id: str) -> None:
        from ray.util import get_placement_group, remove_placement_group

        import ray

        with contextlib.suppress(ValueError):
            ray.kill(ray.get_actor(_actor_name(ray_node_id)))
        with contextlib.suppress(ValueError):
            remove_placement_group(get_placement_group(f"slab-{ray_node_id}"))

    async def agent(self, machine: Machine) -> ActorRemote:
        """The machine's agent, made if there is none."""
        return await self._in_thread(partial(self._agent, machine))

    def _agent(self, machine: Machine) -> ActorRemote:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        import ray

        actor = (
            ray.remote(Agent)
            .options(
                name=_actor_name(machine.ray_node_id),
                get_if_exists=True,
                lifetime="detached",
                max_restarts=-1,
                max_task_retries=0,
                num_cpus=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(machine.ray_node_id, soft=False),
            )
            .remote()
        )
        return ActorRemote(actor)

    async def end_agent(self, machine: Machine) -> None:
        """End the actor: the next `agent` makes a new one, of the program that is installed there now."""
        await self._in_thread(partial(self._end_agent, machine.ray_node_id))

    def _end_agent(self, ray_node_id: str) -> None:
        import ray

        with contextlib.suppress(ValueError):
            ray.kill(ray.get_actor(_actor_name(ray_node_id)), no_restart=True)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


def _actor_name(ray_node_id: str) -> str:
    return f"node-{ray_node_id}"


def _shutdown() -> None:
    import ray

    ray.shutdown()


def _machines() -> list[Machine]:
    import ray

    found = []
    listed: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    for node in listed:
        if node["Alive"]:
            resources = node["Resources"]
            found.append(
                Machine(
                    ray_node_id=node["NodeID"],
                    address=node["NodeManagerAddress"],
                    host=node["NodeManagerHostname"],
                    raylet_port=node["NodeManagerPort"],
                    is_head=_HEAD in resources,
                    cpus=float(resources.get("CPU", 0.0)),
                    gpus=int(resources.get("GPU", 0)),
                    memory_mib=int(resources.get("memory", 0)) // _MIB,
                )
            )
    return found


def _ask_for_gpus(group: Any, count: int) -> Any:
    """A task in the room that was taken, which is told which GPUs these are."""
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    import ray

    def look() -> tuple[int, ...]:
        return tuple(int(one) for one in ray.get_gpu_ids())

    strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
    return ray.remote(look).options(num_cpus=0, num_gpus=count, scheduling_strategy=strategy).remote()


def _same(bundle: dict[str, float], wanted: dict[str, float]) -> bool:
    # Ray counts in ten-thousandths.
    return bundle.keys() == wanted.keys() and all(abs(bundle[name] - wanted[name]) < 1e-3 for name in wanted)


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason was given")


def _explain(error: BaseException) -> str:
    """Ray's errors are long: what is said first, or the last line of a traceback."""
    from ray.exceptions import ActorUnavailableError

    if isinstance(error, ActorUnavailableError):
        return "its agent cannot be reached"
    text = str(error)
    if "ModuleNotFoundError" in text or "failed to import" in text:
        return "HRM is not installed for the Python that Ray runs there"
    if "Traceback" in text:
        return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), text)
    return _first_line(text)[:300]
