"""What the node is asked of containers that run: to start them anew in place, and to bring them further files.

The shepherd does it, so that it is done though the server dies meanwhile; its answer says that it has taken it on.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from hrm.model.containers import LaunchSpec
from hrm.model.errors import ClusterError, Conflict, NotFound
from hrm.model.relaunching import (
    LaunchPhase,
    LaunchState,
    Localization,
    LocalizationState,
    Relaunch,
    RelaunchKind,
)
from hrm.nm import guests, prepared
from hrm.nm.container_launcher import ContainerLauncher
from hrm.nm.prepare.contract import FETCH, LOCALIZE
from hrm.nm.shepherd import wire

_ANSWER_S = 20.0


class Relaunches:
    """Of one node."""

    def __init__(self, state_dir: Path, launcher: ContainerLauncher) -> None:
        self._state_dir = state_dir
        self._launcher = launcher

    async def relaunch(self, container_id: str, order: Relaunch) -> None:
        """Raises NotFound if it does not run here, Conflict if that cannot be done now, and ClusterError."""
        message: dict[str, Any] = {
            "op": "relaunch",
            "id": container_id,
            "kind": order.kind,
            "auto_commit": order.auto_commit,
            "key": order.key,
            "grace_s": order.grace_s,
        }
        if order.kind is RelaunchKind.REPLACE:
            assert order.spec is not None, "a replacement says what is to run"
            program = await self._launcher.program_anew(order.spec)
            message |= {"program": program, "log_limit_bytes": order.spec.log_limit_bytes}
            if prepared.has_context(order.spec):
                message["prepare"] = _in_mode(program, FETCH)
        await self._ask(message)

    async def localize(self, spec: LaunchSpec) -> None:
        """Bring the files of the context into the container's directory. Raises as `relaunch`."""
        program = await self._launcher.program_anew(spec)
        links = program["links"]
        await self._ask(
            {"op": "localize", "id": spec.container_id, "program": _in_mode(program, LOCALIZE), "links": links}
        )

    async def state(self, container_id: str) -> LaunchState:
        """Raises NotFound and ClusterError."""
        told = await self._ask({"op": "launch_state", "id": container_id})
        return LaunchState(
            launch=told["launch"],
            phase=LaunchPhase(told["phase"]),
            can_roll_back=told["can_roll_back"],
            notes=tuple(told["notes"]),
            localizations=tuple(
                Localization(link=link, state=LocalizationState(state), message=message)
                for link, state, message in told["localizations"]
            ),
        )

    async def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            connection = await asyncio.to_thread(guests.ask, self._state_dir, message, [])
            reader, writer = await asyncio.open_unix_connection(sock=connection, limit=wire.MAX_LINE_BYTES)
            try:
                line = await asyncio.wait_for(reader.readline(), _ANSWER_S)
            finally:
                writer.close()
        except (OSError, TimeoutError) as error:
            raise ClusterError(f"the shepherd of {self._state_dir} does not answer: {error}") from None
        if not line:
            raise Conflict(
                "the node's shepherd starts nothing anew in containers that run",
                next_step="it may be of an older HRM: it leaves when its containers have ended, and a new one starts",
            )
        answer = next(iter(wire.Decoder().feed(line)), {})
        if (why := answer.get("refused")) is not None:
            raise Conflict(why)
        if "missing" in answer:
            raise NotFound(f"container {message['id']} does not run here")
        told: dict[str, Any] = answer.get("answer") or {}
        return told


def _in_mode(program: dict[str, Any], mode: str) -> dict[str, Any]:
    return {**program, "argv": [*program["argv"], mode]}
