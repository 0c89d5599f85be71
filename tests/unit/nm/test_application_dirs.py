"""When the directory of an application on a node is made, stays and goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.nm.application_dirs import FRESH_S, ApplicationDirs
from hrm.nm.shepherd import records
from hrm.nm.usage import ApplicationShares

ONE, TWO = "application_1763900000000_0001", "application_1763900000000_0002"
OF_ONE, ALSO_OF_ONE = "container_e01_1763900000000_0001_01_000001", "container_e01_1763900000000_0001_01_000002"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def dirs(tmp_path: Path, clock: Clock) -> ApplicationDirs:
    return ApplicationDirs(tmp_path, clock=clock)


def test_it_is_made_once_for_its_user_alone(dirs: ApplicationDirs) -> None:
    path = dirs.make(ONE, None)
    (path / "left").touch()
    assert dirs.make(ONE, None) == path
    assert path.stat().st_mode & 0o7777 == 0o700
    assert (path / "left").exists()


def test_it_goes_when_its_application_is_over_and_nothing_of_it_runs_here(dirs: ApplicationDirs) -> None:
    dirs.make(ONE, None)
    dirs.make(TWO, None)
    assert dirs.settled(list) == [], "nobody said that it is over"
    dirs.end([ONE, "application_1763900000000_0003"])
    assert dirs.settled(lambda: [OF_ONE]) == []
    assert dirs.settled(list) == [ONE]
    assert dirs.settled(list) == [], "once is enough"


def test_what_was_left_is_found_when_it_is_said_which_live(dirs: ApplicationDirs, clock: Clock) -> None:
    dirs.make(ONE, None)
    dirs.make(TWO, None)
    clock.now = FRESH_S
    assert dirs.left({TWO}, []) == [ONE]
    assert dirs.left({TWO}, [OF_ONE]) == [], "it runs here"


def test_who_has_just_begun_is_not_taken_for_left(dirs: ApplicationDirs, clock: Clock) -> None:
    dirs.make(ONE, None)
    clock.now = FRESH_S - 1
    assert dirs.left(set(), []) == []


def test_a_node_that_begins_anew_finds_what_another_life_left(tmp_path: Path, dirs: ApplicationDirs) -> None:
    dirs.make(ONE, None)
    assert ApplicationDirs(tmp_path).left(set(), []) == [ONE]


def test_what_containers_share_counts_for_each_that_was_here_alike(tmp_path: Path, dirs: ApplicationDirs) -> None:
    (dirs.make(ONE, None) / "data").write_bytes(b"x" * (8 << 20))
    for name in (OF_ONE, ALSO_OF_ONE, "container_e01_1763900000000_0002_01_000001"):
        (tmp_path / records.CONTAINERS / name).mkdir(parents=True)
    shares = ApplicationShares(tmp_path, 5.0)
    assert [shares.mib(name, 0.0) for name in (OF_ONE, ALSO_OF_ONE)] == [4, 4]
    assert shares.mib("container_e01_1763900000000_0002_01_000001", 0.0) == 0
    (tmp_path / records.CONTAINERS / ALSO_OF_ONE).rmdir()
    assert [shares.mib(OF_ONE, at) for at in (4.0, 5.0)] == [4, 8], "it is walked now and then"
