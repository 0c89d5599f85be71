"""Attach to a job and talk to it: standard input there, output back, its end.

Shows: a job that reads from its client and ends with it (``attached``), `Client.attach`, output apart by stream.
Leaves out: a terminal (``terminal=TerminalSize(…)``, with `Attachment.resize`) and signals (`Attachment.signal`).

    python examples/talk_to_a_job.py
"""

from __future__ import annotations

import sys

from hrm import Client
from hrm.model.jobs import JobSpec, TaskGroupSpec
from hrm.sdk.attachment import Ended


def main() -> int:
    job = JobSpec(groups=(TaskGroupSpec(command=("sort", "-n")),), stdin=True, attached=True)
    with Client() as client, client.attach(client.submit(job).application_id) as attachment:
        attachment.send_stdin(b"30\n4\n100\n")
        attachment.close_stdin()
        for item in attachment:
            if isinstance(item, Ended):
                return item.report.exit_code or 0
            target = sys.stdout if item.stream == "stdout" else sys.stderr
            target.buffer.write(item.data)
    return 1


if __name__ == "__main__":
    sys.exit(main())
