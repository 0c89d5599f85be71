"""The shepherd's door: a Unix socket where NodeManagers ask for the herd's work and hear its news."""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Callable
from typing import Any

from hrm.nm.shepherd import records, wire
from hrm.nm.shepherd.container import Container
from hrm.nm.shepherd.guests import Guest
from hrm.nm.shepherd.herd import Herd
from hrm.nm.shepherd.isolation import NONE
from hrm.nm.shepherd.journal import log, log_bug
from hrm.nm.shepherd.launches import Refused
from hrm.nm.shepherd.loop import READABLE, Loop
from hrm.nm.shepherd.spawn import SpawnError

#: With nobody connected and nothing running, the shepherd leaves after this long.
IDLE_S = 60.0
_READ_BYTES = 1 << 16
#: Descriptors that come must not go on to containers.
_RECEIVE = socket.MSG_CMSG_CLOEXEC
#: Half of the messages, and of the times that both sides wake up, for containers that live no longer than this.
_STARTS_WAIT_S = 0.002
#: A NodeManager that lets more news than this pile up is dropped: it asks for everything when it comes back.
_MAX_UNSENT_BYTES = 32 << 20
#: NodeManagers, and whoever has a program run in a container.
_MAX_CLIENTS = 128
#: What serves containers is given this long to end when none is left.
_SERVICE_GRACE_S = 10.0
#: Streams of a guest.
_MAX_FDS = 3


