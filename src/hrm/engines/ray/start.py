"""From settings to an engine: a head is started where none is named."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from hrm.doctor.expected import Expected
from hrm.engines.ray.engine import RayEngine
from hrm.engines.ray.membership import Membership
from hrm.engines.ray.token import require_ray
from hrm.model.auxiliary import AuxiliaryService
from hrm.model.cleaning import CleanPolicy
from hrm.model.engine import EngineSettings
from hrm.model.errors import ClusterError
from hrm.model.files import FileSettings
from hrm.model.isolation import IsolationSettings
from hrm.model.nodes import NodeSpec
from hrm.model.streams import ContentSource


async def ray_engine(
    settings: EngineSettings,
    ray_dir: Path,
    *,
    head: NodeSpec,
    gpu_devices: Sequence[int | str] | None,
    virtual_gpus: int,
    server: str,
    epoch: int,
    keep: CleanPolicy,
    isolation: IsolationSettings,
    files: FileSettings,
    contents: ContentSource,
    expected: Expected,
    services: Sequence[AuxiliaryService],
    on_away: Callable[[str], None],
) -> RayEngine:
    """An engine over the cluster that ``settings`` name, or over one of our own, whose head is this machine.

    ``head`` and the GPUs say what this machine lends if it runs containers. Raises ClusterError.
    """
    membership = Membership(ray_dir)
    if settings.address is None and membership.pid is None:
        await _start_head(settings, ray_dir, head, gpu_devices, virtual_gpus)
    address = settings.address
    node_address = settings.host
    ours = membership.pid is not None and (address is None or address == membership.address)
    if ours:
        # Ray reads it when it is imported, so before anything else of Ray's is done.
        os.environ.pop("RAY_AUTH_TOKEN", None)
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(membership.token_file))
        address, node_address = membership.address, membership.node_address
    await asyncio.to_thread(partial(require_ray, ours=ours))
    assert address is not None, "a head was started"
    return RayEngine(
        settings,
        address,
        server=server,
        epoch=epoch,
        node_address=node_address,
        keep=keep,
        isolation=isolation,
        files=files,
        contents=contents,
        expected=expected,
        services=services,
        on_away=on_away,
    )


async def _start_head(
    settings: EngineSettings,
    ray_dir: Path,
    head: NodeSpec,
    gpu_devices: Sequence[int | str] | None,
    virtual_gpus: int,
) -> None:
    """It outlives the server, as containers do; `hrm leave` ends it."""
    arguments = [f"--dir={ray_dir}", "--head", "--detach", f"--port={settings.port}", f"--node-id={head.node_id}"]
    if settings.host:
        arguments.append(f"--node-address={settings.host}")
    if settings.head_runs_containers:
        arguments += [f"--cpus={max(1, head.total.vcores_milli // 1000)}", f"--memory-mib={head.total.memory_mib}"]
        arguments += [f"--virtual-gpus={virtual_gpus}"] if virtual_gpus else []
        if gpu_devices is not None:
            arguments.append(f"--gpu-devices={','.join(map(str, gpu_devices))}")
    else:
        arguments += ["--cpus=0", "--gpu-devices="]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "hrm.engines.ray.member",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        # Ctrl-C is for the server.
        start_new_session=True,
    )
    _, complaint = await process.communicate()
    if process.returncode:
        what, _, step = complaint.decode(errors="replace").strip().removeprefix("hrm: ").partition("\n  next: ")
        raise ClusterError(what or "Ray's head did not start", next_step=step or f"see {ray_dir / 'ray.log'}")
