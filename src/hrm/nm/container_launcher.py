"""The ContainerLauncher: has the shepherd start what a NodeManager is told to launch, with all that it needs.

Users are looked up and files are brought before; commands that follow a launch wait for it, so that none overtakes it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from hrm.model.containers import LaunchSpec
from hrm.model.errors import Conflict
from hrm.model.files import FileSettings
from hrm.nm import prepared
from hrm.nm.accounts import ROOT, Account, Accounts
from hrm.nm.application_dirs import ApplicationDirs
from hrm.nm.environment import base_environment, container_environment
from hrm.nm.gpus.node_gpus import NodeGpus
from hrm.nm.preparing import Preparations
from hrm.nm.public_cache import PublicCache
from hrm.nm.rules import Rules
from hrm.nm.shepherd import records
from hrm.nm.shepherd_client import ShepherdClient
from hrm.nm.staging import Staging

#: An order for a container that runs does not wait longer for copies for all users.
_PUBLIC_S = 20.0
_log = structlog.get_logger(__name__)


class ContainerLauncher:
    """See the module. ``spawn`` runs what takes time beside; ``never_began`` is told of one that cannot, and why.

    ``is_wanted``: whether one that had to wait is still to be started.
    """

    def __init__(
        self,
        node_id: str,
        state_dir: Path,
        client: ShepherdClient,
        *,
        rules: Rules,
        gpus: NodeGpus,
        files: FileSettings,
        staging: Staging,
        applications: ApplicationDirs,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        is_wanted: Callable[[str], bool],
        never_began: Callable[[str, str], None],
    ) -> None:
        self._node_id = node_id
        self._state_dir = state_dir
        #: As text: a path is put together for every launch.
        self._work_dirs = str(state_dir / records.CONTAINERS)
        self._client = client
        self._rules = rules
        self._gpus = gpus
        #: As the server wants it now.
        self.files = files
        self._staging = staging
        self._applications = applications
        self._spawn = spawn
        self._is_wanted = is_wanted
        self.preparations = Preparations(never_began)
        self._base_environment = base_environment()
        #: None where all containers run as we do.
        self._accounts = Accounts() if rules.as_users else None
        self._public = PublicCache(state_dir)
        #: Commands that wait until the users of a launch before them are looked up.
        self._queue: deque[tuple[Collection[str], Callable[[], None]]] = deque()

    def launch(self, specs: Sequence[LaunchSpec]) -> None:
        """Start these, in order."""
        users = {spec.user for spec in specs} - {ROOT}
        self.in_turn(lambda: self._launch(specs), users)

    def in_turn(self, command: Callable[[], None], users: Collection[str] = ()) -> None:
        """Do it now, unless ``users`` must be looked up first, or another command waits for that."""
        if self._queue or (self._accounts and self._accounts.unknown(users)):
            self._queue.append((users, command))
            if len(self._queue) == 1:
                self._spawn(self._look_up_users())
        else:
            command()

    async def _look_up_users(self) -> None:
        while self._queue:
            users, command = self._queue[0]
            if self._accounts:
                await self._accounts.learn(self._accounts.unknown(users))
            command()
            self._queue.popleft()

    def _launch(self, specs: Sequence[LaunchSpec]) -> None:
        for spec in specs:
            if not self._is_wanted(spec.container_id):
                # The node registered anew while this waited: it was told as lost, or is asked for again.
                continue
            account = self._accounts.get(spec.user) if self._accounts and spec.user != ROOT else None
            if account and not account.refused and spec.upload is None and prepared.has_context(spec):
                copies = self._public.get(spec)
                self.preparations.begin(spec.container_id, copies, partial(self._start, spec, account))
            elif spec.upload is None or (account and account.refused):
                self._start(spec, account)
            else:
                prepare = self._staging.put(
                    spec.container_id,
                    spec.upload,
                    user=spec.user,
                    owner=(account.uid, account.gid) if account else None,
                    umask=self._rules.settings.umask,
                )
                self.preparations.begin(spec.container_id, prepare, partial(self._start, spec, account, staged=True))

    async def program_anew(self, spec: LaunchSpec) -> dict[str, Any]:
        """What the shepherd is told to run in a container that runs already. Raises Conflict for a user who is gone."""
        account = None
        if self._accounts and spec.user != ROOT:
            await self._accounts.learn(self._accounts.unknown({spec.user}))
            account = self._accounts.get(spec.user)
            if account.refused:
                raise Conflict(account.refused)
            if prepared.has_context(spec):
                try:
                    await asyncio.wait_for(self._public.get(spec), _PUBLIC_S)
                except TimeoutError:
                    # Its user fetches them.
                    _log.info("copies for all users take long", container=spec.container_id)
        return self._program(spec, account) | (prepared.kept(spec) or {"retry": None, "links": []})

    def _program(self, spec: LaunchSpec, account: Account | None) -> dict[str, Any]:
        """See `hrm.nm.shepherd.launches.PROGRAM_FIELDS`."""
        work_dir = f"{self._work_dirs}/{spec.container_id}"
        env = container_environment(
            {**self._base_environment, **account.environment} if account else self._base_environment,
            spec,
            node_id=self._node_id,
            work_dir=work_dir,
            visible_devices=self._gpus.visible(spec.device_ids),
        )
        argv: Sequence[str] = spec.command
        if prepared.has_context(spec):
            argv = prepared.program()
            ours = prepared.variables(self._cache_dir(account), self._application_dir(spec, account))
            env = ours | env | self._public.variables(spec.container_id)
        elif spec.python_env is not None:
            argv, more = prepared.in_python_env(spec, self.files, self._cache_dir(account))
            env = more | env
        return {"argv": argv, "env": env, "workdir": spec.workdir, "umask": self._rules.settings.umask}

    def _start(self, spec: LaunchSpec, account: Account | None, *, staged: bool = False) -> None:
        terminal = spec.terminal
        nodes = [path for device_id in spec.device_ids for path in self._gpus.device_nodes(device_id)]
        self._client.launch(
            {
                "id": spec.container_id,
                **self._program(spec, account),
                "again": prepared.kept(spec),
                "stdin": spec.stdin,
                "terminal": [terminal.rows, terminal.columns] if terminal else None,
                "log_limit_bytes": spec.log_limit_bytes,
                "limits": self._rules.limits(spec, nodes),
                "account": account.as_fields() if account else None,
                "staged": staged,
            }
        )

    def _cache_dir(self, account: Account | None) -> Path:
        if account is not None and account.refused:
            account = None
        try:
            return prepared.make_cache(self._state_dir, account)
        except OSError as error:
            # The container will say so, who is to write there.
            _log.error("cannot make the cache for containers' files", error=str(error))
            return self._state_dir / prepared.CACHE

    def _application_dir(self, spec: LaunchSpec, account: Account | None) -> Path:
        if account is not None and account.refused:
            # It does not begin.
            return self._applications.folder
        try:
            return self._applications.make(spec.application_id, account)
        except OSError as error:
            # As above.
            _log.error("cannot make the directory of an application", error=str(error))
            return self._applications.folder
