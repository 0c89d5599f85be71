"""Another weight for a queue: first what it would do, then into the file and into force."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrm.config.edit import with_queue_weight
from hrm.config.files import write_whole
from hrm.model.errors import ClusterError, Conflict, InvalidInput
from hrm.model.reports import ReloadReport

#: Largest weight that is taken; a larger one is a slip of the pen.
MOST = 1000.0
#: How long the simulation of a preview may take, and how far it looks.
_PREVIEW_LIMIT_S = 60.0
_PREVIEW_SPAN = "7d"
_MAX_ERROR_CHARS = 500


@dataclass(frozen=True, slots=True)
class QueueChange:
    """One queue as it is and as it would be. Shares are of the cluster while the queue has demand; None if never."""

    queue: str
    share: tuple[float | None, float | None]
    #: Mean waiting time of its applications, in seconds.
    mean_wait_s: tuple[float | None, float | None]


class Weights:
    """Changes ``file``, the configuration of the server at ``home``; ``reload`` has the server read it anew."""

    def __init__(self, file: Path | None, home: Path, reload: Callable[[], Awaitable[ReloadReport]]) -> None:
        self._file = file
        self._home = home
        self._reload = reload
        self._changing = asyncio.Lock()

    async def preview(self, queue: str, weight: float) -> list[QueueChange]:
        """What runs and waits now under either weight. Raises InvalidInput and ClusterError.

        The simulation is `hrm simulate --from-live` in a process of its own: it would hold the server's interpreter.
        """
        changed = await asyncio.to_thread(self._changed, queue, weight)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
            file.write(changed)
            file.flush()
            reports = await self._simulate(file.name)
        today, other = ({one["queue"]: one for one in reports[name]["queues"]} for name in ("today", "changed"))
        return [
            QueueChange(
                name,
                share=(one["share"], other[name]["share"]),
                mean_wait_s=(one["wait_s"]["mean"], other[name]["wait_s"]["mean"]),
            )
            for name, one in today.items()
            if name in other and (one["jobs"] or name == queue)
        ]

    async def save(self, queue: str, weight: float) -> None:
        """Write it into the file and have it in force, or leave both as they were and raise."""
        async with self._changing:
            before = await asyncio.to_thread(self._read)
            await asyncio.to_thread(self._write, await asyncio.to_thread(self._changed, queue, weight))
            try:
                await self._reload()
            except BaseException:
                await asyncio.to_thread(self._write, before)
                raise

    def _changed(self, queue: str, weight: float) -> str:
        if not 0 < weight <= MOST:
            raise InvalidInput(f"must be above 0, and at most {MOST:g}: {weight:g}", field="weight")
        return with_queue_weight(self._read(), queue, weight)

    def _read(self) -> str:
        if self._file is None:
            raise Conflict(
                "this server has no configuration file to change",
                next_step="`hrm config init` writes one; it is read at the next start",
            )
        return self._file.read_text(encoding="utf-8")

    def _write(self, text: str) -> None:
        assert self._file is not None
        target = self._file.resolve()
        write_whole(target, text.encode(), mode=target.stat().st_mode & 0o777)

    async def _simulate(self, file: str) -> dict[str, Any]:
        words = ["simulate", "--from-live", "--config", file, "--until", _PREVIEW_SPAN, "-o", "json"]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HRM_")}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "hrm.cli.main", *words,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={**kept, "HRM_HOME": str(self._home)},
        )  # fmt: skip
        try:
            async with asyncio.timeout(_PREVIEW_LIMIT_S):
                out, err = await process.communicate()
        except TimeoutError:
            raise ClusterError(
                f"the preview took more than {_PREVIEW_LIMIT_S:g} s", next_step="try `hrm simulate --from-live` by hand"
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            said = err.decode(errors="replace").strip().removeprefix("hrm: ")[-_MAX_ERROR_CHARS:]
            raise InvalidInput(f"there is nothing to show: {said}")
        found: dict[str, Any] = json.loads(out)
        return found
