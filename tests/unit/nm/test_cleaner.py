"""What a node clears away, and what it never does."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from hrm.model.cleaning import CleanPolicy, Freed
from hrm.nm.cleaner import RECORD_AGE_S, Cleaner
from hrm.nm.shepherd import records

DAY_S = 86400.0


class Node:
    """A node's directory with containers of all kinds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for folder in records.FOLDERS:
            (path / folder).mkdir()
        self.cleaner = Cleaner(path)

    def container(
        self, seq: int, *, app: int = 1, state: str = records.EXITS, days: float = 0.0, log: int = 0, scratch: int = 0
    ) -> str:
        """One that ended ``days`` ago and left so many bytes; its id."""
        name = f"container_e01_1763900000000_{app:04d}_01_{seq:06d}"
        home = self.path / records.CONTAINERS / name
        home.mkdir()
        if scratch:
            (home / "data").write_bytes(b"x" * scratch)
        if log:
            (self.path / records.LOGS / f"{name}.stdout").write_bytes(b"x" * log)
        record = self.path / state / name
        record.write_bytes(b"{}\n")
        at = time.time() - days * DAY_S
        os.utime(record, (at, at))
        return name

    def clean(self, *spare: str, dry_run: bool = False, budget_s: float = 60.0, **policy: float) -> Freed:
        return self.cleaner.clean(CleanPolicy(**policy), spare=spare, dry_run=dry_run, budget_s=budget_s)  # type: ignore[arg-type]

    def of(self, folder: str) -> list[str]:
        return sorted(os.listdir(self.path / folder))

    @property
    def everything(self) -> dict[str, list[str]]:
        return {folder: self.of(folder) for folder in records.FOLDERS}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_what_is_older_than_its_age_goes_each_kind_by_its_own(node: Node) -> None:
    old = node.container(1, days=8, log=10, scratch=10)
    middle = node.container(2, days=3, log=10, scratch=10)
    young = node.container(3, days=1, log=10, scratch=10)

    freed = node.clean(scratch_age_s=2 * DAY_S, logs_age_s=7 * DAY_S)

    assert (freed.scratch, freed.logs, freed.more) == (2, 1, False)
    assert node.of(records.CONTAINERS) == [young]
    assert node.of(records.LOGS) == [f"{middle}.stdout", f"{young}.stdout"]
    assert old not in node.of(records.EXITS), "nobody asks for a record whose output is gone"
    assert node.of(records.EXITS) == [middle, young]


def test_beyond_the_size_the_oldest_go_first(node: Node) -> None:
    names = [node.container(seq, days=10 - seq, log=40 << 10, scratch=40 << 10) for seq in range(5)]

    freed = node.clean(scratch_bytes=100 << 10, logs_bytes=100 << 10)

    assert (freed.scratch, freed.logs) == (3, 3)
    assert freed.logs_bytes == 3 * 40 << 10
    assert node.of(records.CONTAINERS) == names[3:]
    assert node.of(records.LOGS) == [f"{name}.stdout" for name in names[3:]]


def test_what_runs_or_is_not_acknowledged_stays_whatever_its_age_and_size(node: Node) -> None:
    node.container(1, state=records.RUNNING, days=100, log=1 << 20, scratch=1 << 20)
    node.container(2, state=records.ENDED, days=100, log=1 << 20, scratch=1 << 20)
    before = node.everything

    freed = node.clean(scratch_age_s=0, logs_age_s=0, scratch_bytes=0, logs_bytes=0)

    assert freed == Freed()
    assert node.everything == before


def test_applications_that_are_spared_keep_all(node: Node) -> None:
    node.container(1, app=1, days=100, log=10, scratch=10)
    spared = node.container(2, app=2, days=100, log=10, scratch=10)

    node.clean("application_1763900000000_0002", scratch_age_s=DAY_S, logs_age_s=DAY_S)

    assert node.of(records.CONTAINERS) == [spared]
    assert node.of(records.LOGS) == [f"{spared}.stdout"]
    assert node.of(records.EXITS) == [spared]


