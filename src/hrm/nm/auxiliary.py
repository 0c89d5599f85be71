"""Auxiliary services of a node: programs that run beside its containers, are kept running, and end with it.

The shepherd runs them as it runs containers: they outlive the server and are found again, and their output is bounded.
The ResourceManager does not hear of them but by what the node offers. Several nodes of one machine share its ports: who
comes second finds that a program of the same user has the port, leaves it at that, and starts its own when it is gone.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from hrm.model.auxiliary import AuxiliaryService
from hrm.nm.accounts import Account, look_up
from hrm.nm.environment import base_environment
from hrm.nm.ports import listeners_on
from hrm.nm.prepare.script import FROM_NODE
from hrm.nm.shepherd import records
from hrm.nm.shepherd_client import ShepherdClient

_log = structlog.get_logger(__name__)
#: Under the state directory: a folder for each, which stays over its lives.
FOLDER = "services"
#: How often it is looked how they do.
LOOK_S = 2.0
#: Between two starts of one that ends; after a life of `GOOD_LIFE_S` the next start is quick again.
RESTART_S, RESTART_MAX_S, GOOD_LIFE_S = 1.0, 60.0, 60.0
#: TERM, then this long, then KILL.
GRACE_S = 10.0


@dataclass(slots=True)
class _Kept:
    """One of them, and how it does."""

    service: AuxiliaryService
    #: None iff as our own user.
    account: Account | None = None
    #: Of the process that we have, None iff we have none.
    container_id: str | None = None
    began_at: float = 0.0
    #: How long its next start waited for; 0 iff it never ended.
    waits_s: float = 0.0
    next_at: float = 0.0
    #: True iff whoever needs it finds it.
    serves: bool = False
    #: What is wrong with it, in words; "" iff nothing.
    problem: str = ""

    @property
    def uid(self) -> int:
        return self.account.uid if self.account else os.geteuid()


class AuxiliaryServices:
    """Of one node; all of it on its loop. ``changed`` is called where `offers` or `message` is not what it was."""

    def __init__(
        self,
        node_id: str,
        state_dir: Path,
        client: ShepherdClient,
        *,
        umask: int,
        changed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node_id = node_id
        self._state_dir = state_dir
        self._client = client
        self._umask = umask
        self._changed = changed
        self._clock = clock
        self._kept: dict[str, _Kept] = {}

    @property
    def offers(self) -> tuple[str, ...]:
        """Those that run, as `hrm.model.nodes.NodeSpec.offers` has it."""
        return tuple(one.service.offer for one in self._kept.values() if one.serves)

    @property
    def message(self) -> str:
        """What is wrong with them, in one line; "" iff nothing."""
        return "; ".join(f"{one.service.offer}: {one.problem}" for one in self._kept.values() if one.problem)

    async def take(self, services: Sequence[AuxiliaryService]) -> int | None:
        """These are to run, and no others. The id of the group that may read what containers leave for them, if any."""
        before, self._kept = self._kept, {}
        for service in services:
            kept = before.pop(service.name, None)
            if kept is None or kept.service != service:
                if kept is not None:
                    before[service.name] = kept
                kept = _Kept(service)
            self._kept[service.name] = kept
        self._stop([kept.container_id for kept in before.values() if kept.container_id is not None])
        readers = [await self._find_account(kept) for kept in self._kept.values()]
        return next((gid for gid in readers if gid is not None), None)

    @staticmethod
    async def _find_account(kept: _Kept) -> int | None:
        """Look up as whom it runs; the user's group, None where it is our own user."""
        user = kept.service.user
        account = None if user is None else await asyncio.to_thread(look_up, user)
        if account is None or account.uid == os.geteuid():
            return None
        kept.account = account
        if os.geteuid() != 0:
            kept.problem = f"only a server of root's can run it as {account.name}"
        else:
            kept.problem = account.refused
        return None if kept.problem else account.gid

    # What the shepherd tells

    def greeted(self, greeting: Mapping[str, Any]) -> dict[str, Any]:
        """Find those again that run; the greeting without them."""
        for kept in self._kept.values():
            kept.container_id = None
        running, others = _parted(greeting["running"])
        over, other_ends = _parted(greeting["ended"])
        strangers = []
        for container_id in running:
            name, digest = records.service_of(container_id)
            kept_one = self._kept.get(name)
            if kept_one and kept_one.container_id is None and kept_one.service.digest == digest:
                kept_one.container_id, kept_one.began_at = container_id, self._clock()
            else:
                strangers.append(container_id)
        self._stop(strangers)
        self._acknowledge(list(over))
        return {**greeting, "running": others, "ended": other_ends}

    def heard(self, news: Mapping[str, Any]) -> dict[str, Any]:
        """Take note of those that ended; the news without them."""
        _, others = _parted(news.get("started", ()))
        over, other_ends = _parted(news.get("ended", ()))
        for entry in over.values():
            self._ended(entry)
        self._acknowledge(list(over))
        return {**news, "started": others, "ended": other_ends}

    def _ended(self, entry: Mapping[str, Any]) -> None:
        kept = next((one for one in self._kept.values() if one.container_id == entry["id"]), None)
        if kept is None:
            return
        good = self._clock() - kept.began_at >= GOOD_LIFE_S
        kept.waits_s = RESTART_S if good or not kept.waits_s else min(2 * kept.waits_s, RESTART_MAX_S)
        kept.container_id, kept.next_at = None, self._clock() + kept.waits_s
        how = entry["detail"] or f"exit code {entry['code']}"
        said = self._state_dir / records.LOGS / f"{entry['id']}.stderr"
        kept.problem = f"it ended ({how}); see {said}"
        kept.serves = False
        _log.warning("an auxiliary service ended", name=kept.service.name, how=how, log=str(said), again_s=kept.waits_s)
        self._changed()

    def _acknowledge(self, container_ids: list[str]) -> None:
        if container_ids:
            self._client.send({"op": "ack", "ids": container_ids})

    def _stop(self, container_ids: list[str]) -> None:
        if container_ids:
            self._client.send({"op": "stop", "ids": container_ids, "grace_s": GRACE_S})

    # Keeping them

    async def watch(self) -> None:
        """Start them, and start them anew when they end, until cancelled."""
        while True:
            if self._kept:
                await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """How they do now; those that are to begin begin."""
        before = self.offers, self.message
        for kept in list(self._kept.values()):
            port = kept.service.port
            self._judge(kept, set() if port is None else await asyncio.to_thread(listeners_on, port))
        if (self.offers, self.message) != before:
            self._changed()

    def _judge(self, kept: _Kept, listeners: set[int]) -> None:
        port = kept.service.port
        if kept.container_id is not None:
            kept.serves = port is None or kept.uid in listeners
            kept.problem = "" if kept.serves else f"it does not listen on port {port} yet"
        elif listeners:
            # Another node of this machine has it.
            kept.serves = listeners == {kept.uid}
            others = ", ".join(map(str, sorted(listeners - {kept.uid})))
            kept.problem = "" if kept.serves else f"port {port} is taken by a program of user id {others}"
        else:
            kept.serves = False
            if self._clock() >= kept.next_at and self._client.is_connected and not self._cannot_run(kept):
                self._start(kept)

    @staticmethod
    def _cannot_run(kept: _Kept) -> bool:
        return kept.account is not None and bool(kept.account.refused or os.geteuid() != 0)

    def _start(self, kept: _Kept) -> None:
        service, account = kept.service, kept.account
        try:
            home = self._make_home(service.name, account)
        except OSError as error:
            kept.problem = f"it cannot begin: {error}"
            return
        # A new one for each life: an id is good for one.
        container_id = records.service_id(service.name, service.digest, f"{time.time_ns():x}")
        kept.container_id, kept.began_at = container_id, self._clock()
        _log.info("starting an auxiliary service", name=service.name, container=container_id)
        meant = {
            "{{LOCAL_DIRS}}": str(self._state_dir / records.APPLICATIONS),
            "{{PORT}}": str(service.port or ""),
            "{{PWD}}": str(home),
        }
        self._client.launch(
            {
                "id": container_id,
                "argv": [_said(word, meant) for word in service.command],
                "env": {
                    **base_environment(),
                    **(account.environment if account else {}),
                    **{name: os.environ[name] for name in FROM_NODE if name in os.environ},
                    **{name: _said(value, meant) for name, value in service.env.items()},
                    "HRM_NODE_ID": self._node_id,
                    "HRM_CONTAINER_ID": container_id,
                    "HRM_CONTAINER_DIR": str(self._state_dir / records.CONTAINERS / container_id),
                    # GPUs are for who was granted one.
                    "CUDA_VISIBLE_DEVICES": "",
                },
                "workdir": str(home),
                "stdin": False,
                "terminal": None,
                "log_limit_bytes": service.log_limit_bytes,
                "limits": None,
                "account": account.as_fields() if account else None,
                "umask": self._umask,
                "staged": False,
            }
        )

    def _make_home(self, name: str, account: Account | None) -> Path:
        """Its own folder, in which it begins each time. Raises OSError."""
        folder = self._state_dir / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        home = folder / name
        home.mkdir(mode=0o700, exist_ok=True)
        if account is not None:
            # As with containers' directories: what is above lets others through and shows them nothing.
            self._state_dir.chmod(0o711)
            folder.chmod(0o711)
            os.chown(home, account.uid, account.gid, follow_symlinks=False)
        return home

    def close(self, *, alone: bool) -> None:
        """The server ends. What nobody uses any more (they are ``alone`` here) ends with it."""
        if alone:
            self._stop([kept.container_id for kept in self._kept.values() if kept.container_id is not None])


def _said(text: str, meant: Mapping[str, str]) -> str:
    """With what stands for the node's own ways written out."""
    for name, value in meant.items():
        text = text.replace(name, value)
    return text


def _parted(entries: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Mapping[str, Any]], list[Mapping[str, Any]]]:
    """(those of services, by id; the others)."""
    services = {entry["id"]: entry for entry in entries if records.is_service(entry["id"])}
    return services, [entry for entry in entries if entry["id"] not in services] if services else list(entries)
