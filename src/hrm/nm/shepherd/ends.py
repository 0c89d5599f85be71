"""How containers ended: written down, told, and kept until that is acknowledged."""

from __future__ import annotations

import os
import time
from typing import Any

from hrm.nm.shepherd import faults, records
from hrm.nm.shepherd.container import Container
from hrm.nm.shepherd.journal import log


class Ends:
    """The ends of one node's containers. Paths are relative: we stand in the state directory."""

    def __init__(self) -> None:
        #: Of those whose end is not acknowledged, by id.
        self.kept: dict[str, dict[str, Any]] = {}
        #: What was told since it was last taken.
        self.news: list[dict[str, Any]] = []

    def write(
        self,
        container: Container,
        *,
        reason: str,
        code: int | None,
        detail: str,
        cpu_s: float | None = None,
        max_rss_mib: int | None = None,
    ) -> None:
        """Write down how it ended, then tell it."""
        record = {
            "id": container.id,
            "reason": reason,
            "code": code,
            "started_at": container.started_at or None,
            "ended_at": time.time(),
            "detail": detail,
            "cpu_s": cpu_s,
            "max_rss_mib": max_rss_mib,
            "dropped": container.dropped,
        }
        path = f"{records.RUNNING}/{container.id}"
        try:
            faults.point("shepherd.exited")
            if container.record_fd < 0:
                container.record_fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            records.append(container.record_fd, record)
            faults.point("shepherd.exit_written")
            os.rename(path, f"{records.ENDED}/{container.id}")
            faults.point("shepherd.exit_recorded")
        except OSError as error:
            # Kept in memory until acknowledged; a successor would have to call it lost.
            log(f"{container.id}: cannot write how it ended: {error}")
        if container.record_fd >= 0:
            os.close(container.record_fd)
        self.kept[container.id] = record
        self.news.append(record)

    def tell_again(self, container_id: str) -> bool:
        """True iff it ended here, acknowledged or not; then that is told again. Raises OSError."""
        if container_id in self.kept:
            self.news.append(self.kept[container_id])
        elif os.path.exists(f"{records.EXITS}/{container_id}"):
            _, record = records.read(f"{records.EXITS}/{container_id}")
            if record:
                self.news.append(record)
            else:
                self.write(Container(container_id), reason="lost", code=None, detail="its record was torn")
        else:
            return False
        return True

    def acknowledge(self, container_ids: list[str]) -> None:
        """The ends of these are safe elsewhere."""
        for container_id in container_ids:
            if self.kept.pop(container_id, None) is not None:
                try:
                    faults.point("shepherd.acknowledge")
                    os.rename(f"{records.ENDED}/{container_id}", f"{records.EXITS}/{container_id}")
                    faults.point("shepherd.acknowledged")
                except OSError as error:
                    # Its end could not be written: no successor may call it lost now.
                    log(f"{container_id}: cannot keep how it ended: {error}")
                    records.unlink(f"{records.RUNNING}/{container_id}")
