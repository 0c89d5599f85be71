"""The run record of a container while it lives: who its process is, written anew when that or its limits change."""

from __future__ import annotations

import os
from typing import Any

from hrm.nm.shepherd import faults, processes, records
from hrm.nm.shepherd.container import Container
from hrm.nm.shepherd.journal import log

#: In a record: nothing of the container ran when it was written, and the next launch was about to begin.
BETWEEN = "between"


class RunRecords:
    """Of one node's containers. The last line of each counts."""

    def __init__(self, boot_id: str) -> None:
        self._boot_id = boot_id

    def began(self, container: Container, first_tick: int) -> None:
        """Its process was made at ``first_tick`` or later."""
        container.identity = {
            "pid": container.pid,
            # When it began, as the kernel will say: to look it up takes longer than all else that is written here.
            "start_ticks": [first_tick, processes.ticks_since_boot()],
            "boot_id": self._boot_id,
            "started_at": container.started_at,
            "limits": container.limits,
            "own_cpus": container.own_cpus,
        }
        if container.account is not None:
            container.identity["account"] = container.account
        if container.launch > 1:
            container.identity["launch"] = container.launch

    def write(self, container: Container) -> None:
        """The first line. Without it, should this shepherd die, its successor finds the process by its environment."""
        assert container.identity is not None
        try:
            faults.point("shepherd.spawned")
            records.append(container.record_fd, container.identity)
        except OSError as error:
            log(f"{container.id}: cannot write its run record: {error}")
            self._wipe(container)

    def note(self, container: Container, **changes: Any) -> None:
        """Write it anew, with ``changes``. Now and then the lines before it go."""
        if container.identity is None:
            return
        container.identity = {**container.identity, **changes}
        try:
            if container.record_fd < 0:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
                container.record_fd = os.open(f"{records.RUNNING}/{container.id}", flags)
            if os.fstat(container.record_fd).st_size > records.MAX_RECORD_BYTES // 4:
                os.ftruncate(container.record_fd, 0)
            records.append(container.record_fd, container.identity)
        except OSError as error:
            log(f"{container.id}: cannot write its run record anew: {error}")

    @staticmethod
    def _wipe(container: Container) -> None:
        """No half line may stand before the next."""
        try:
            os.ftruncate(container.record_fd, 0)
        except OSError as error:
            log(f"{container.id}: cannot mend its run record: {error}")