class Server:
    """Serves until told to leave, or until there was nothing to do for ``idle_s``."""

    def __init__(self, loop: Loop, herd: Herd, *, idle_s: float) -> None:
        self._loop = loop
        self._herd = herd
        self._idle_s = idle_s
        self._clients: list[_Client] = []
        #: Who said hello last: nobody else may have anything begin.
        self._latest: _Client | None = None
        self._leaving = False
        self._starts_wait = False
        self._idle_since_turn = 0
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._ops: dict[str, Callable[[dict[str, Any]], None]] = {
            "launch": lambda m: herd.launch(m["specs"]),
            "stop": self._stop,
            "signal": lambda m: herd.signal(m["id"], int(m["signum"])),
            "freeze": lambda m: herd.freeze(m["ids"], frozen=bool(m["frozen"])),
            "limit": lambda m: herd.limit(m["id"], {name: int(value) for name, value in m["changed"].items()}),
            "warn": lambda m: herd.warn(m["id"], dict(m["notice"])),
            "spare": lambda m: herd.spare(m["id"]),
            "close_input": lambda m: herd.close_input(m["id"]),
            "resize": lambda m: herd.resize(m["id"], int(m["rows"]), int(m["columns"])),
            "lease": lambda m: (herd.lease.shorten if m.get("at_most") else herd.lease.extend)(float(m["until"])),
            "fail": lambda m: herd.fail(m["id"], str(m["why"])),
            "ack": lambda m: herd.ends.acknowledge(m["ids"]),
            "leave": lambda m: self.leave(),
        }
        #: What is asked about one container that runs, and answered where it was asked.
        self._questions: dict[str, Callable[[Container, dict[str, Any]], dict[str, Any] | None]] = {
            "relaunch": herd.relaunching.order,
            "localize": lambda container, m: herd.relaunching.localize(container, m["program"], m["links"]),
            "launch_state": lambda container, m: herd.relaunching.state(container),
        }

    def listen(self) -> None:
        """Open the door. Only who holds the lock of the state directory may."""
        try:
            os.unlink(records.SOCKET)
        except FileNotFoundError:
            pass
        # Bound by a relative name: the whole path may be longer than the 107 bytes that a socket's name can have.
        self._listener.bind(records.SOCKET)
        self._listener.listen(_MAX_CLIENTS)
        self._loop.watch(self._listener.fileno(), READABLE, self._accept)

    def serve(self) -> None:
        self._rest_if_idle()
        while not (self._leaving and self._idle):
            try:
                self._loop.turn()
                self._herd.launch_next()
                self._tell_news_soon()
                if self._herd.dispossessed:
                    self._close_door()
            except Exception:  # noqa: BLE001
                # Whatever went wrong with one container, the others need their shepherd.
                log_bug()
        self._herd.isolation.close()
        if not self._herd.dispossessed:
            os.unlink(records.SOCKET)

    def _close_door(self) -> None:
        """Who was connected starts another shepherd, which ends this one and what it still watches."""
        for client in list(self._clients):
            self._drop(client)
        self._loop.forget(self._listener.fileno())
        self._listener.close()

    def leave(self) -> None:
        """Leave as soon as nothing runs."""
        self._leaving = True

    @property
    def _idle(self) -> bool:
        return not (self._herd.live or self._herd.waiting or self._herd.held_back)

    def _rest_if_idle(self) -> None:
        """Start counting; whoever comes in between makes the count void."""
        self._idle_since_turn += 1
        count = self._idle_since_turn

        def leave_if_still_idle() -> None:
            if count == self._idle_since_turn and not self._clients:
                if self._idle:
                    self.leave()
                else:
                    self._end_services()
                    self._rest_if_idle()

        self._loop.call_later(self._idle_s, leave_if_still_idle)

    def _end_services(self) -> None:
        """Where nobody is connected and nothing else runs, they serve nobody."""
        herd = self._herd
        if not (herd.waiting or herd.held_back) and all(map(records.is_service, herd.live)):
            for container_id in list(herd.live):
                herd.stop(container_id, _SERVICE_GRACE_S)

    def _accept(self, _events: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        _pid, uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in (0, os.getuid()) or len(self._clients) >= _MAX_CLIENTS:
            sock.close()
            return
        sock.setblocking(False)
        client = _Client(sock)
        self._clients.append(client)
        self._loop.watch(sock.fileno(), READABLE, lambda events: self._serve_client(client, events))

    def _serve_client(self, client: _Client, events: int) -> None:
        try:
            if events & select.EPOLLOUT:
                client.flush()
            if events & ~select.EPOLLOUT:
                if client.greeted:
                    data = client.socket.recv(_READ_BYTES)
                else:
                    data, fds, _, _ = socket.recv_fds(client.socket, _READ_BYTES, _MAX_FDS, _RECEIVE)
                    client.fds += fds
                if not data:
                    self._drop(client)
                    return
                for message in client.decoder.feed(data):
                    self._obey(client, message)
        except BlockingIOError:
            return
        except (OSError, wire.WireError) as error:
            log(f"a NodeManager was dropped: {error}")
            self._drop(client)
            return
        self._watch_for_room(client)

    def _obey(self, client: _Client, message: dict[str, Any]) -> None:
        op = message.get("op")
        if op == "hello":
            # What this answer tells need not be told again; what it does not tell must not begin any more.
            self._herd.forget_what_waits()
            self._tell_news()
            self._latest, client.greeted = client, True
            isolation = self._herd.isolation.set_up(
                str(message.get("isolation", NONE)), pinning=bool(message.get("pinning"))
            )
            client.send(
                wire.encode(
                    {
                        "hello": {
                            "protocol": wire.PROTOCOL,
                            "pid": os.getpid(),
                            "incarnation": self._herd.incarnation,
                        },
                        "isolation": isolation,
                        "running": [container.report() for container in self._herd.live.values()],
                        "ended": list(self._herd.ends.kept.values()),
                    }
                )
            )
            return
        if op == "launch" and client is not self._latest:
            # What a server that died meanwhile had sent may be read after its successor's hello.
            raise wire.WireError("another one has come since, and does not know what this one launches")
        try:
            if op == "exec":
                self._exec(client, message)
            elif op in self._questions:
                self._answer(client, self._questions[op], message)
            elif op == "signal_guest":
                if client.guest is not None:
                    self._herd.guests.signal(client.guest, int(message["signum"]))
            else:
                self._ops[str(op)](message)
        except (KeyError, TypeError, ValueError) as error:
            raise wire.WireError(f"bad {op!r} message: {error!r}") from None

    def _exec(self, client: _Client, message: dict[str, Any]) -> None:
        """Have a program join a container, for as long as the client is connected."""

        def tell(news: dict[str, Any]) -> None:
            try:
                client.send(wire.encode(news))
            except OSError:
                self._drop(client)

        fds, client.fds = client.fds, []
        try:
            container = self._herd.live.get(message["id"])
            if container is None or client.guest is not None:
                raise SpawnError("it does not run here", code=126, program=False)
            client.guest = self._herd.guests.start(container, message, fds, tell)
        except SpawnError as error:
            tell({"refused": error.message, "code": error.code})
        except OSError as error:
            tell({"refused": str(error), "code": 126})
        finally:
            for fd in fds:
                os.close(fd)

    def _answer(
        self,
        client: _Client,
        question: Callable[[Container, dict[str, Any]], dict[str, Any] | None],
        message: dict[str, Any],
    ) -> None:
        answer: dict[str, Any]
        container = self._herd.running(message["id"])
        if container is None:
            answer = {"missing": "it does not run here"}
        else:
            try:
                answer = {"answer": question(container, message)}
            except Refused as refused:
                answer = {"refused": str(refused)}
            except SpawnError as error:
                answer = {"refused": error.message}
            except OSError as error:
                answer = {"refused": str(error)}
        client.send(wire.encode(answer))

    def _stop(self, message: dict[str, Any]) -> None:
        for container_id in message["ids"]:
            self._herd.stop(container_id, float(message["grace_s"]))

    def _tell_news_soon(self) -> None:
        """Tell what happened; starts alone wait a little, because the end of a short container goes with its start."""
        if not self._herd.only_starts:
            self._tell_news()
        elif not self._starts_wait:
            self._starts_wait = True
            self._loop.call_later(_STARTS_WAIT_S, self._tell_starts)

    def _tell_starts(self) -> None:
        self._starts_wait = False
        self._tell_news()

    def _tell_news(self) -> None:
        news = self._herd.take_news()
        if news:
            line = wire.encode(news)
            for client in list(self._clients):
                if client.greeted:
                    try:
                        client.send(line)
                    except OSError as error:
                        log(f"a NodeManager was dropped: {error}")
                        self._drop(client)
                    else:
                        self._watch_for_room(client)

    def _watch_for_room(self, client: _Client) -> None:
        if len(client.unsent) > _MAX_UNSENT_BYTES:
            log("a NodeManager was dropped: it does not read")
            self._drop(client)
        elif bool(client.unsent) != client.wants_room:
            client.wants_room = bool(client.unsent)
            events = READABLE | (select.EPOLLOUT if client.wants_room else 0)
            self._loop.change(client.socket.fileno(), events)

    def _drop(self, client: _Client) -> None:
        """Hang up. No error if that is done."""
        if client not in self._clients:
            return
        self._clients.remove(client)
        if client.guest is not None:
            self._herd.guests.leave(client.guest)
        for fd in client.fds:
            os.close(fd)
        self._loop.forget(client.socket.fileno())
        client.socket.close()
        if not self._clients:
            self._rest_if_idle()


class _Client:
    """One connection."""

    __slots__ = ("decoder", "fds", "greeted", "guest", "socket", "unsent", "wants_room")

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.decoder = wire.Decoder()
        self.unsent = bytearray()
        #: True once it said hello: news is told from then on.
        self.greeted = False
        self.wants_room = False
        #: Descriptors that came with what it said.
        self.fds: list[int] = []
        #: The program that it had started in a container.
        self.guest: Guest | None = None

    def send(self, data: bytes) -> None:
        """Send what the socket takes, keep the rest. Raises OSError if the other side is gone."""
        if self.unsent:
            self.unsent += data
            return
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self.unsent += data[sent:]

    def flush(self) -> None:
        try:
            del self.unsent[: self.socket.send(self.unsent)]
        except BlockingIOError:
            pass
