"""Identities, in YARN's forms.

``application_1763900000000_0017``, its second attempt ``appattempt_1763900000000_0017_000002`` and a container of it
``container_e03_1763900000000_0017_02_000005``. The first number is the cluster's time stamp (ms, fixed when its store
was made); ``e03`` is the epoch, which grows with each start of the ResourceManager, so that a counter that starts anew
never makes an id twice (YARN-556).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hrm.model.errors import InvalidInput

_APPLICATION = re.compile(r"^application_(\d{1,18})_(\d{4,10})$")
_ATTEMPT = re.compile(r"^appattempt_(\d{1,18})_(\d{4,10})_(\d{6,10})$")
_CONTAINER = re.compile(r"^container_e(\d{2,10})_(\d{1,18})_(\d{4,10})_(\d{2,10})_(\d{6,12})$")
_NODE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,254}$")


@dataclass(frozen=True, slots=True, order=True)
class ApplicationId:
    """One submitted application."""

    cluster_timestamp: int
    seq: int

    def __str__(self) -> str:
        return f"application_{self.cluster_timestamp}_{self.seq:04d}"

    @classmethod
    def parse(cls, text: str) -> ApplicationId:
        if match := _APPLICATION.match(text):
            return cls(*map(int, match.groups()))
        raise InvalidInput(f"not an application id: {text!r}", next_step="`hrm ps --all` lists them")


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
        if match := _ATTEMPT.match(text):
            stamp, seq, number = map(int, match.groups())
            return cls(ApplicationId(stamp, seq), number)
        raise InvalidInput(f"not an application attempt id: {text!r}")


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
        if match := _CONTAINER.match(text):
            epoch, stamp, app, attempt, seq = map(int, match.groups())
            return cls(AttemptId(ApplicationId(stamp, app), attempt), epoch, seq)
        raise InvalidInput(f"not a container id: {text!r}", next_step="`hrm history APP` lists them")


def parse_node_id(text: str) -> str:
    """A node's id is its host name, or anything else that fits in a host name. Raises InvalidInput."""
    if not _NODE.match(text):
        raise InvalidInput(f"not a node id: {text!r}", field="node_id", next_step="use letters, digits, '.', '_', '-'")
    return text
