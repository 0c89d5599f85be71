"""What runs in each container of a job of kind `ray`: a part of a private Ray cluster, and with rank 0 the driver.

It is handed to the job's own Python as text, so that nothing of HRM has to be installed there: the standard library
only, one file. Ray's processes are held to the container's share because they are told no more than that, and because
they live in it. The exit code is the driver's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence

MIB = 1 << 20
#: Ray's own processes: head and raylet, or a raylet.
HEAD_MIB, WORKER_MIB = 600, 300
#: Below this a raylet and one worker do not fit.
LEAST_MIB = 768
#: Ray takes no less.
LEAST_STORE_MIB = 80
STORE_PART = 0.3
JOIN_S = 180.0
LOOK_S = 0.5
#: So many looks in a row at a head that refuses connections say that it has ended.
REFUSED = 3
END_S = 10.0
SHM = "/dev/shm"
_WAIT_FOR_ALL = """
import sys, time, ray
ray.init(address=sys.argv[1], _node_ip_address=sys.argv[2], log_to_driver=False, configure_logging=False)
deadline = time.monotonic() + float(sys.argv[4])
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[3]):
    if time.monotonic() > deadline:
        sys.exit(f"only {sum(node['Alive'] for node in ray.nodes())} of {sys.argv[3]} have joined")
    time.sleep(0.1)
