"""Directories of applications on a node: what their containers share there, for as long as the application lasts.

YARN's ``usercache/USER/appcache/APP``, which `LOCAL_DIRS` names: what a container leaves there others read, also when
it has ended. Under the state directory ``applications/ID``, which is its user's alone; the folder above lets others
through and shows them nothing. A directory goes when the ResourceManager says that the application is over and
nothing of it runs here any more; where that word was lost, when it is next said which applications live.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import structlog

from hrm.nm.accounts import Account
from hrm.nm.cleaner import application_of
from hrm.nm.shepherd import records

_log = structlog.get_logger(__name__)
#: Who had a container begin here so short a while ago may live, though a word that is on its way does not know it.
FRESH_S = 60.0


class ApplicationDirs:
    """Of one node; all of it on its loop. ``reader_gid``: of the group that may read what is there; None: nobody."""

    def __init__(
        self, state_dir: Path, *, reader_gid: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder = state_dir / records.APPLICATIONS
        self.reader_gid = reader_gid
        self._clock = clock
        #: When each last had a container begin here.
        self._used_at: dict[str, float] = {}
        #: Those that are over, and of which something may still run.
        self._over: set[str] = set()

    def make(self, application_id: str, account: Account | None) -> Path:
        """The application's directory, for ``account`` alone (None: our own user). Raises OSError."""
        self._used_at[application_id] = self._clock()
        path = self.folder / application_id
        self.folder.mkdir(mode=0o711, exist_ok=True)
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            found = path.lstat()
            if (account is None or found.st_uid == account.uid) and self.reader_gid in (None, found.st_gid):
                return path
            # We were ended before it was given to its user, or who may read it is new.
        if account is not None or self.reader_gid is not None:
            self.folder.chmod(0o711)
            gid = self.reader_gid if self.reader_gid is not None else account.gid if account else -1
            # Only we can put something in its place, so that this follows no link.
            os.chown(path, account.uid if account else -1, gid, follow_symlinks=False)
        if self.reader_gid is not None:
            # What is made in it is of that group too.
            path.chmod(0o2750)
        return path

    def end(self, application_ids: Iterable[str]) -> None:
        """These are over: what they have here goes as soon as `settled` says so."""
        self._over |= self.names().intersection(application_ids)

    def settled(self, here: Callable[[], Iterable[str]]) -> list[str]:
        """Those that are over and have none of the containers ``here``; each is named once."""
        if not self._over:
            return []
        staying = self._over & {application_of(container_id) for container_id in here()}
        gone, self._over = self._over - staying, staying
        for application_id in gone:
            self._used_at.pop(application_id, None)
        return sorted(gone)

    def left(self, living: Collection[str], here: Iterable[str]) -> list[str]:
        """Those with a directory that are not ``living``, have no container ``here`` and had none begin lately."""
        now = self._clock()
        self._used_at = {name: at for name, at in self._used_at.items() if now - at < FRESH_S}
        staying = {application_of(container_id) for container_id in here} | self._used_at.keys() | set(living)
        return sorted(self.names() - staying)

    def names(self) -> set[str]:
        """Applications that have a directory here."""
        try:
            return set(os.listdir(self.folder))
        except FileNotFoundError:
            return set()
        except OSError as error:
            _log.warning("cannot look at the directories of applications", error=str(error))
            return set()
