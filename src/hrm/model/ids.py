"""Identities, in YARN's forms.

``application_1763900000000_0017``, its second attempt ``appattempt_1763900000000_0017_000002`` and a container of it
``container_e03_1763900000000_0017_02_000005``. The first number is the cluster's time stamp (ms, fixed when its store
was made); ``e03`` is the epoch, which grows with each start of the ResourceManager, so that a counter that starts anew
never makes an id twice (YARN-556).

One id has one text: a form with other leading zeros is refused, because ids name directories and rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hrm.model.errors import InvalidInput

_APPLICATION = re.compile(r"application_([0-9]{1,18})_([0-9]{4,10})")
_ATTEMPT = re.compile(r"appattempt_([0-9]{1,18})_([0-9]{4,10})_([0-9]{6,10})")
_CONTAINER = re.compile(r"container_e([0-9]{2,10})_([0-9]{1,18})_([0-9]{4,10})_([0-9]{2,10})_([0-9]{6,12})")
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,254}")


@dataclass(frozen=True, slots=True, order=True)
class ApplicationId:
    """One submitted application."""

    cluster_timestamp: int
    seq: int

    def __str__(self) -> str:
        return f"application_{self.cluster_timestamp}_{self.seq:04d}"

    @classmethod
    def parse(cls, text: str) -> ApplicationId:
        """The id that prints as ``text``. Raises InvalidInput."""
        if match := _APPLICATION.fullmatch(text):
            found = cls(*map(int, match.groups()))
            if str(found) == text:
                return found
        raise InvalidInput(f"not an application id: {text!r:.80}", next_step="`hrm ps --all` lists them")


@dataclass(frozen=True, slots=True, order=True)
class AttemptId:
    """One run of an application's master; ``number`` starts at 1."""

    application: ApplicationId
    number: int

    def __str__(self) -> str:
        app = self.application
        return f"appattempt_{app.cluster_timestamp}_{app.seq:04d}_{self.number:06d}"

    @classmethod
    def parse(cls, text: str) -> AttemptId:
        """The id that prints as ``text``. Raises InvalidInput."""
        if match := _ATTEMPT.fullmatch(text):
            stamp, seq, number = map(int, match.groups())
            found = cls(ApplicationId(stamp, seq), number)
            if str(found) == text:
                return found
        raise InvalidInput(f"not an application attempt id: {text!r:.80}")


@dataclass(frozen=True, slots=True, order=True)
class ContainerId:
    """One grant of resources on one node, used once."""

    attempt: AttemptId
    epoch: int
    seq: int

    def __str__(self) -> str:
        app, attempt = self.attempt.application, self.attempt.number
        return f"container_e{self.epoch:02d}_{app.cluster_timestamp}_{app.seq:04d}_{attempt:02d}_{self.seq:06d}"

    @classmethod
    def parse(cls, text: str) -> ContainerId:
        """The id that prints as ``text``. Raises InvalidInput."""
        if match := _CONTAINER.fullmatch(text):
            epoch, stamp, app, attempt, seq = map(int, match.groups())
            found = cls(AttemptId(ApplicationId(stamp, app), attempt), epoch, seq)
            if str(found) == text:
                return found
        raise InvalidInput(f"not a container id: {text!r:.80}", next_step="`hrm history APP` lists them")


def parse_node_id(text: str) -> str:
    """A node's id is its host name, or anything else that fits in a host name. Raises InvalidInput."""
    if not _NODE.fullmatch(text):
        raise InvalidInput(
            f"not a node id: {text!r:.80}", field="node_id", next_step="use letters, digits, '.', '_', ':', '-'"
        )
    return text


def short_id(application_id: str) -> str:
    """``17`` for ``application_1763900000000_0017``, which every command takes."""
    return application_id.rpartition("_")[2].lstrip("0") or "0"
