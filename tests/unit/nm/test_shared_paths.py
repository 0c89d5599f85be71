"""Shared paths as a node looks at them: what is there, what is something else, and what does not answer."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from hrm.model.files import FileSettings, SharedPath
from hrm.nm import shared_paths
from hrm.nm.shared_paths import SharedPaths
from hrm.nm.shared_probe import mounted, problem
from hrm.testing import eventually_async

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
40 22 0:35 / {path} rw,relatime - nfs4 nas:/export/data rw,vers=4.2
41 22 0:36 / /srv/with\\040space rw - nfs4 nas:/export/with\\040space rw
"""


@pytest.fixture
def data(tmp_path: Path) -> str:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / ".this-is-data").write_text("")
    return str(folder)


def said(path: str, *, marker: str = "", source: str = "", read_only: bool = False, mounts: str = "") -> str:
    return problem(path, marker, source, read_only, mounts or MOUNTS.format(path=path))


def test_what_is_mounted_and_bears_its_marker_is_as_it_should_be(data: str) -> None:
    assert said(data) == ""
    assert said(data, marker=".this-is-data") == ""
    assert said(data, source="nas:/export/data") == ""


def test_another_export_a_missing_marker_and_no_mount_are_told_apart(data: str) -> None:
    assert said(data, source="nas:/export/home") == "is nas:/export/data, not nas:/export/home"
    assert said(data, marker=".other") == "has no .other: something else is mounted there, or nothing"
    assert (
        said(data, mounts="22 1 254:0 / / rw - ext4 /dev/root rw") == "is not mounted: it is on the machine's own disk"
    )
    assert said(f"{data}/missing") == "is not there"
    assert said(f"{data}/.this-is-data") == "is no directory"


def test_the_innermost_and_latest_mount_counts() -> None:
    table = MOUNTS.format(path="/data") + "42 40 0:37 / /data rw - tmpfs overmounted rw\n"

    assert mounted("/data/set", table) == ("/data", "overmounted")
    assert mounted("/database", table) == ("/", "/dev/root")
    assert mounted("/srv/with space/x", table) == ("/srv/with space", "nas:/export/with space")


def test_what_can_only_be_read_is_missing_unless_that_is_enough() -> None:
    # Always there, and never writable.
    assert said("/proc/sys", read_only=True) == ""
    if os.statvfs("/sys").f_flag & os.ST_RDONLY:
        assert said("/sys") == "can only be read"


def paths(*declared: SharedPath, timeout_s: float = 30.0, changed: list[str] | None = None) -> SharedPaths:
    told = changed if changed is not None else []
    settings = FileSettings(shared_paths=declared, shared_check_timeout_s=timeout_s)
    found = SharedPaths(settings, lambda: told.append(found.message))
    return found


async def test_a_node_offers_what_is_there_and_says_what_is_not(data: str) -> None:
    shared = paths(SharedPath(path=data, marker=".this-is-data"), SharedPath(path=f"{data}/other"))

    assert await shared.look()

    assert shared.offers == (f"shared path {data}",)
    assert shared.message == f"shared path {data}/other is not there"


async def test_a_path_that_comes_and_goes_is_told_each_time_and_no_more_often(data: str) -> None:
    told: list[str] = []
    late = f"{data}/.late"
    shared = paths(SharedPath(path=data, marker=".late"), changed=told)
    await shared.look()

    await shared.look_again()
    os.mkdir(late)
    await shared.look_again()
    os.rmdir(late)
    await shared.look_again()

    assert [bool(message) for message in told] == [False, True]


async def test_a_server_that_hangs_makes_its_path_missing_and_is_not_asked_again_before_it_answers(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a probe that hangs in the kernel does: it says nothing, until it does.
    pids, released = tmp_path / "pids", tmp_path / "released"
    hanging = tmp_path / "probe.py"
    hanging.write_text(
        "import os, sys, time\n"
        f"open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        f"while not os.path.exists({str(released)!r}): time.sleep(0.01)\n"
    )
    monkeypatch.setattr(shared_paths, "_PROBE", hanging)
    shared = paths(SharedPath(path=data), timeout_s=0.2)

    await shared.look()
    await eventually_async(pids.exists, 30.0)
    await shared.look()
    assert shared.message == f"shared path {data} does not answer within 0.2 s"
    assert len(pids.read_text().splitlines()) == 1

    released.write_text("")
    await eventually_async(lambda: _answers(shared), 30.0)
    assert shared.offers == (f"shared path {data}",)


async def _answers(shared: SharedPaths) -> bool:
    await shared.look()
    return not shared.message


async def test_a_probe_that_dies_is_no_good_sign(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dying = tmp_path / "probe.py"
    dying.write_text(f"import os\nos.kill(os.getpid(), {signal.SIGKILL})\n")
    monkeypatch.setattr(shared_paths, "_PROBE", dying)
    shared = paths(SharedPath(path=data))

    await shared.look()

    assert shared.message == f"shared path {data} cannot be looked at"


async def test_who_lets_go_waits_for_no_server_that_hangs(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = tmp_path / "probe.py"
    hanging.write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setattr(shared_paths, "_PROBE", hanging)
    shared = paths(SharedPath(path=data), timeout_s=0.05)
    await shared.look()

    await shared.close()

    assert shared.offers == ()


async def test_local_paths_are_offered_where_they_are_and_missed_nowhere(data: str) -> None:
    shared = SharedPaths(FileSettings(local_paths=(data, f"{data}/missing")), lambda: None)

    await shared.look()

    assert shared.offers == (f"local path {data}",)
    assert shared.message == ""


async def test_a_server_that_declares_others_has_them_looked_at_at_once(data: str) -> None:
    shared = paths(SharedPath(path=f"{data}/missing"))
    await shared.look()

    await shared.take(FileSettings(shared_paths=(SharedPath(path=data, marker=".this-is-data"),), local_paths=(data,)))

    assert shared.offers == (f"shared path {data}", f"local path {data}")
    assert shared.message == ""