"""


class Trouble(Exception):
    """In words. ``code`` is the exit code."""

    def __init__(self, words: str, code: int = 1) -> None:
        super().__init__(words)
        self.code = code


class Member:
    """One container of the gang, as its environment says."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.rank = int(environ["HRM_NODE_RANK"])
        self.size = int(environ["HRM_GANG_SIZE"])
        self.host = environ["HRM_HOSTS"].split(",")[self.rank]
        self.head = environ["MASTER_ADDR"], int(environ["MASTER_PORT"])
        # Ray counts whole CPUs; the container's own limit holds all the same.
        self.cpus = max(1, int(float(environ["HRM_CPUS_PER_TASK"])))
        self.memory_mib = int(environ["HRM_MEMORY_MIB"])
        devices = environ.get("CUDA_VISIBLE_DEVICES", "")
        self.gpus = len([one for one in devices.split(",") if one])
        self.token = environ["HRM_RAY_JOB_TOKEN"]
        if self.memory_mib < LEAST_MIB:
            raise Trouble(
                f"a job of kind ray needs {LEAST_MIB} MiB for each task, this one has {self.memory_mib}\n"
                f"  next: --memory 1G or more",
                2,
            )

    @property
    def address(self) -> str:
        return f"{self.head[0]}:{self.head[1]}"

    @property
    def store_mib(self) -> int:
        return max(LEAST_STORE_MIB, int(self.memory_mib * STORE_PART))

    @property
    def work_mib(self) -> int:
        """For tasks and actors: what is left."""
        rays = HEAD_MIB if self.rank == 0 else WORKER_MIB
        return max(self.memory_mib // 8, self.memory_mib - self.store_mib - rays)

    def command(self, folder: str, ports: Sequence[int], store: str) -> list[str]:
        """`ray start` with the container's share. ``ports`` are two free ones, ``store`` where objects are kept."""
        joins = ["--head", f"--port={self.head[1]}", "--include-dashboard=false", "--no-monitor"]
        if self.rank:
            joins = [f"--address={self.address}"]
        else:
            joins.append(f"--ray-client-server-port={ports[1]}")
        return [
            *(sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--block"),
            *joins,
            f"--node-ip-address={self.host}",
            f"--num-cpus={self.cpus}",
            f"--num-gpus={self.gpus}",
            f"--memory={self.work_mib * MIB}",
            f"--object-store-memory={self.store_mib * MIB}",
            f"--plasma-directory={store}",
            f"--temp-dir={folder}",
            # Others of the gang may be on this node, and other gangs.
            "--min-worker-port=0",
            "--max-worker-port=0",
            f"--dashboard-agent-listen-port={ports[0]}",
            "--disable-usage-stats",
        ]

    def environment(self, environ: Mapping[str, str], folder: str) -> dict[str, str]:
        """For Ray's processes and the driver."""
        kept = {name: value for name, value in environ.items() if not name.startswith(("RAY_", "HRM_RAY_JOB"))}
        return {
            **kept,
            "RAY_ADDRESS": self.address,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": f"{folder}/token",
            "RAY_TMPDIR": folder,
            "RAY_USAGE_STATS_ENABLED": "0",
            # The limit is the container's; Ray would look at the machine's.
            "RAY_memory_monitor_refresh_ms": "0",
        }


@contextlib.contextmanager
def private_folder() -> Iterator[str]:
    """For sockets, whose names have room for 107 bytes only; what others of ours left that were killed goes as well."""
    mine = f"hrm-ray-{os.getuid()}-"
    base = tempfile.gettempdir()
    for name in os.listdir(base):
        if name.startswith(mine):
            _remove_if_left(f"{base}/{name}")
    folder, lock = _locked_folder(mine)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _locked_folder(prefix: str) -> tuple[str, int]:
    """A new folder, and its lock, which is held."""
    while True:
        folder = tempfile.mkdtemp(prefix=prefix)
        lock = os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(f"{folder}/lock"):
            return folder, lock
        # Before it was locked another that began just then took it for one that was left.
        os.close(lock)


def _remove_if_left(folder: str) -> None:
    try:
        lock = os.open(f"{folder}/lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return  # another's, or one that is just being made
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return  # it is in use
    finally:
        os.close(lock)


def place_of_objects(folder: str, store_mib: int) -> str:
    """Shared memory, which counts as the container's; where there is too little of it, a directory of our own."""
    try:
        free = os.statvfs(SHM)
    except OSError:
        return folder
    return SHM if free.f_bavail * free.f_frsize > store_mib * MIB else folder


def free_ports(host: str, count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            one = stack.enter_context(socket.socket())
            one.bind((host, 0))
            found.append(int(one.getsockname()[1]))
        return found


class Cluster:
    """Ray's processes of one container."""

    def __init__(self, member: Member, folder: str, environ: Mapping[str, str]) -> None:
        self._member = member
        self._log = f"{folder}/ray.log"
        with open(os.open(f"{folder}/token", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(member.token)
        self.environment = member.environment(environ, folder)
        command = member.command(folder, free_ports(member.host, 2), place_of_objects(folder, member.store_mib))
        with open(self._log, "wb") as log:
            self.process = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def check(self) -> None:
        """Raises Trouble where it has ended."""
        if self.process.poll() is not None:
            with open(self._log, errors="replace") as file:
                said = [line.rstrip() for line in file if line.strip()][-8:]
            words = "\n".join(f"  | {line}" for line in said)
            if "No module named 'ray'" in words:
                raise Trouble(
                    f"Ray is not installed for {sys.executable}\n  next: pip install ray (2.52 or newer) there", 2
                )
            raise Trouble(f"Ray's processes of rank {self._member.rank} have ended:\n{words}")

    def answers(self) -> bool | None:
        """Whether the head takes connections; None where that cannot be told."""
        try:
            socket.create_connection(self._member.head, timeout=2.0).close()
        except ConnectionRefusedError:
            return False
        except OSError:
            return None
        return True

    def end(self) -> None:
        """In order, and after a while for sure."""
        if self.process.poll() is None:
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def drive(member: Member, cluster: Cluster, command: Sequence[str]) -> int:
    """Rank 0: run the driver once all have joined; its exit code."""
    deadline = time.monotonic() + JOIN_S
    while not cluster.answers():
        cluster.check()
        if time.monotonic() > deadline:
            raise Trouble(f"Ray's head does not answer after {JOIN_S:g} s")
        time.sleep(LOOK_S)
    waiting = [sys.executable, "-c", _WAIT_FOR_ALL, member.address, member.host, str(member.size), str(JOIN_S)]
    done = subprocess.run(waiting, env=cluster.environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise Trouble(f"the private Ray cluster has not come up: {last}")
    driver = subprocess.Popen([sys.executable, *command], env=cluster.environment)
    try:
        while True:
            try:
                code = driver.wait(LOOK_S)
                return code if code >= 0 else 128 - code
            except subprocess.TimeoutExpired:
                cluster.check()
    finally:
        if driver.poll() is None:
            driver.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                driver.wait(END_S)
            driver.kill()
            driver.wait()


def serve(cluster: Cluster) -> int:
    """Another rank: be there until the head has ended. What that means for the job its exit code says, not ours."""
    deadline = time.monotonic() + JOIN_S
    seen, refused = False, 0
    while refused < REFUSED:
        answers = cluster.answers()
        seen = seen or bool(answers)
        refused = refused + 1 if seen and answers is False else 0
        if not refused:
            # A raylet whose head has ended ends as well.
            cluster.check()
        if not seen and time.monotonic() > deadline:
            raise Trouble(f"Ray's head does not answer after {JOIN_S:g} s")
        time.sleep(LOOK_S)
    return 0


def main(command: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """The exit code. ``command`` is the script with its arguments."""

    def end(_signum: int, _frame: object) -> None:
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, end)
    try:
        member = Member(environ)
        with private_folder() as folder:
            cluster = Cluster(member, folder, environ)
            try:
                return serve(cluster) if member.rank else drive(member, cluster, command)
            finally:
                cluster.end()
    except Trouble as trouble:
        print(f"hrm: {trouble}", file=sys.stderr)  # noqa: T201
        return trouble.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
