"""A package index on the loopback that behaves as well or as badly as a test wants, and archives to serve."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hrm.detect.models import CatalogueModel, Member

ARCHIVE = "somebody-1.0.tar.gz"
FILES = {
    "tiny.cfg": b"[net]\nwidth=16\nheight=16\n",
    "tiny.weights": random.Random(1).randbytes(100_000),
    "tiny.names": b"cat\ndog\n",
}


def sdist(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """A .tar.gz with ``files`` (and symbolic ``links``), whatever their names say."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return buffer.getvalue()


def good_sdist(**more: bytes) -> bytes:
    return sdist({f"somebody-1.0/models/{name}": data for name, data in FILES.items()} | more)


def catalogue(archive: bytes) -> dict[str, CatalogueModel]:
    """A catalogue of one model, ``tiny``, that knows ``archive`` by its hash."""
    members = tuple(
        Member(path=f"somebody-1.0/models/{name}", size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in FILES.items()
    )
    model = CatalogueModel(
        name="tiny",
        project="somebody",
        archive=ARCHIVE,
        archive_bytes=len(archive),
        archive_sha256=hashlib.sha256(archive).hexdigest(),
        members=members,
    )
    return {"tiny": model}


class LoopbackIndex:
    """What the server does is in its fields; what it was asked is in ``requests`` (path, Range header)."""

    def __init__(self, archive: bytes) -> None:
        self.archive = archive
        self.html = False
        self.lists_archive = True
        self.has_archive = True
        self.takes_ranges = True
        #: How many bytes of the archive each download sends before the connection ends; None: all.
        self.breaks_after: int | None = None
        #: Held back until set, so that a test can look while a download is under way.
        self.may_send = threading.Event()
        self.may_send.set()
        self.sending = threading.Event()
        self.requests: list[tuple[str, str | None]] = []
        self.url = ""

    @property
    def downloads(self) -> list[str | None]:
        """The Range header of each download."""
        return [asked for path, asked in self.requests if path.endswith(ARCHIVE)]

    def listing(self) -> tuple[str, bytes]:
        names = ["somebody-0.9.tar.gz", *([ARCHIVE] if self.lists_archive else [])]
        if self.html:
            links = "".join(f'<a href="../../files/{name}#sha256=00">{name}</a><br/>' for name in names)
            return "text/html; charset=utf-8", f"<!DOCTYPE html><html><body>{links}</body></html>".encode()
        files = [{"filename": name, "url": f"/files/{name}", "hashes": {}} for name in names]
        body = json.dumps({"meta": {"api-version": "1.0"}, "name": "somebody", "files": files})
        return "application/vnd.pypi.simple.v1+json", body.encode()


@contextmanager
def serve(index: LoopbackIndex) -> Iterator[LoopbackIndex]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted_range = self.headers.get("Range")
            index.requests.append((self.path, wanted_range))
            if self.path == "/simple/somebody/":
                kind, body = index.listing()
                self.answer(200, {"Content-Type": kind}, body)
            elif self.path == f"/files/{ARCHIVE}" and index.has_archive:
                self.send_archive(wanted_range)
            else:
                self.answer(404, {}, b"not here")

        def send_archive(self, wanted_range: str | None) -> None:
            begin = int(wanted_range.removeprefix("bytes=").rstrip("-")) if wanted_range and index.takes_ranges else 0
            if begin >= len(index.archive):
                self.answer(416, {}, b"")
                return
            headers = {"Content-Type": "application/x-gzip"}
            if begin:
                headers["Content-Range"] = f"bytes {begin}-{len(index.archive) - 1}/{len(index.archive)}"
            self.answer(206 if begin else 200, headers, index.archive[begin:], index.breaks_after)

        def answer(self, status: int, headers: dict[str, str], body: bytes, sent: int | None = None) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if status < 400 and self.path.startswith("/files/"):
                index.sending.set()
                index.may_send.wait(timeout=60)
            with suppress(ConnectionError):  # a client that has read enough leaves
                self.wfile.write(body[:sent])
            if sent is not None and sent < len(body):
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Tests read ``requests`` instead."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    try:
        yield index
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
