"""Rounds of the doctor on this machine, each in a process of its own: what hangs in the kernel hangs there."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from hrm.doctor.expected import Expected
from hrm.model.errors import ClusterError, InvalidInput
from hrm.model.findings import DoctorReport

#: More than the doctor itself allows a round.
TIME_LIMIT_S = 30.0
#: How long a process that is killed may take to be gone.
KILL_S = 1.0
_MODULE = "hrm.doctor"
#: With this a round ends that was asked for what there is not.
_USAGE = 2


class Examiner:
    """``command`` runs a round: it reads what is `Expected` as JSON and prints a report."""

    def __init__(self, node_id: str, expected: Expected | None = None, *, command: Sequence[str] = ()) -> None:
        self._node_id = node_id
        self.expected = expected or Expected()
        # -P: what lies in the working directory must not be imported.
        self._command = tuple(command) or (sys.executable, "-P", "-m", _MODULE)
        self._hanging: asyncio.subprocess.Process | None = None

    async def quick(self) -> DoctorReport:
        """One round of quick checks. Raises ClusterError."""
        return await self._round()

    async def full(self, only: Sequence[str] = ()) -> DoctorReport:
        """One round of all checks, or of ``only`` some. Raises ClusterError, InvalidInput."""
        return await self._round("--full", *(f"--only={word}" for word in only))

    async def _round(self, *arguments: str) -> DoctorReport:
        if self._hanging is not None and self._hanging.returncode is None:
            raise ClusterError(
                f"the doctor's process {self._hanging.pid} on {self._node_id} still hangs",
                next_step="look what it waits for",
            )
        self._hanging = None
        try:
            child = await asyncio.create_subprocess_exec(
                *self._command,
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                # Ctrl-C is for the server.
                start_new_session=True,
            )
        except OSError as error:
            raise ClusterError(f"cannot run the doctor on {self._node_id}: {error.strerror}") from None
        try:
            told, complaint = await asyncio.wait_for(
                child.communicate(msgspec.json.encode(self.expected)), TIME_LIMIT_S
            )
        except TimeoutError:
            raise ClusterError(f"the doctor on {self._node_id} did not end within {TIME_LIMIT_S:g} s") from None
        finally:
            await self._end(child)
        if child.returncode:
            last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
            if child.returncode == _USAGE:
                raise InvalidInput(last, field="only", next_step="hrm doctor --list shows all checks")
            raise ClusterError(f"the doctor on {self._node_id} ended with {child.returncode}: {last}")
        try:
            return replace(msgspec.json.decode(told, type=DoctorReport), node=self._node_id)
        except msgspec.MsgspecError as error:
            raise ClusterError(f"the doctor on {self._node_id} told nonsense: {error}") from None

    async def _end(self, child: asyncio.subprocess.Process) -> None:
        """Have it ended, whatever becomes of the round. What waits in the kernel does not go by being killed."""
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(child.wait(), KILL_S)
            self._hanging = child