def test_a_dry_run_says_what_would_go_and_changes_nothing(node: Node) -> None:
    node.container(1, days=3, log=10, scratch=10)
    node.container(2, days=1, log=10, scratch=10)
    before = node.everything

    told = node.clean(scratch_age_s=2 * DAY_S, logs_bytes=0, dry_run=True)

    assert node.everything == before
    assert (told.scratch, told.logs) == (1, 2)
    assert node.clean(scratch_age_s=2 * DAY_S, logs_bytes=0) == told


def test_a_record_stays_for_as_long_as_its_launch_may_be_told_again(node: Node) -> None:
    fresh = node.container(1, log=10)
    stale = node.container(2, days=2 * RECORD_AGE_S / DAY_S, log=10)

    node.clean(logs_age_s=0)

    assert node.of(records.LOGS) == []
    assert fresh in node.of(records.EXITS)
    assert stale not in node.of(records.EXITS)


def test_what_nobody_has_a_record_of_goes_by_its_own_age(node: Node) -> None:
    name = node.container(1, log=10, scratch=10)
    (node.path / records.EXITS / name).unlink()
    old = time.time() - 3 * DAY_S
    for path in (node.path / records.CONTAINERS / name, node.path / records.LOGS / f"{name}.stdout"):
        os.utime(path, (old, old))

    freed = node.clean(scratch_age_s=2 * DAY_S, logs_age_s=2 * DAY_S)

    assert (freed.scratch, freed.logs) == (1, 1)


def test_files_that_are_not_containers_are_left_alone(node: Node) -> None:
    (node.path / records.LOGS / "notes.txt").write_text("x")
    (node.path / records.LOGS / ".hidden.stdout").write_text("x")
    (node.path / records.CONTAINERS / "not an id").mkdir()
    before = node.everything

    assert node.clean(scratch_age_s=0, logs_age_s=0, scratch_bytes=0, logs_bytes=0) == Freed()
    assert node.everything == before


def test_a_log_that_became_a_link_is_unlinked_and_what_it_leads_to_stays(node: Node, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    name = node.container(1, days=3)
    (node.path / records.LOGS / f"{name}.stdout").symlink_to(precious)

    node.clean(logs_age_s=DAY_S)

    assert precious.read_text() == "kept"
    assert node.of(records.LOGS) == []


def test_when_the_time_is_over_there_is_more(node: Node) -> None:
    for seq in range(5):
        node.container(seq, days=3, log=10)

    first = node.clean(logs_age_s=DAY_S, budget_s=0)
    counts = first.logs

    assert first.more
    while (freed := node.clean(logs_age_s=DAY_S, budget_s=0)).logs:
        counts += freed.logs
    assert counts == 5
    assert not node.clean(logs_age_s=DAY_S).more


def test_what_is_forgotten_goes_at_once_with_its_record(node: Node) -> None:
    gone = node.container(1, log=10, scratch=10)
    kept = node.container(2, log=10, scratch=10)

    node.cleaner.forget([gone, "container_never", "../exits", f"{kept}/../{kept}"])

    assert node.of(records.CONTAINERS) == [kept]
    assert node.of(records.LOGS) == [f"{kept}.stdout"]
    assert node.of(records.EXITS) == [kept]


@pytest.mark.parametrize("state", [records.RUNNING, records.ENDED])
def test_what_runs_or_is_not_acknowledged_cannot_be_forgotten(node: Node, state: str) -> None:
    name = node.container(1, state=state, log=10, scratch=10)
    before = node.everything

    node.cleaner.forget([name])

    assert node.everything == before


def test_when_the_node_ends_cleaning_comes_to_an_end_soon(node: Node) -> None:
    for seq in range(5):
        node.container(seq, days=3, log=10, scratch=10)
    node.cleaner.close()

    freed = node.clean(logs_age_s=DAY_S, scratch_age_s=DAY_S)

    assert freed.more
    assert freed.scratch <= 1
