"""Keeps a server in the background whose engine can go away: ``python -m hrm.config.keeper --home DIR …``.

A driver of Ray's ends with Ray's head, and a server on Ray is one. Its containers go on, and the next server adopts
them; this small program starts it, as a service manager would. What it is given are the arguments of `hrm.server`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hrm.config.home import Home
from hrm.model.errors import CallerError, EngineAway, Forbidden, HrmError

_POLL_S = 0.1
_WAIT_S, _WAIT_MAX_S = 0.5, 10.0
#: The server was told to end, or cannot begin here for reasons that stay.
_FINAL = (0, CallerError.exit_code, Forbidden.exit_code)


class Keeper:
    """One server after another. ``arguments`` are those of `hrm.server`."""

    def __init__(self, home: Home, arguments: Sequence[str]) -> None:
        self._home = home
        self._command = [sys.executable, "-P", "-m", "hrm.server", *arguments]
        self._child: subprocess.Popen[bytes] | None = None
        self._ending = False

    def run(self) -> int:
        """Until a server ends for good; its exit code. One that was killed is not started again: somebody meant it."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._end)
        was_up, wait_s = False, _WAIT_S
        try:
            while True:
                code, came_up = self._once()
                was_up = was_up or came_up
                if self._ending or not was_up or code < 0 or code in _FINAL:
                    return code if code >= 0 else 128 - code
                wait_s = _WAIT_S if came_up else min(2 * wait_s, _WAIT_MAX_S)
                if came_up:
                    self._home.note_away("its engine ended" if code == EngineAway.exit_code else f"exit code {code}")
                    _say(f"the server ended with exit code {code}; it is started again until its engine is back")
                self._pause(wait_s)
                if self._ending:
                    return 0
        finally:
            self._home.forget_away()

    def _once(self) -> tuple[int, bool]:
        """A server's exit code, and whether it was ready for requests before."""
        child = self._child = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        came_up = False
        while True:
            try:
                code = child.wait(_POLL_S)
            except subprocess.TimeoutExpired:
                if not came_up and self._home.server_pid == child.pid:
                    came_up = True
                    self._home.forget_away()
            else:
                if self._home.server_pid == child.pid:
                    # It had no time to take it away.
                    came_up = True
                    self._home.server_file.unlink(missing_ok=True)
                return code, came_up

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._ending and time.monotonic() < until:
            time.sleep(_POLL_S)

    def _end(self, signum: int, _frame: object) -> None:
        self._ending = True
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(signum)


def _say(words: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(f"timestamp='{stamp}' level='error' event={words!r}", file=sys.stderr, flush=True)  # noqa: T201


def main(arguments: Sequence[str]) -> int:
    """Entry; returns the exit code."""
    named = arguments[arguments.index("--home") + 1] if "--home" in arguments else None
    try:
        return Keeper(Home.locate(Path(named) if named else None), arguments).run()
    except HrmError as error:
        _say(str(error))
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
