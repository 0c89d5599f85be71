"""Containers of several users on a node of root's: who they are, and what of each other they can reach."""

from __future__ import annotations

import os
import pwd
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.containers import ExitReason, LogStream, PreemptionNotice
from hrm.model.isolation import IsolationMode, IsolationSettings
from hrm.model.jobs import TerminalSize
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.nm import accounts
from hrm.nm.accounts import Account
from hrm.nm.shepherd import records
from hrm.testing import EngineHarness, started

pytestmark = pytest.mark.root

NODE = NodeSpec(node_id="node1", total=Resources(4096, 4000))
USER, OTHER = "nobody", "daemon"
SMALL = Resources(memory_mib=64, vcores_milli=1000)


@pytest.fixture(params=["auto", "none"])
async def run(public_dir: Path, request: pytest.FixtureRequest) -> AsyncIterator[EngineHarness]:
    """A node of root's, with cgroups and without."""
    settings = IsolationSettings(mode=IsolationMode(request.param))
    async with started(EmbeddedEngine(NODE, public_dir / "node", isolation=settings)) as harness:
        yield harness


async def says(run: EngineHarness, script: str, **fields: object) -> str:
    """What a script of `USER` prints, to stdout and then stderr."""
    container_id = run.launch("sh", "-c", script, **{"user": USER, **fields})
    await run.ended(container_id)
    return await run.log(container_id) + await run.log(container_id, LogStream.STDERR)


async def test_a_container_is_its_user_with_all_its_groups_and_nothing_of_roots(
    run: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = pwd.getpwnam(USER)
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 4242, 4243])

    assert await says(run, "id -u; id -g; id -G") == f"{entry.pw_uid}\n{entry.pw_gid}\n{entry.pw_gid} 4242 4243\n"
    status = await says(run, "grep -E '^(Uid|Gid|CapEff|CapPrm|NoNewPrivs)' /proc/self/status")
    assert status.split() == [
        *["Uid:", *[str(entry.pw_uid)] * 4],
        *["Gid:", *[str(entry.pw_gid)] * 4],
        *["CapPrm:", "0" * 16, "CapEff:", "0" * 16],
        *["NoNewPrivs:", "1"],
    ]


async def test_it_finds_its_own_name_and_home(run: EngineHarness) -> None:
    entry = pwd.getpwnam(USER)

    said = await says(run, "echo $USER $LOGNAME $HOME $SHELL")

    assert said == f"{USER} {USER} {entry.pw_dir} {entry.pw_shell}\n"


async def test_roots_own_submissions_run_as_root_and_gain_nothing(run: EngineHarness) -> None:
    assert await says(run, "id -u; grep NoNewPrivs /proc/self/status", user="root") == "0\nNoNewPrivs:\t1\n"


async def test_its_directory_is_its_own_and_others_cannot_look_in(run: EngineHarness, public_dir: Path) -> None:
    container_id = run.launch("sh", "-c", "umask; echo secret > file; stat -c '%U %a' . file", user=USER)
    await run.ended(container_id)

    assert await run.log(container_id) == f"0022\n{USER} 700\n{USER} 644\n"
    folder = public_dir / "node" / records.CONTAINERS / container_id
    assert "Permission denied" in await says(run, f"ls {folder}", user=OTHER)
    assert "Permission denied" in await says(run, f"cat {folder}/file", user=OTHER)
    assert await says(run, f"cat {folder}/file") == "secret\n", "the user's own next container can"


async def test_output_belongs_to_its_user_and_nobody_else_reads_it(run: EngineHarness, public_dir: Path) -> None:
    container_id = run.launch("sh", "-c", "echo secret; echo oops >&2", user=USER)
    await run.ended(container_id)

    for stream in records.STREAMS:
        path = public_dir / "node" / records.LOGS / f"{container_id}.{stream}"
        status = path.stat()
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (pwd.getpwnam(USER).pw_uid, 0o600)
        assert "Permission denied" in await says(run, f"cat {path}", user=OTHER)


async def test_nothing_else_of_the_node_can_be_seen_by_users(run: EngineHarness, public_dir: Path) -> None:
    node = public_dir / "node"
    for name in ("", *records.FOLDERS):
        assert "Permission denied" in await says(run, f"ls {node}/{name}")
    for name in (records.LOCK, records.LOG):
        assert "Permission denied" in await says(run, f"cat {node}/{name}")
    reach = f'socket(S, PF_UNIX, SOCK_STREAM, 0); connect(S, sockaddr_un("{node}/{records.SOCKET}")) or die $!'
    assert "Permission denied" in await says(run, f"perl -MSocket -e '{reach}'")


async def test_another_users_environment_is_hidden(run: EngineHarness) -> None:
    container_id = run.launch("sh", "-c", "echo $$; exec sleep 1000", user=USER, env={"PASSWORD": "secret"})
    pid = (await run.printed(container_id, "\n")).strip()

    assert "Permission denied" in await says(run, f"cat /proc/{pid}/environ", user=OTHER)
    run.stop(container_id, grace_s=0)
    await run.ended(container_id)


async def test_a_script_may_write_to_the_standard_streams_by_name(run: EngineHarness) -> None:
    assert await says(run, "echo out > /dev/stdout; echo err > /dev/stderr") == "out\nerr\n"


