"""Frames between a server and a client attached to an application, over one WebSocket.

Server to client: a binary frame is output (one byte 1 for stdout or 2 for stderr, four bytes task index big-endian,
then the data); a text frame is a JSON object: ``{"type": "attached", "stdin_window_bytes": N}`` first,
``{"type": "stdin_taken", "bytes": N}``, ``{"type": "error", "error": …}``, and last
``{"type": "ended", "report": …, "dropped_bytes": N}``, with how much output the limit on logs dropped.

Client to server: a binary frame is standard input; a text frame is a JSON object: ``{"type": "close_stdin"}``,
``{"type": "signal", "signum": N}`` or ``{"type": "resize", "rows": N, "columns": N}``.

Standard input has a window: at most ``stdin_window_bytes`` may be sent and not yet taken. So a program that does not
read stops its client's input, but never its signals, and the server keeps no more than the window.
"""

from __future__ import annotations

from hrm.model.containers import LogStream

STDIN_WINDOW_BYTES = 256 * 1024
_CODES = {LogStream.STDOUT: 1, LogStream.STDERR: 2}
_STREAMS = {code: stream for stream, code in _CODES.items()}
_HEADER_BYTES = 5


def encode_output(stream: LogStream, task_index: int, data: bytes) -> bytes:
    """One binary frame of output."""
    return bytes((_CODES[stream],)) + task_index.to_bytes(4, "big") + data


def decode_output(frame: bytes) -> tuple[LogStream, int, bytes]:
    """(stream, task index, data) of a binary frame. Raises ValueError for one that is no such frame."""
    if len(frame) < _HEADER_BYTES or frame[0] not in _STREAMS:
        raise ValueError(f"not a frame of output: {frame[:_HEADER_BYTES]!r}")
    return _STREAMS[frame[0]], int.from_bytes(frame[1:_HEADER_BYTES], "big"), frame[_HEADER_BYTES:]
