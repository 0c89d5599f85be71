"""The node forgets: its state is deleted under running containers, or the machine is started anew."""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path

import pytest

from hrm.nm.shepherd import records
from hrm.testing import eventually, kill_herd
from hrm.testing.mortal import Ledger, MortalServer

TASKS = 100


def running(server: MortalServer, ledger: Ledger) -> str:
    """A job of which some tasks run, some have ended and most wait."""
    server.start()
    application_id = server.submit(ledger.job(TASKS), "job")
    eventually(lambda: ledger.count("began") > 10 and ledger.count("ended"))
    return application_id


def delete(folder: Path) -> None:
    """While others write into it."""

    def gone() -> bool:
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()

    eventually(gone)


def deletions() -> list[object]:
    """What is deleted, and who is killed after it. A few run with everything else."""
    cases: list[object] = []
    for forgotten, killed in product((".", records.RUNNING, records.LOCK), ("nobody", "server", "shepherd", "both")):
        few = forgotten == "." and killed in ("nobody", "both")
        cases.append(pytest.param(forgotten, killed, marks=() if few else pytest.mark.real))
    return cases


@pytest.mark.crash
@pytest.mark.parametrize(("forgotten", "killed"), deletions())
def test_a_state_deleted_in_the_middle_of_a_job_never_leads_to_a_second_copy(
    server: MortalServer, ledger: Ledger, forgotten: str, killed: str
) -> None:
    application_id = running(server, ledger)

    if forgotten == records.LOCK:
        (server.home.node_dir / records.SOCKET).unlink()
        (server.home.node_dir / records.LOCK).unlink()
    else:
        delete(server.home.node_dir / forgotten)
    if killed in ("server", "both"):
        server.kill()
    if killed in ("shepherd", "both"):
        server.kill_shepherd()

    server.ended(application_id)
    ledger.check(server, [application_id], losses=True)


@pytest.mark.crash
def test_after_a_reboot_what_ran_is_told_as_lost_and_tried_again(server: MortalServer, ledger: Ledger) -> None:
    application_id = running(server, ledger)
    server.kill()
    kill_herd(server.home.node_dir)
    boot_anew(server.home.node_dir / records.RUNNING)

    server.ended(application_id)

    ledger.check(server, [application_id], losses=True)
    with server.client() as client:
        messages = [attempt.message for attempt in client.history(application_id)]
    assert messages.count("the machine was started anew") > 0


def boot_anew(folder: Path) -> None:
    """What stands in the records was written in another life of the machine."""
    for path in folder.glob("[!.]*"):
        path.write_bytes(path.read_bytes().replace(records.boot_id().encode(), b"0" * 36))