async def test_input_reaches_a_users_container(run: EngineHarness) -> None:
    container_id = run.launch("sh", "-c", "cat /dev/stdin", stdin=True, user=USER)
    await run.engine.write_stdin(run.node_id, container_id, b"hello")
    await run.printed(container_id, "hello")
    run.engine.close_stdin(run.node_id, container_id)

    assert (await run.ended(container_id)).exit_code == 0
    assert await run.log(container_id) == "hello"


async def test_a_users_terminal_is_its_own(run: EngineHarness) -> None:
    script = "echo typed > $(tty); stat -c %U $(tty); ps -o tty= -p $$ > /dev/tty"
    said = await says(run, script, terminal=TerminalSize(rows=24, columns=80))

    assert said.splitlines()[:2] == ["typed", USER]
    assert "pts" in said.splitlines()[2]


async def test_signals_and_stops_reach_another_users_processes(run: EngineHarness) -> None:
    container_id = run.launch("sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done", user=USER)
    await run.printed(container_id, "ready")

    run.stop(container_id)

    assert (await run.ended(container_id)).exit_code == 9


# --- what cannot be


@pytest.mark.parametrize(
    ("user", "detail"),
    [
        ("no-such-user", "this machine has no user 'no-such-user'"),
        ("", "this machine has no user ''"),
        ("bad\0name", "this machine has no user 'bad\\x00name'"),
        ("0", "this machine has no user '0'"),
    ],
)
async def test_a_user_that_does_not_exist_has_nothing_started(run: EngineHarness, user: str, detail: str) -> None:
    record = await run.ended(run.launch("true", user=user))

    assert (record.reason, record.exit_code, record.detail) == (ExitReason.NOT_STARTED, 126, detail)


async def test_a_working_directory_that_the_user_may_not_enter_is_told(run: EngineHarness, public_dir: Path) -> None:
    private = public_dir / "private"
    private.mkdir(mode=0o700)

    record = await run.ended(run.launch("true", user=USER, workdir=str(private)))

    assert record.reason is ExitReason.NOT_STARTED
    assert record.detail == (
        f"working directory '{private}': Permission denied: {USER} may not enter it, or one of those above it"
    )


async def test_a_home_that_the_user_cannot_reach_is_told(state_dir: Path) -> None:
    """pytest's directories are for one user."""
    async with started(EmbeddedEngine(NODE, state_dir)) as run:
        record = await run.ended(run.launch("true", user=USER))

    assert record.reason is ExitReason.NOT_STARTED
    assert f"{USER} may not enter it, or one of those above it" in record.detail


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (("no-such-program",), 127, "command not found: no-such-program"),
        (("/etc/passwd",), 126, "not executable: /etc/passwd: Permission denied"),
    ],
)
async def test_a_program_that_does_not_run_is_told_as_by_a_shell(
    run: EngineHarness, command: tuple[str, ...], code: int, says: str
) -> None:
    # The first directory is one that the user may not look into.
    env = {"PATH": f"{pwd.getpwuid(0).pw_dir}/bin:/usr/bin:/bin"}
    container_id = run.launch(*command, user=USER, env=env)
    record = await run.ended(container_id)

    assert (record.reason, record.exit_code, record.detail) == (ExitReason.EXITED, code, says)
    assert await run.log(container_id, LogStream.STDERR) == f"hrm: {says}\n"


async def test_a_link_in_place_of_a_log_is_left_alone(run: EngineHarness, public_dir: Path) -> None:
    victim = public_dir / "victim"
    victim.write_text("precious")
    spec = run.spec("sh", "-c", "echo 12345", user=USER)
    link = public_dir / "node" / records.LOGS / f"{spec.container_id}.stdout"
    link.symlink_to(victim)

    run.engine.launch(run.node_id, [spec])

    assert (await run.ended(spec.container_id)).exit_code == 0
    assert victim.read_text() == "precious"
    assert victim.stat().st_uid == 0
    assert link.is_symlink()


async def test_a_directory_service_that_is_slow_holds_up_its_users_alone_and_loses_no_command(
    run: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = accounts.look_up
    answers = threading.Event()

    def slowly(name: str) -> Account:
        answers.wait(timeout=60)
        return known(name)

    monkeypatch.setattr(accounts, "look_up", slowly)
    first = run.launch("true", user="root")
    waits = run.launch("sleep", "1000", user=OTHER)
    run.stop(waits, grace_s=0)

    assert (await run.ended(first)).exit_code == 0
    assert waits not in {end.container_id for end in run.heard.ends}
    answers.set()
    assert (await run.ended(waits)).reason is ExitReason.STOPPED


async def test_the_notice_of_preemption_is_the_users_own(run: EngineHarness) -> None:
    script = "trap 'exec stat -c %U:%a $HRM_PREEMPTION_FILE' TERM; echo ready; sleep 1000 & wait"
    container_id = run.launch("sh", "-c", script, user=USER)
    await run.printed(container_id, "ready")
    notice = PreemptionNotice(kill_at=2e9, reason="others are due", beneficiary="application_1_0002")
    run.engine.warn(run.node_id, container_id, notice)
    await run.ended(container_id)
    assert await run.log(container_id) == f"ready\n{USER}:600\n"
