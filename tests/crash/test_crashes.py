"""Server and shepherd are killed at random moments and at every point of a container's way; ledgers tell the truth."""

from __future__ import annotations

import itertools
import os
import random
import time
from pathlib import Path

import pytest

from hrm.nm.shepherd import faults
from hrm.testing import eventually
from hrm.testing.mortal import Ledger, MortalServer

_SEEDS = int(os.environ.get("HRM_CRASH_SEEDS", "0"))
_FIRST_SEED = int(os.environ.get("HRM_CRASH_FIRST_SEED", "1"))
_SEEDS_BY_DEFAULT = 50
#: In a run of everything a few of the cases are enough.
_FEW_SEEDS = 2
_FEW_POINTS = ("store.commit", "store.committed", "node.ended", "shepherd.spawned", "shepherd.exit_written")
JOBS, TASKS = 4, 50
VICTIMS = (("server",), ("shepherd",), ("server", "shepherd"))


def seeds() -> list[object]:
    """All are marked ``crash``; the first few run with everything else, too."""
    chosen = range(_FIRST_SEED, _FIRST_SEED + (_SEEDS or _SEEDS_BY_DEFAULT))
    return [pytest.param(seed, marks=marks_of(at < _FEW_SEEDS)) for at, seed in enumerate(chosen)]


def marks_of(always: bool) -> list[pytest.MarkDecorator]:
    return [pytest.mark.crash] if always else [pytest.mark.crash, pytest.mark.real]


@pytest.mark.parametrize("seed", seeds())
def test_what_is_killed_at_random_moments_loses_nothing_and_doubles_nothing(
    server: MortalServer, ledger: Ledger, seed: int
) -> None:
    print(f"seed {seed}: HRM_CRASH_FIRST_SEED={seed} HRM_CRASH_SEEDS=1 pytest -m crash")  # noqa: T201
    chance = random.Random(seed)
    killed: set[str] = set()
    applications = []
    for job in range(JOBS):
        applications.append(server.submit(ledger.job(TASKS), f"job {job}"))
        # A random moment is what is tried here.
        time.sleep(chance.uniform(0, 0.6))
        victims = chance.choice(VICTIMS)
        killed.update(victims)
        if "server" in victims:
            server.kill()
        if "shepherd" in victims:
            server.kill_shepherd()
    for application_id in applications:
        server.ended(application_id)
    ledger.check(server, applications, losses="shepherd" in killed)


def moments() -> list[object]:
    """Each point of a container's way, reached for the first and for a later time, and who dies there."""
    cases: list[object] = []
    points = (*faults.STORE_POINTS, *faults.NODE_POINTS, *faults.SHEPHERD_POINTS)
    for point, nth, together in itertools.product(points, (1, 2), (False, True)):
        if point == "store.connect" and nth > 1:
            # A life connects once.
            continue
        few = nth == 1 and not together and point in _FEW_POINTS
        name = f"{point}-{nth}-{'both' if together else 'alone'}"
        cases.append(pytest.param(point, nth, together, id=name, marks=marks_of(few)))
    return cases


@pytest.mark.parametrize(("point", "nth", "together"), moments())
def test_whoever_dies_between_any_two_steps_nothing_is_lost_and_nothing_is_doubled(
    narrow_server: MortalServer, ledger: Ledger, tmp_path: Path, point: str, nth: int, together: bool
) -> None:
    server, struck = narrow_server, tmp_path / "struck"
    server.start(fault=f"{point}:{nth}:kill:{struck}")
    application_id = server.submit(ledger.job(6), "job")
    if together:
        eventually(struck.exists)
        server.kill()
        server.kill_shepherd()
    server.ended(application_id)
    assert struck.exists(), "the point was never reached"
    ledger.check(server, [application_id], losses=together or point.startswith("shepherd."))
