"""HTTP to one server, over TCP or its Unix socket, on the standard library's `http.client`.

Not httpx: importing it takes 200 to 250 ms here against 45 ms for `http.client`, and `hrm run` pays that on every
start. What it lacks and this adds: connections kept and shared between threads, retries where they are safe, and
errors of HRM's own types.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from hrm.config import sockets
from hrm.model.error_codec import error_from_dict
from hrm.model.errors import ClusterError, HrmError, InvalidInput, NoServer, TooManyRequests, Unauthenticated

PREFIX = "/api/v1"
#: How the address of a Unix socket begins; its absolute path follows.
UNIX = "unix:"
_MAX_IDLE_CONNECTIONS = 8
#: Tries of a call that may be made twice, when a connection breaks.
_TRIES = 3
#: How long to keep still after a refusal for asking too fast: what the server's Retry-After says.
_TOO_FAST_PAUSE_S = 1.0
#: A stream that says nothing for this long is dead: the server sends a comment every 15 s.
STREAM_SILENCE_S = 60.0
#: What a broken or closed connection raises.
CONNECTION_ERRORS = (ConnectionError, http.client.HTTPException)

Query = Mapping[str, Any]
Report = TypeVar("Report")


class Transport:
    """Calls ``address`` with ``token``; over a Unix socket None will do: the server sees whose process this is.

    Threads may share one. Raises NoServer at once if nothing listens there.
    """

    def __init__(self, address: str, token: str | None, *, timeout_s: float) -> None:
        unix = address.startswith(UNIX)
        url = urlsplit("http://localhost" if unix else address if "://" in address else f"http://{address}")
        self._socket_file = Path(address.removeprefix(UNIX)) if unix else None
        try:
            port = url.port
        except ValueError:
            port = 0
        if (
            url.scheme not in ("http", "https")
            or not url.hostname
            or port == 0
            or (self._socket_file and not self._socket_file.is_absolute())
        ):
            raise InvalidInput(
                f"not an address: {address!r}",
                next_step=f"write for example http://127.0.0.1:8032 or {UNIX}/var/lib/hrm/hrm.sock",
            )
        if not unix and not token:
            raise Unauthenticated("there is no token", next_step="give the text of a token file")
        if token is not None and not (token.isascii() and token.isprintable() and token):
            raise Unauthenticated("the token is empty or garbled", next_step="give the text of a token file")
        #: Host and path that URLs of this server begin with.
        self.place = f"{url.netloc}{url.path.rstrip('/')}"
        self.address = f"{UNIX}{self._socket_file}" if unix else f"{url.scheme}://{self.place}"
        self.timeout_s = timeout_s
        self.headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._tls = url.scheme == "https"
        self._host = url.hostname
        self._port = port or (443 if self._tls else 80)
        self._prefix = url.path.rstrip("/") + PREFIX
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._lock = threading.Lock()
        self._give_back(self._connected(timeout_s))

    def close(self) -> None:
        """Drop the connections that are kept."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        repeatable: bool,
        timeout_s: float | None = None,
    ) -> bytes:
        """The body of the answer. ``repeatable``: doing it twice is doing it once, so a broken connection is retried.

        A refusal for asking too fast is waited out within the timeout: nothing was done. Raises what the server
        raised, and NoServer.
        """
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + timeout_s
        payload = None if body is None else _encoded(body)
        tries = _TRIES if repeatable else 1
        while True:
            # A kept connection may have been closed by the server meanwhile, which shows only on use.
            connection = (self._take() if repeatable else None) or self._connected(timeout_s)
            try:
                response = self._request(connection, method, self._target(path, query), payload, timeout_s)
                data = response.read()
            except TimeoutError:
                connection.close()
                raise NoServer(
                    f"{self.address} did not answer within {timeout_s:g} s", next_step="see the server's log"
                ) from None
            except CONNECTION_ERRORS as error:
                connection.close()
                self.close()  # what closed this one has closed the other kept ones too
                tries -= 1
                if tries <= 0:
                    raise self.lost(error) from None
                continue
            if response.will_close:
                connection.close()
            else:
                self._give_back(connection)
            if response.status < 300:
                return data
            refusal = self._error(response.status, data)
            if not isinstance(refusal, TooManyRequests) or time.monotonic() + _TOO_FAST_PAUSE_S > deadline:
                raise refusal
            time.sleep(_TOO_FAST_PAUSE_S)

    def send(self, path: str, pieces: Iterable[bytes], *, timeout_s: float) -> bytes:
        """POST a body that is made as it is sent; the body of the answer. Raises what ``pieces`` raises, too.

        ``timeout_s`` is for each step. Never done twice.
        """
        connection = self._connected(self.timeout_s)
        assert connection.sock is not None
        connection.sock.settimeout(timeout_s)
        headers = {**self.headers, "Content-Type": "application/octet-stream"}
        try:
            try:
                connection.request("POST", self._target(path, None), pieces, headers, encode_chunked=True)
            except (BrokenPipeError, ConnectionResetError):
                # The server has refused the rest: its answer says why.
                if connection.sock is None:
                    raise
            response = connection.getresponse()
            data = response.read()
        except TimeoutError:
            raise NoServer(f"{self.address} did not take it within {timeout_s:g} s", next_step="upload again") from None
        except CONNECTION_ERRORS as error:
            raise self.lost(error) from None
        finally:
            connection.close()
        if response.status >= 300:
            raise self._error(response.status, data)
        return data

    def stream(
        self, path: str, *, query: Query, headers: Mapping[str, str] | None = None
    ) -> Generator[bytes, None, None]:
        """The body of the answer, piece by piece as it comes; the request is made before this returns.

        Raises NoServer; the pieces raise one of `CONNECTION_ERRORS` where the stream breaks off.
        """
        connection = self._connected(self.timeout_s)
        try:
            response = self._request(
                connection, "GET", self._target(path, query), None, max(self.timeout_s, STREAM_SILENCE_S), headers
            )
            if response.status >= 300:
                raise self._error(response.status, response.read())
        except TimeoutError:
            connection.close()
            raise NoServer(f"{self.address} did not answer", next_step="see the server's log") from None
        except CONNECTION_ERRORS as error:
            connection.close()
            raise self.lost(error) from None
        except HrmError:
            connection.close()
            raise
        return _pieces(connection, response)

    def connect_socket(self) -> socket.socket:
        """A plain connection to the server, for another protocol to speak. Raises NoServer."""
        connection = self._connected(self.timeout_s)
        taken = connection.sock
        assert taken is not None
        connection.sock = None
        return taken

    def _target(self, path: str, query: Query | None) -> str:
        named = {
            name: str(value).lower() if isinstance(value, bool) else value
            for name, value in (query or {}).items()
            if value is not None
        }
        return f"{self._prefix}{path}?{urlencode(named, doseq=True)}" if named else f"{self._prefix}{path}"

    def _request(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        payload: bytes | None,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        assert connection.sock is not None
        connection.sock.settimeout(timeout_s)
        json_type = {} if payload is None else {"Content-Type": "application/json"}
        try:
            connection.request(method, target, payload, {**self.headers, **json_type, **(headers or {})})
        except (BrokenPipeError, ConnectionResetError):
            # The server may have refused the rest of a body; its answer is then already here, and says why.
            if payload is None or connection.sock is None:
                raise
        return connection.getresponse()

    def _take(self) -> http.client.HTTPConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < _MAX_IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()

    def _connected(self, timeout_s: float) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        if self._socket_file is not None:
            connection = _UnixConnection(self._socket_file, timeout_s)
        else:
            kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
            connection = kind(self._host, self._port, timeout=timeout_s)
        try:
            connection.connect()
        except OSError as error:
            raise NoServer(
                f"no HRM server answers at {self.address}: {error.strerror or error}", next_step="`hrm up` starts one"
            ) from None
        return connection

    def lost(self, error: Exception) -> NoServer:
        """What a broken connection is to a caller."""
        return NoServer(f"{self.address} broke the connection off: {error}", next_step="`hrm status` shows if it is up")

    def _error(self, status: int, data: bytes) -> HrmError:
        try:
            body = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            body = None
        return error_from_dict(body) or NoServer(
            f"what answers at {self.address} is no HRM server (status {status})", next_step="check address and port"
        )


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over the Unix socket at ``path``."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = sockets.connect(self._path, timeout_s=self._timeout_s)


def _encoded(body: Any) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"not valid Unicode: {error.object!r:.80}", next_step="use names whose bytes are UTF-8"
        ) from None


def decoded(data: bytes, kind: type[Report]) -> Report:
    """An answer as ``kind``. Raises ClusterError for one that it does not fit."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ClusterError(
            f"the server's answer is not understood: {error}", next_step="use the same version of HRM on both sides"
        ) from None


def _pieces(connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> Generator[bytes, None, None]:
    try:
        while data := response.read1(1 << 18):
            yield data
        if not response.isclosed():
            raise ConnectionError("the stream broke off")
    except TimeoutError:
        raise ConnectionError("the stream went silent") from None
    finally:
        # The response has a hold on the socket of its own.
        response.close()
        connection.close()
