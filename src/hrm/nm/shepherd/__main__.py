"""Start the shepherd of a state directory: ``python -I -S …/hrm/nm/shepherd STATE_DIR [--foreground] [--idle-s=60]``.

Returns when it is ready to be talked to (exit 0; it goes on in the background, in a session of its own), when another
one holds the directory (exit 3), or when it cannot start (exit 1, why on stderr). With ``--foreground`` it stays, for
a service manager. ``--idle-s`` is how long it stays with nobody connected and nothing running (inf: for ever).
"""

from __future__ import annotations

import os
import sys

# -S leaves out site-packages, and that is where `hrm` may be. Last in the path: the standard library comes first.
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))

import ctypes
import gc
import signal

from hrm.nm.shepherd import records
from hrm.nm.shepherd.herd import Herd
from hrm.nm.shepherd.journal import log
from hrm.nm.shepherd.lock import StateLock
from hrm.nm.shepherd.loop import Loop
from hrm.nm.shepherd.notify import tell_service_manager
from hrm.nm.shepherd.recovery import recover
from hrm.nm.shepherd.server import IDLE_S, Server
from hrm.nm.shepherd.strays import end_predecessors, end_strays

HELD_BY_ANOTHER = 3
_PR_SET_NO_NEW_PRIVS = 38


def main(arguments: list[str]) -> int:
    foreground, idle_s, folders = False, IDLE_S, []
    for argument in arguments:
        if argument == "--foreground":
            foreground = True
        elif argument.startswith("--idle-s="):
            idle_s = float(argument.partition("=")[2])
        else:
            folders.append(argument)
    if len(folders) != 1 or folders[0].startswith("-"):
        _complain("usage: shepherd STATE_DIR [--foreground] [--idle-s=60]")
        return 2
    os.umask(0o077)
    try:
        lock = StateLock(folders[0])
    except BlockingIOError:
        return HELD_BY_ANOTHER
    except OSError as error:
        _complain(f"shepherd: {error}")
        return 1
    ready_fd = -1
    if not foreground:
        told_fd, ready_fd = os.pipe2(os.O_CLOEXEC)
        if os.fork():
            os.close(ready_fd)
            return 0 if os.read(told_fd, 1) else 1
        os.close(told_fd)
        os.setsid()
        _let_go_of_the_terminal()
    lock.write_pid()
    if os.geteuid() == 0:
        _give_up_new_privileges()
    loop = Loop()
    herd = Herd(loop, lock)
    server = Server(loop, herd, idle_s=idle_s)
    loop.on_signals({signal.SIGCHLD: herd.reap, signal.SIGTERM: server.leave})
    left = end_predecessors(lock.folder)
    recover(herd)
    end_strays(herd, lock.folder, left)
    server.listen()
    tell_service_manager("READY=1")
    if ready_fd >= 0:
        os.write(ready_fd, b"\n")
        os.close(ready_fd)
    # What is there now stays: no need to look at it again for garbage.
    gc.collect()
    gc.freeze()
    server.serve()
    return 0


def _complain(message: str) -> None:
    sys.stderr.write(message + "\n")


def _give_up_new_privileges() -> None:
    """No container may become more than it is, by no set-user-ID program; it would be the way to root for others."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        log(f"no_new_privs cannot be set: {os.strerror(ctypes.get_errno())}")


def _let_go_of_the_terminal() -> None:
    null_fd = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null_fd, 0)
    os.close(null_fd)
    log_fd = os.open(records.LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    os.close(log_fd)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
