"""What a container is given, what it prints, and how it ends, on a real node."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hrm.engines.embedded import EmbeddedEngine
from hrm.model.containers import ExitReason, LogStream
from hrm.model.errors import ClusterError, InvalidInput, NotFound
from hrm.model.jobs import TerminalSize
from hrm.model.nodes import NodeSpec
from hrm.model.resources import Resources
from hrm.nm.shepherd import records
from hrm.nm.usage import UsageSampler
from hrm.testing import RecordingListener, eventually_async, kill_herd, shepherd_pid, started

NODE = NodeSpec(node_id="node1", total=Resources(4096, 4000))


async def test_a_container_stands_in_a_private_directory_of_its_own(engine: EmbeddedEngine, state_dir: Path) -> None:
    async with started(engine) as run:
        container_id = run.launch("sh", "-c", "pwd; echo $HRM_CONTAINER_DIR; stat -c %a .")
        await run.ended(container_id)
        folder = state_dir / records.CONTAINERS / container_id
        assert await run.log(container_id) == f"{folder}\n{folder}\n700\n"


async def test_a_container_runs_where_it_is_told_to(engine: EmbeddedEngine, tmp_path: Path) -> None:
    async with started(engine) as run:
        container_id = run.launch("pwd", workdir=str(tmp_path))
        await run.ended(container_id)
        assert await run.log(container_id) == f"{tmp_path}\n"


async def test_the_servers_own_environment_stays_with_the_server(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "1")
    async with started(EmbeddedEngine(NODE, state_dir)) as run:
        container_id = run.launch("env", env={"LANG": "de_DE.UTF-8", "CUDA_VISIBLE_DEVICES": "0,1"})
        await run.ended(container_id)
        env = dict(line.split("=", 1) for line in (await run.log(container_id)).splitlines())
    assert "SECRET_OF_THE_SERVER" not in env
    assert env["LANG"] == "de_DE.UTF-8"
    assert env["CUDA_VISIBLE_DEVICES"] == "", "nobody sees more devices than were granted"
    assert env.keys() >= {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "HRM_PROGRESS_FILE"}


async def test_a_container_gets_the_limits_signals_and_descriptors_of_a_plain_program(engine: EmbeddedEngine) -> None:
    script = (
        "import os, resource, signal\n"
        "print(sorted(os.listdir('/proc/self/fd'))[:4], resource.getrlimit(resource.RLIMIT_NOFILE)[0],\n"
        "      signal.pthread_sigmask(signal.SIG_BLOCK, []), os.getsid(0) == os.getpgrp() == os.getpid())\n"
        "print(open('/proc/self/status').read().split('SigIgn:')[1].split()[0])"
    )
    async with started(engine) as run:
        # Python itself ignores two signals: cat does not.
        container_id = run.launch(sys.executable, "-I", "-S", "-c", script)
        ignored = run.launch("grep", "SigIgn", "/proc/self/status")
        await run.ended(container_id)
        await run.ended(ignored)
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert (await run.log(container_id)).startswith(f"['0', '1', '2', '3'] {files} set() True\n")
        # The C library keeps two signals (32 and 33) for itself.
        assert int((await run.log(ignored)).split()[1], 16) & ~(3 << 31) == 0


@pytest.mark.parametrize(
    ("command", "workdir", "reason", "code", "says"),
    [
        (("no-such-program",), None, ExitReason.EXITED, 127, "command not found: no-such-program"),
        (("./no/such",), None, ExitReason.EXITED, 127, "command not found: ./no/such"),
        (("/etc/passwd",), None, ExitReason.EXITED, 126, "not executable: /etc/passwd: Permission denied"),
        (("/tmp",), None, ExitReason.EXITED, 126, "not executable: /tmp: Permission denied"),
        (("true",), "/no/such/place", ExitReason.NOT_STARTED, 126, "'/no/such/place': No such file or directory"),
        (("true",), "/etc/passwd", ExitReason.NOT_STARTED, 126, "'/etc/passwd': Not a directory"),
    ],
)
async def test_what_cannot_run_says_why(
    engine: EmbeddedEngine, command: tuple[str, ...], workdir: str | None, reason: ExitReason, code: int, says: str
) -> None:
    async with started(engine) as run:
        container_id = run.launch(*command, workdir=workdir)
        record = await run.ended(container_id)
        assert (record.reason, record.exit_code) == (reason, code)
        assert says in record.detail
        if reason is ExitReason.EXITED:
            assert await run.log(container_id, LogStream.STDERR) == f"hrm: {says}\n"


@pytest.mark.parametrize(("first_line", "says"), [("#!/no/interpreter", "interpreter not found"), ("text", "#! line")])
async def test_a_script_that_names_no_interpreter_says_so(
    engine: EmbeddedEngine, tmp_path: Path, first_line: str, says: str
) -> None:
    script = tmp_path / "script"
    script.write_text(f"{first_line}\n")
    script.chmod(0o755)
    async with started(engine) as run:
        record = await run.ended(run.launch(str(script)))
        assert record.exit_code == 126
        assert says in record.detail


async def test_an_id_that_is_no_file_name_is_refused_and_nothing_of_its_batch_starts(engine: EmbeddedEngine) -> None:
    async with started(engine) as run:
        for bad in ("../../etc", "a/b", "", ".", "a\0b", "x" * 200, "-x"):
            with pytest.raises(InvalidInput):
                run.engine.launch(run.node_id, [run.spec("true"), run.spec("true", container_id=bad)])
            with pytest.raises(NotFound):
                await run.engine.read_log(run.node_id, bad, LogStream.STDOUT, offset=0, max_bytes=1)
        await run.ended(run.launch("true"))
        assert len(run.heard.starts) == 1


async def test_a_flood_of_output_delays_nobody(engine: EmbeddedEngine) -> None:
    async with started(engine) as run:
        loud = run.launch("sh", "-c", "echo begin; yes", log_limit_bytes=1 << 20)
        await run.printed(loud, "begin")

        await run.ended(run.launch("true"))

        run.stop(loud, grace_s=0)
        await run.ended(loud)


async def test_a_flood_of_output_is_cut_at_the_limit_and_counted(engine: EmbeddedEngine) -> None:
    limit, flood = 1 << 20, 300 << 20
    async with started(engine) as run:
        loud = run.launch("sh", "-c", f"echo begin; yes | head -c {flood}", log_limit_bytes=limit)
        await run.ended(loud)
        chunk = await run.engine.read_log(run.node_id, loud, LogStream.STDOUT, offset=0, max_bytes=2 * limit)
        assert len(chunk.data) == limit
        assert chunk.dropped_bytes == flood + len("begin\n") - limit


async def test_what_is_dropped_is_told_while_the_container_runs(engine: EmbeddedEngine) -> None:
    async with started(engine) as run:
        loud = run.launch("sh", "-c", "echo 0123456789; echo more; sleep 1000", log_limit_bytes=5)

        async def dropped() -> int:
            chunk = await run.engine.read_log(run.node_id, loud, LogStream.STDOUT, offset=0, max_bytes=100)
            return chunk.dropped_bytes

        assert await eventually_async(dropped) > 0
        run.stop(loud, grace_s=0)
        await run.ended(loud)
        assert await dropped() == len("0123456789\nmore\n") - 5


async def test_a_script_may_write_to_dev_stderr_without_losing_its_log(engine: EmbeddedEngine) -> None:
    async with started(engine) as run:
        container_id = run.launch("sh", "-c", "echo one >&2; echo two > /dev/stderr; echo three >&2")
        await run.ended(container_id)
        assert await run.log(container_id, LogStream.STDERR) == "one\ntwo\nthree\n"


async def test_output_shows_while_the_container_runs_and_is_not_at_its_end(engine: EmbeddedEngine) -> None:
    async with started(engine) as run:
        container_id = run.launch("sh", "-c", "echo now; sleep 1000")
        await run.printed(container_id, "now\n")
        chunk = await run.engine.read_log(run.node_id, container_id, LogStream.STDOUT, offset=0, max_bytes=100)
        assert not chunk.end
        run.stop(container_id, grace_s=0)
        await run.ended(container_id)


async def test_a_link_planted_in_place_of_a_log_is_not_followed(engine: EmbeddedEngine, state_dir: Path) -> None:
    async with started(engine) as run:
        container_id = run.launch("true")
        await run.ended(container_id)
        (state_dir / records.LOGS / f"{container_id}.stdout").symlink_to("/etc/passwd")
        with pytest.raises(ClusterError):
            await run.log(container_id)


async def test_a_daemon_that_left_the_session_ends_with_its_container(engine: EmbeddedEngine) -> None:
    async with started(engine) as run:
        # Forks twice, in a session of its own, its output elsewhere: as daemons do.
        daemon = "setsid sh -c 'sleep 1000 >/dev/null 2>&1 & echo $!' & wait"
        container_id = run.launch("sh", "-c", f"{daemon}; exit 3")
        pid = (await run.printed(container_id, "\n")).strip()
        assert (await run.ended(container_id)).exit_code == 3
        await eventually_async(lambda: not alive(pid))


async def test_a_tree_that_ignores_terminate_is_killed_to_the_last_grandchild(engine: EmbeddedEngine) -> None:
    async with started(engine) as run:
        inner = "trap '' TERM; sleep 1000 & echo $!; wait; sleep 1000"
        outer = "trap '' TERM; sh -c \"$INNER\" & wait; sleep 1000"
        container_id = run.launch("sh", "-c", outer, env={"INNER": inner})
        pid = (await run.printed(container_id, "\n")).strip()
        run.stop(container_id, grace_s=0.1)
        assert (await run.ended(container_id)).exit_code == 137
        await eventually_async(lambda: not alive(pid))


async def test_a_halted_container_can_be_stopped(engine: EmbeddedEngine) -> None:
    async with started(engine) as run:
        container_id = run.launch("sleep", "1000")
        [start] = await eventually_async(lambda: run.heard.starts)
        os.kill(start.pid, signal.SIGSTOP)
        run.stop(container_id)
        assert (await run.ended(container_id)).exit_code == 143


async def test_the_shepherd_rests_when_there_is_nothing_to_do(engine: EmbeddedEngine, state_dir: Path) -> None:
    async with started(engine) as run:
        container_id = run.launch("sleep", "1000")
        # Reaches the shepherd while the launch still waits its turn.
        run.stop(container_id)
        await run.ended(container_id)
        pid = shepherd_pid(state_dir)
        await eventually_async(lambda: status(pid)[0] == "S")


async def test_input_waits_for_a_reader_that_is_slow_and_is_swallowed_by_one_that_has_enough(
    engine: EmbeddedEngine,
) -> None:
    async with started(engine) as run:
        much = b"x" * (1 << 20)
        reader = run.launch("wc", "-c", stdin=True)
        await run.engine.write_stdin(run.node_id, reader, much)
        run.engine.close_stdin(run.node_id, reader)
        await run.ended(reader)
        assert (await run.log(reader)).strip() == str(len(much))
        closes = run.launch("sh", "-c", "exec <&-; echo closed; sleep 1000", stdin=True)
        await run.printed(closes, "closed")
        await run.engine.write_stdin(run.node_id, closes, much)
        run.stop(closes, grace_s=0)
        await run.ended(closes)


async def test_without_input_a_container_reads_the_end_of_file(engine: EmbeddedEngine) -> None:
    async with started(engine) as run:
        assert (await run.ended(run.launch("cat"))).exit_code == 0


async def test_a_terminal_has_a_size_a_keyboard_and_signals(engine: EmbeddedEngine) -> None:
    async with started(engine) as run:
        # A signal interrupts `read`, which is then asked again. The traps are set before the size is told, for a signal
        # is sent as soon as that has been seen.
        traps = "trap 'stty size' WINCH; trap 'echo int; exit 9' INT"
        script = f"{traps}; stty size; while :; do read line && echo got $line; done"
        container_id = run.launch("sh", "-c", script, terminal=TerminalSize(rows=20, columns=70))
        await run.printed(container_id, "20 70\r\n")
        run.engine.resize_terminal(run.node_id, container_id, 30, 90)
        await run.engine.write_stdin(run.node_id, container_id, b"hello\n")
        await run.printed(container_id, "got hello\r\n")
        await run.printed(container_id, "30 90\r\n")
        await run.engine.write_stdin(run.node_id, container_id, b"\x03")
        assert (await run.ended(container_id)).exit_code == 9
        assert "int\r\n" in await run.log(container_id)


async def test_the_end_of_input_reaches_a_terminal_even_in_the_middle_of_a_line(engine: EmbeddedEngine) -> None:
    async with started(engine) as run:
        container_id = run.launch("cat", terminal=TerminalSize(rows=24, columns=80))
        await run.engine.write_stdin(run.node_id, container_id, b"line\npart")
        run.engine.close_stdin(run.node_id, container_id)
        assert (await run.ended(container_id)).exit_code == 0


async def test_heartbeats_tell_what_containers_use_and_how_far_they_are(
    engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hrm.nm.usage._DISK_WALK_S", 0.1)
    async with started(engine) as run:
        script = "echo 0.25 > $HRM_PROGRESS_FILE; head -c 3000000 /dev/zero > data; while :; do :; done"
        container_id = run.launch("sh", "-c", script)

        def told() -> bool:
            node, containers = run.heard.heartbeats[-1]
            [usage] = containers
            return (
                usage.container_id == container_id
                and usage.progress == 0.25
                and usage.cpu_milli > 10
                and usage.memory_mib >= 1
                and usage.disk_mib >= 2
                and usage.written_bytes >= 2_000_000
                and node.memory_used_mib > 0
                and node.disk_free_mib > 0
            )

        await eventually_async(lambda: run.heard.heartbeats and run.heard.heartbeats[-1][1])
        await eventually_async(told)
        run.stop(container_id, grace_s=0)
        await run.ended(container_id)


async def test_that_a_bug_ended_the_heartbeats_is_in_the_log(
    engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def bug(self: UsageSampler, running: object) -> None:
        raise LookupError("a bug")

    monkeypatch.setattr(UsageSampler, "sample", bug)

    with capture_logs() as logs:
        async with started(engine):
            await eventually_async(lambda: any(line["log_level"] == "critical" for line in logs))

    assert "a bug" in [line.get("error") for line in logs]


async def test_a_state_directory_with_a_very_long_path_is_no_trouble(tmp_path: Path) -> None:
    state_dir = tmp_path / ("long" * 30) / "node"
    try:
        async with started(EmbeddedEngine(NODE, state_dir)) as run:
            assert (await run.ended(run.launch("true"))).exit_code == 0
    finally:
        kill_herd(state_dir)


async def test_a_state_directory_that_cannot_be_made_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ClusterError, match="file/node"):
        await EmbeddedEngine(NODE, tmp_path / "file" / "node").start(RecordingListener())


async def test_many_at_once_all_end_well_and_nothing_of_them_stays_open(
    engine: EmbeddedEngine, state_dir: Path
) -> None:
    async with started(engine) as run:
        await run.ended(run.launch("true"))
        descriptors = f"/proc/{shepherd_pid(state_dir)}/fd"
        before = len(os.listdir(descriptors))
        specs = [run.spec("sh", "-c", f"exit {index % 100}", stdin=index % 2 == 0) for index in range(200)]
        run.engine.launch(run.node_id, specs)
        await eventually_async(lambda: len(run.heard.ends) == len(specs) + 1)
        told = {record.container_id: record.exit_code for record in run.heard.ends}
        assert {spec.container_id: index % 100 for index, spec in enumerate(specs)}.items() <= told.items()
        # What was made ahead of the first container may be closed meanwhile.
        assert len(os.listdir(descriptors)) <= before
        assert os.listdir(state_dir / records.INPUTS) == []


async def test_where_some_were_killed_others_live(engine: EmbeddedEngine) -> None:
    async with started(engine) as run:
        for _ in range(3):
            victim = run.launch("sh", "-c", "sleep 1000 & echo up; wait")
            await run.printed(victim, "up")
            run.stop(victim, grace_s=0)
            assert (await run.ended(victim)).exit_code == 137
        # As many as may ever be kept ready for the next.
        run.engine.launch(run.node_id, [run.spec("true") for _ in range(70)])
        await eventually_async(lambda: len(run.heard.ends) == 73)
        assert [record.exit_code for record in run.heard.ends[3:]] == [0] * 70


def alive(pid: str) -> bool:
    return status(int(pid))[0] not in "ZX"


def status(pid: int | None) -> list[str]:
    """Fields of ``/proc/PID/stat`` from the state on; X if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return ["X"]


@pytest.mark.parametrize("stream", [LogStream.STDOUT, LogStream.STDERR])
async def test_a_link_planted_in_place_of_a_log_is_not_written_through(
    engine: EmbeddedEngine, state_dir: Path, tmp_path: Path, stream: LogStream
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    async with started(engine) as run:
        spec = run.spec("sh", "-c", "echo 12345; echo 12345 >&2")
        (state_dir / records.LOGS / f"{spec.container_id}.{stream}").symlink_to(victim)
        run.engine.launch(run.node_id, [spec])

        assert (await run.ended(spec.container_id)).exit_code == 0
        assert victim.read_text() == "precious"
        other = LogStream.STDERR if stream is LogStream.STDOUT else LogStream.STDOUT
        assert await run.log(spec.container_id, other) == "12345\n"


async def test_a_link_planted_where_it_is_told_that_a_program_is_not_there_is_left_alone(
    engine: EmbeddedEngine, state_dir: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    async with started(engine) as run:
        spec = run.spec("no-such-program")
        (state_dir / records.LOGS / f"{spec.container_id}.stderr").symlink_to(victim)
        run.engine.launch(run.node_id, [spec])

        assert (await run.ended(spec.container_id)).exit_code == 127
        assert not victim.exists()
