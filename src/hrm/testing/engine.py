"""One conformance suite for every engine.

``maker(state)`` makes an engine over the machines called ``state``; the same name again means the same machines, so
that a second engine finds what the first one left. Run everything by ``await check_engine(maker)``, or each of
`ENGINE_CHECKS` as a test of its own. The commands are plain programs of any Unix, and few enough to be played.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import signal
import socket
import tempfile
from collections.abc import Awaitable
from functools import partial
from pathlib import Path

from hrm.files.archive import extract
from hrm.model.cleaning import CleanPolicy, Freed
from hrm.model.containers import (
    ExitReason,
    LogStream,
    PreemptionNotice,
)
from hrm.model.errors import Conflict, InvalidInput, NotFound
from hrm.model.execution import ExecSpec, FrameDecoder, FrameKind, exit_code_of, frame, signal_frame
from hrm.model.ids import ContainerId
from hrm.model.resources import Resources
from hrm.model.streams import ByteStream
from hrm.testing.conditions import eventually_async
from hrm.testing.engine_harness import EngineCheck, EngineHarness, EngineMaker, raises, started
from hrm.testing.engine_launches import LAUNCH_CHECKS


async def check_node_registers_and_beats(maker: EngineMaker) -> None:
    async with started(maker("beats")) as run:
        assert run.heard.nodes[run.node_id].total.vcores_milli > 0
        assert run.heard.isolation[run.node_id].guards, "it must say in words what is enforced"
        await eventually_async(lambda: run.heard.heartbeats, describe="a heartbeat comes")


async def check_the_doctor_examines_a_node(maker: EngineMaker) -> None:
    async with started(maker("examined")) as run:
        report = await run.engine.examine(run.node_id, ["gpu"])
        assert report.node == run.node_id
        await _raises_not_found(run.engine.examine("no-such-node", []))


async def check_exit_codes(maker: EngineMaker) -> None:
    async with started(maker("codes")) as run:
        good = run.launch("true")
        bad = run.launch("sh", "-c", "exit 3")
        killed = run.launch("sh", "-c", "kill -KILL $$")
        missing = run.launch("hrm-no-such-program")
        for container_id, code in ((good, 0), (bad, 3), (killed, 137)):
            record = await run.ended(container_id)
            assert (record.reason, record.exit_code) == (ExitReason.EXITED, code)
            assert record.started_at is not None
            assert record.started_at <= record.ended_at
        assert (await run.ended(missing)).exit_code == 127
        assert "hrm-no-such-program" in await run.log(missing, LogStream.STDERR)


async def check_a_start_is_told_before_its_end(maker: EngineMaker) -> None:
    async with started(maker("order")) as run:
        container_id = run.launch("sleep", "1000")
        await eventually_async(lambda: [s for s in run.heard.starts if s.container_id == container_id])
        assert not run.heard.ends
        run.stop(container_id, grace_s=0)
        await run.ended(container_id)


async def check_logs(maker: EngineMaker) -> None:
    async with started(maker("logs")) as run:
        container_id = run.launch("sh", "-c", "echo one; echo two >&2; echo three")
        await run.ended(container_id)

        async def read(stream: LogStream, offset: int, max_bytes: int = 1000) -> tuple[bytes, int, bool]:
            chunk = await run.engine.read_log(run.node_id, container_id, stream, offset=offset, max_bytes=max_bytes)
            return chunk.data, chunk.next_offset, chunk.end

        assert await read(LogStream.STDOUT, 0) == (b"one\nthree\n", 10, True)
        assert await read(LogStream.STDERR, 0) == (b"two\n", 4, True)
        assert await read(LogStream.STDOUT, 0, 4) == (b"one\n", 4, False)
        assert await read(LogStream.STDOUT, 4) == (b"three\n", 10, True)
        assert await read(LogStream.STDOUT, -6) == (b"three\n", 10, True)
        assert await read(LogStream.STDOUT, 99) == (b"", 10, True)
        await _raises_not_found(
            run.engine.read_log(run.node_id, "container_e01_1_0001_01_999999", LogStream.STDOUT, offset=0, max_bytes=1)
        )


async def check_a_log_is_cut_at_its_limit_and_the_rest_counted(maker: EngineMaker) -> None:
    async with started(maker("limit")) as run:
        container_id = run.launch("sh", "-c", "echo 0123456789; echo 0123456789", log_limit_bytes=15)
        await run.ended(container_id)
        chunk = await run.engine.read_log(run.node_id, container_id, LogStream.STDOUT, offset=0, max_bytes=1000)
        assert chunk.data == b"0123456789\n0123"
        assert chunk.dropped_bytes == 7


async def check_environment(maker: EngineMaker) -> None:
    async with started(maker("environment")) as run:
        script = "echo $HRM_CONTAINER_ID $HRM_APPLICATION_ID $HRM_NODE_ID $MINE [$CUDA_VISIBLE_DEVICES]"
        plain = run.launch("sh", "-c", script, env={"MINE": "a b"})
        lent = run.launch("sh", "-c", "echo [$CUDA_VISIBLE_DEVICES]", device_ids=("GPU-1", "GPU-2"))
        await run.ended(plain)
        await run.ended(lent)
        assert await run.log(plain) == f"{plain} application_1_0001 {run.node_id} a b []\n"
        assert await run.log(lent) == "[GPU-1,GPU-2]\n"


async def check_a_launch_repeated_runs_once(maker: EngineMaker) -> None:
    async with started(maker("repeated")) as run:
        spec = run.spec("sh", "-c", "echo ran")
        run.engine.launch(run.node_id, [spec, spec])
        await run.ended(spec.container_id)
        run.engine.launch(run.node_id, [spec])
        # What comes after it in order has ended: by then a second run would have shown.
        await run.ended(run.launch("true"))
        run.engine.acknowledge(run.node_id, [spec.container_id])
        run.engine.launch(run.node_id, [spec])
        await run.ended(run.launch("true"))
        assert await run.log(spec.container_id) == "ran\n"


async def check_stop_terminates(maker: EngineMaker) -> None:
    async with started(maker("stop")) as run:
        container_id = run.launch("sleep", "1000")
        run.stop(container_id)
        record = await run.ended(container_id)
        assert (record.reason, record.exit_code) == (ExitReason.STOPPED, 143)


async def check_stop_kills_what_ignores_terminate(maker: EngineMaker) -> None:
    async with started(maker("stubborn")) as run:
        container_id = run.launch("sh", "-c", "trap '' TERM; echo ready; sleep 1000; sleep 1000")
        await run.printed(container_id, "ready")
        run.stop(container_id, grace_s=0.2)
        record = await run.ended(container_id)
        assert (record.reason, record.exit_code) == (ExitReason.STOPPED, 137)


async def check_the_whole_tree_ends(maker: EngineMaker) -> None:
    async with started(maker("tree")) as run:
        stopped = run.launch("sh", "-c", "sleep 1000 & echo $!; wait")
        ended = run.launch("sh", "-c", "sleep 1000 & echo $!; exit 0")
        children = [(await run.printed(container_id, "\n")).strip() for container_id in (stopped, ended)]
        run.stop(stopped)
        await run.ended(stopped)
        assert (await run.ended(ended)).exit_code == 0
        for child in children:
            await eventually_async(partial(_is_gone, run, child), describe=f"the container's child {child} ends")


async def check_signal(maker: EngineMaker) -> None:
    async with started(maker("signal")) as run:
        container_id = run.launch("sh", "-c", "echo ready; sleep 1000")
        await run.printed(container_id, "ready")
        run.engine.signal(run.node_id, container_id, signal.SIGUSR1)
        record = await run.ended(container_id)
        assert (record.reason, record.exit_code) == (ExitReason.EXITED, 128 + signal.SIGUSR1)


async def check_who_handles_terminate_is_warned_and_reads_why(maker: EngineMaker) -> None:
    async with started(maker("warned")) as run:
        script = "trap 'exec cat $HRM_PREEMPTION_FILE' TERM; echo ready; sleep 1000 & wait"
        container_id = run.launch("sh", "-c", script)
        await run.printed(container_id, "ready")
        notice = PreemptionNotice(kill_at=1e10, reason="others are due", beneficiary="application_1_0002")
        run.engine.warn(run.node_id, container_id, notice)
        run.engine.warn(run.node_id, container_id, notice)
        record = await run.ended(container_id)
        assert (record.reason, record.exit_code) == (ExitReason.EXITED, 0)
        said = json.loads((await run.log(container_id)).partition("\n")[2])
        assert said == {"kill_at": 1e10, "reason": "others are due", "beneficiary": "application_1_0002"}


async def check_who_has_no_handler_goes_on_though_warned_until_it_is_stopped(maker: EngineMaker) -> None:
    async with started(maker("unwarned")) as run:
        plain = run.launch("sh", "-c", "echo ready; sleep 1000")
        stubborn = run.launch("sh", "-c", "trap '' TERM; echo ready; sleep 1000")
        notice = PreemptionNotice(kill_at=1e10, reason="others are due", beneficiary="application_1_0002")
        for container_id in (plain, stubborn):
            await run.printed(container_id, "ready")
            run.engine.warn(run.node_id, container_id, notice)
        # What is asked for after the warning has been done.
        await run.ended(run.launch("true"))
        for container_id in (plain, stubborn):
            run.engine.spare(run.node_id, container_id)
            run.engine.spare(run.node_id, container_id)
            run.stop(container_id, grace_s=0)
            record = await run.ended(container_id)
            assert (record.reason, record.exit_code) == (ExitReason.STOPPED, 137), "not by the warning's TERM"


async def check_what_is_halted_does_nothing_until_it_goes_on_and_can_be_stopped(maker: EngineMaker) -> None:
    async with started(maker("halted")) as run:
        script = "echo ready; read line; echo late"
        goes_on, halted = [run.launch("sh", "-c", script, stdin=True) for _ in range(2)]
        for container_id in (goes_on, halted):
            await run.printed(container_id, "ready")
        run.engine.freeze(run.node_id, [goes_on, halted], frozen=True)
        run.engine.freeze(run.node_id, [halted], frozen=True)
        # By now it is done.
        await run.ended(run.launch("true"))
        for container_id in (goes_on, halted):
            await run.engine.write_stdin(run.node_id, container_id, b"go on\n")
        # Later than both would have ended, had they read that.
        await run.ended(run.launch("sleep", "0.5"))
        assert not [end for end in run.heard.ends if end.container_id in (goes_on, halted)]
        assert await run.log(goes_on) == "ready\n"

        run.engine.freeze(run.node_id, [goes_on], frozen=False)
        assert (await run.ended(goes_on)).exit_code == 0
        assert await run.log(goes_on) == "ready\nlate\n"
        run.stop(halted)
        assert (await run.ended(halted)).reason is ExitReason.STOPPED
        run.engine.freeze(run.node_id, [goes_on, "container_e01_1_0001_01_999999"], frozen=True)


async def check_what_is_resized_goes_on(maker: EngineMaker) -> None:
    async with started(maker("resized")) as run:
        container_id = run.launch("cat", stdin=True)
        for memory_mib in (512, 512, 256):
            run.engine.resize(run.node_id, container_id, Resources(memory_mib=memory_mib, vcores_milli=2000))
        await run.engine.write_stdin(run.node_id, container_id, b"hello")
        run.engine.close_stdin(run.node_id, container_id)
        assert (await run.ended(container_id)).exit_code == 0
        run.engine.resize(run.node_id, container_id, Resources(memory_mib=512, vcores_milli=2000))


async def check_input(maker: EngineMaker) -> None:
    async with started(maker("input")) as run:
        container_id = run.launch("cat", stdin=True)
        await run.engine.write_stdin(run.node_id, container_id, b"hello ")
        await run.engine.write_stdin(run.node_id, container_id, b"world")
        run.engine.close_stdin(run.node_id, container_id)
        assert (await run.ended(container_id)).exit_code == 0
        assert await run.log(container_id) == "hello world"
        without = run.launch("sleep", "1000")
        await _raises_not_found(run.engine.write_stdin(run.node_id, without, b"x"))
        await _raises_not_found(run.engine.write_stdin(run.node_id, "container_e01_1_0001_01_999999", b"x"))
        run.stop(without, grace_s=0)
        await run.ended(without)


async def check_a_program_joins_a_container_and_ends_with_it(maker: EngineMaker) -> None:
    async with started(maker("guests")) as run:
        container_id = run.launch("sh", "-c", "echo ready; sleep 1000", env={"COLOUR": "blue"})
        await run.printed(container_id, "ready")

        script = ExecSpec(command=("sh", "-c", "echo $HRM_CONTAINER_ID $COLOUR; echo no >&2; cat; exit 7"))
        guest = await run.engine.execute(run.node_id, container_id, script)
        await guest.write(frame(FrameKind.STDIN, b"typed\n"))
        await guest.end()
        assert await _said(guest) == (f"{container_id} blue\ntyped\n", "no\n", 7)
        await guest.close()
        assert await run.log(container_id) == "ready\n", "what a guest says is nobody else's"

        signalled = await run.engine.execute(run.node_id, container_id, ExecSpec(command=("sleep", "1000")))
        await signalled.write(signal_frame(signal.SIGTERM))
        assert await _said(signalled) == ("", "", 128 + signal.SIGTERM)
        await signalled.close()

        unknown = ExecSpec(command=("no-such-program",))
        await _raises_not_found(run.engine.execute(run.node_id, container_id, unknown))
        stays = await run.engine.execute(run.node_id, container_id, ExecSpec(command=("sleep", "1000")))
        run.stop(container_id, grace_s=0)
        await run.ended(container_id)
        assert await _said(stays) == ("", "", 128 + signal.SIGKILL)
        await stays.close()
        await _raises_not_found(run.engine.execute(run.node_id, container_id, script))


async def _said(guest: ByteStream) -> tuple[str, str, int]:
    """What it says on stdout and on stderr until its end, and its exit code."""
    decoder, said = FrameDecoder(), {FrameKind.STDOUT: b"", FrameKind.STDERR: b"", FrameKind.EXIT: b""}
    while data := await asyncio.wait_for(guest.read(), 60):
        for kind, payload in decoder.feed(data):
            said[kind] += payload
    return said[FrameKind.STDOUT].decode(), said[FrameKind.STDERR].decode(), exit_code_of(said[FrameKind.EXIT])


async def check_nothing_but_the_containers_own_ports_is_connected_to(maker: EngineMaker) -> None:
    async with started(maker("ports")) as run:
        container_id = run.launch("sh", "-c", "echo ready; sleep 1000")
        await run.printed(container_id, "ready")
        with socket.create_server(("127.0.0.1", 0)) as of_somebody_else:
            assert await run.engine.listening_ports(run.node_id, container_id) == []
            try:
                await run.engine.connect(run.node_id, container_id, of_somebody_else.getsockname()[1])
            except Conflict:
                pass
            else:
                raise AssertionError("connected to a port of somebody else's")
        run.stop(container_id, grace_s=0)
        await run.ended(container_id)
        await _raises_not_found(run.engine.listening_ports(run.node_id, container_id))


async def check_a_port_on_which_nobody_listens_is_found_and_given_once(maker: EngineMaker) -> None:
    async with started(maker("free-port")) as run:
        first, second = [await run.engine.free_port(run.node_id) for _ in range(2)]
        assert first != second
        for port in (first, second):
            with socket.create_server(("127.0.0.1", port)):
                pass
        await _raises_not_found(run.engine.free_port("no-such-node"))


async def check_unknown_and_ended_containers_are_no_error(maker: EngineMaker) -> None:
    async with started(maker("unknown")) as run:
        ended = run.launch("true")
        await run.ended(ended)
        for container_id in (ended, "container_e01_1_0001_01_999999"):
            run.stop(container_id)
            run.engine.signal(run.node_id, container_id, signal.SIGTERM)
            run.engine.warn(run.node_id, container_id, PreemptionNotice(kill_at=0.0, reason="", beneficiary=""))
            run.engine.spare(run.node_id, container_id)
            run.engine.close_stdin(run.node_id, container_id)
            run.engine.resize_terminal(run.node_id, container_id, 24, 80)
            run.engine.acknowledge(run.node_id, [container_id, container_id])
        assert (await run.ended(run.launch("true"))).exit_code == 0


async def check_what_ran_meanwhile_is_adopted(maker: EngineMaker) -> None:
    async with started(maker("adoption")) as run:
        ends = run.launch("sh", "-c", "echo ready; sleep 0.2; exit 7")
        runs_on = run.launch("sh", "-c", "echo ready; sleep 1000")
        for container_id in (ends, runs_on):
            await run.printed(container_id, "ready")
    async with started(maker("adoption")) as run:
        assert runs_on in [record.container_id for record in run.heard.registered_running]
        run.heard.ends += run.heard.registered_finished
        assert (await run.ended(ends)).exit_code == 7
        run.stop(runs_on, grace_s=0)
        assert (await run.ended(runs_on)).reason is ExitReason.STOPPED


async def check_ends_are_told_until_acknowledged(maker: EngineMaker) -> None:
    async with started(maker("acknowledge")) as run:
        first, second = run.launch("true"), run.launch("sh", "-c", "exit 2")
        await run.ended(first)
        await run.ended(second)
        run.engine.acknowledge(run.node_id, [first])
        # What is asked for after it has been done.
        await run.ended(run.launch("true"))
    async with started(maker("acknowledge")) as run:
        told = {record.container_id: record.exit_code for record in run.heard.registered_finished}
        assert first not in told
        assert told[second] == 2
        run.engine.acknowledge(run.node_id, list(told))
        run.engine.acknowledge(run.node_id, list(told))
        await run.ended(run.launch("true"))
        assert (await run.log(first), await run.log(second)) == ("", ""), "logs stay"


async def check_what_is_forgotten_is_gone_and_nothing_else(maker: EngineMaker) -> None:
    async with started(maker("forget")) as run:
        gone, kept = run.launch("sh", "-c", "echo one"), run.launch("sh", "-c", "echo two")
        runs = run.launch("sh", "-c", "echo three; sleep 1000")
        await run.ended(gone)
        await run.ended(kept)
        await run.printed(runs, "three")
        run.engine.acknowledge(run.node_id, [gone])
        # What is asked for after it has been done.
        await run.ended(run.launch("true"))
        run.engine.forget(run.node_id, [gone, kept, runs, "container_e01_1_0001_01_999999", "../logs"])
        await eventually_async(partial(_has_no_log, run, gone), describe=f"{gone} is forgotten")
        assert (await run.log(kept), await run.log(runs)) == ("two\n", "three\n"), "not over, or not acknowledged"
        run.stop(runs, grace_s=0)
        await run.ended(runs)


async def check_cleaning_spares_what_runs_what_is_unacknowledged_and_who_is_named(maker: EngineMaker) -> None:
    async with started(maker("clean")) as run:
        over, unacknowledged = run.launch("sh", "-c", "echo one"), run.launch("sh", "-c", "echo two")
        runs = run.launch("sh", "-c", "echo three; sleep 1000")
        for container_id in (over, unacknowledged):
            await run.ended(container_id)
        await run.printed(runs, "three")
        run.engine.acknowledge(run.node_id, [over])
        await run.ended(run.launch("true"))

        async def clean(*spare: str, dry_run: bool = False) -> Freed:
            policy = CleanPolicy(logs_age_s=0.0, scratch_age_s=0.0)
            return await run.engine.clean(run.node_id, policy, spare=spare, dry_run=dry_run, budget_s=30.0)

        assert await clean(str(ContainerId.parse(over).attempt.application)) == Freed()
        told = await clean(dry_run=True)
        assert (told.logs, await run.log(over)) == (1, "one\n")
        assert await clean() == told
        assert await clean() == Freed()
        assert await _has_no_output(run, over)
        assert (await run.log(unacknowledged), await run.log(runs)) == ("two\n", "three\n")
        run.stop(runs, grace_s=0)
        await run.ended(runs)


async def check_what_a_container_wrote_is_read_and_nothing_outside_of_its_directory(maker: EngineMaker) -> None:
    async with started(maker("files")) as run:
        container_id = run.launch("sh", "-c", "echo one > result.txt; echo two")
        await run.ended(container_id)
        assert await _files(run, container_id, "result.txt") == {"result.txt": b"one\n"}
        assert (await _files(run, container_id, ""))["result.txt"] == b"one\n"
        await raises(InvalidInput, run.engine.read_files(run.node_id, container_id, "../result.txt"))
        await raises(InvalidInput, run.engine.read_files(run.node_id, container_id, "/etc/passwd"))
        await _raises_not_found(run.engine.read_files(run.node_id, container_id, "other.txt"))
        await _raises_not_found(run.engine.read_files(run.node_id, "container_e01_1_0001_01_999999", ""))


async def _files(run: EngineHarness, container_id: str, path: str) -> dict[str, bytes]:
    stream = await run.engine.read_files(run.node_id, container_id, path)
    archive = io.BytesIO()
    while data := await stream.read():
        archive.write(data)
    await stream.close()
    archive.seek(0)
    return _extracted(archive)


def _extracted(archive: io.BytesIO) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        extract(archive, folder, overwrite=False)
        return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


async def _has_no_log(run: EngineHarness, container_id: str) -> bool:
    with contextlib.suppress(NotFound):
        await run.log(container_id)
        return False
    return True


async def _has_no_output(run: EngineHarness, container_id: str) -> bool:
    """True also where it is known still that there was such a container."""
    return await _has_no_log(run, container_id) or await run.log(container_id) == ""


async def _is_gone(run: EngineHarness, pid: str) -> bool:
    return (await run.ended(run.launch("sh", "-c", f"kill -0 {pid}"))).exit_code != 0


async def _raises_not_found(call: Awaitable[object]) -> None:
    await raises(NotFound, call)


ENGINE_CHECKS: tuple[EngineCheck, ...] = (
    check_node_registers_and_beats,
    check_the_doctor_examines_a_node,
    check_exit_codes,
    check_a_start_is_told_before_its_end,
    check_logs,
    check_a_log_is_cut_at_its_limit_and_the_rest_counted,
    check_environment,
    check_a_launch_repeated_runs_once,
    check_stop_terminates,
    check_stop_kills_what_ignores_terminate,
    check_the_whole_tree_ends,
    check_signal,
    check_who_handles_terminate_is_warned_and_reads_why,
    check_who_has_no_handler_goes_on_though_warned_until_it_is_stopped,
    check_what_is_halted_does_nothing_until_it_goes_on_and_can_be_stopped,
    check_what_is_resized_goes_on,
    check_input,
    check_a_program_joins_a_container_and_ends_with_it,
    check_nothing_but_the_containers_own_ports_is_connected_to,
    check_unknown_and_ended_containers_are_no_error,
    check_what_ran_meanwhile_is_adopted,
    check_ends_are_told_until_acknowledged,
    check_what_is_forgotten_is_gone_and_nothing_else,
    check_what_a_container_wrote_is_read_and_nothing_outside_of_its_directory,
    check_cleaning_spares_what_runs_what_is_unacknowledged_and_who_is_named,
    *LAUNCH_CHECKS,
)


async def check_engine(maker: EngineMaker) -> None:
    """Hold an engine to everything that `hrm.engines.base` promises. Raises AssertionError."""
    for check in ENGINE_CHECKS:
        await check(maker)
