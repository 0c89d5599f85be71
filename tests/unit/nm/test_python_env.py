"""Python environments on a node: built once, told of when they cannot be, and never taken from who runs in them.

`uv` is played by a script here: what pip and uv themselves do is looked at by the real tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hrm.model.errors import InvalidInput, TooLarge
from hrm.model.python_envs import MAX_BYTES, Order, PythonEnv, PythonSources, put_into, taken_from
from hrm.nm.python_env.building import BuildError, Environments

UV = """#!/bin/sh
echo "$@" >>{calls}
case "$1 $2" in
  "venv --python") mkdir -p "$4/bin"; head -c 1000 /dev/zero >"$4/bin/python" ;;
  "pip install")
    for last in "$@"; do :; done
    if grep -q no-such-package "$last"; then echo resolving; echo "no version of no-such-package"; exit 2; fi ;;
esac
"""


class Machine:
    """A user's environments on a machine with a played uv."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._calls = folder / "calls"
        self._calls.touch()
        self.bin = folder / "bin"
        self.bin.mkdir()
        (self.bin / "uv").write_text(UV.format(calls=self._calls))
        (self.bin / "uv").chmod(0o755)
        (self.bin / "python3").symlink_to(sys.executable)
        self.environments = Environments(folder / "cache", {"PATH": f"{self.bin}:/usr/bin:/bin"})

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines()

    def get(self, requirements: str = "numpy\n", **more: object) -> Path:
        return self.environments.get(order({"requirements.txt": requirements}, **more))


def order(files: dict[str, str], *, cache_bytes: int = 1 << 30, **sources: object) -> Order:
    found = PythonSources(**sources)  # type: ignore[arg-type]
    return Order(env=PythonEnv(files=files), sources=found, cache_bytes=cache_bytes)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_who_want_the_same_at_once_have_it_built_once(machine: Machine) -> None:
    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(lambda _: machine.get(), range(8)))

    assert len(set(places)) == 1
    assert [call.split()[0] for call in machine.calls] == ["venv", "pip"]


def test_other_packages_or_another_source_make_another(machine: Machine) -> None:
    places = {machine.get(), machine.get("scipy\n"), machine.get(index_url="https://pypi.example.org/simple")}

    assert len(places) == 3
    assert "--index-url https://pypi.example.org/simple" in machine.calls[-1]


def test_what_cannot_be_built_is_told_with_the_last_lines_and_leaves_nothing(machine: Machine) -> None:
    with pytest.raises(BuildError, match="uv ended with 2:\nresolving\nno version of no-such-package"):
        machine.get("no-such-package\n")

    left = [path.suffix for path in (machine.folder / "cache").iterdir()]
    assert sorted(left) == [".build", ".used"]


def test_one_that_was_interrupted_while_it_was_built_is_built_anew(machine: Machine) -> None:
    place = machine.get()
    place.with_suffix(".ready").unlink()
    (place / "half").touch()

    assert machine.get() == place
    assert not (place / "half").exists()


def test_the_longest_unused_goes_but_not_one_in_which_something_runs(machine: Machine) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from hrm.nm.python_env.building import Environments;"
            "from tests.unit.nm.test_python_env import order;"
            f"e = Environments(Path({str(machine.folder / 'cache')!r}), {{'PATH': '{machine.bin}:/usr/bin:/bin'}});"
            "print(e.get(order({'requirements.txt': 'used'})), flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert holder.stdout is not None
    used = Path(holder.stdout.readline().strip())
    unused = _built_elsewhere(machine, "unused")
    for age, place in ((30, used), (20, unused)):
        os.utime(place.with_suffix(".ready"), (1_000_000 - age,) * 2)

    _built_elsewhere(machine, "new", cache_bytes=1500)
    kept = [used.exists(), unused.exists()]
    holder.communicate("")
    newest = _built_elsewhere(machine, "newest", cache_bytes=1500)

    assert kept == [True, False]
    assert newest.exists()
    assert not used.exists()


def _built_elsewhere(machine: Machine, requirements: str, **more: int) -> Path:
    """By a process that is over."""
    asked = f"{{'requirements.txt': {requirements!r}}}, **{more!r}"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from pathlib import Path; from hrm.nm.python_env.building import Environments;"
            "from tests.unit.nm.test_python_env import order;"
            f"e = Environments(Path({str(machine.folder / 'cache')!r}), {{'PATH': '{machine.bin}:/usr/bin:/bin'}});"
            f"print(e.get(order({asked})))",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    return Path(done.stdout.strip())


def test_a_lock_file_is_followed_to_the_letter_and_needs_uv(machine: Machine) -> None:
    locked = order({"pyproject.toml": "[project]\nname='x'\nversion='1'\n", "uv.lock": "version = 1\n"})

    machine.environments.get(locked)
    (machine.bin / "uv").unlink()

    assert any(call.startswith("sync --frozen --no-install-project") for call in machine.calls)
    with pytest.raises(BuildError, match=r"uv\.lock needs uv"):
        machine.environments.get(locked)


def test_a_machine_without_python_says_so(tmp_path: Path) -> None:
    environments = Environments(tmp_path / "cache", {"PATH": str(tmp_path)})

    with pytest.raises(BuildError, match="no python3 in its PATH"):
        environments.get(order({"requirements.txt": ""}))


def test_an_order_of_any_length_survives_the_way_through_variables() -> None:
    lines = "".join(f"package-{number}=={number}.{number * 7919 % 1000}\n" for number in range(60_000))
    asked = order({"pyproject.toml": "[project]\n", "uv.lock": lines}, find_links="/data/wheels", no_index=True)
    environ = {"MINE": "1"}

    put_into(environ, asked)
    longest = max(map(len, environ.values()))

    assert longest < 128 << 10
    assert taken_from(environ) == asked
    assert environ == {"MINE": "1"}


def test_other_files_and_too_long_ones_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"must be requirements\.txt"):
        PythonEnv(files={"setup.py": ""})
    with pytest.raises(InvalidInput, match=r"must be requirements\.txt"):
        PythonEnv(files={"../requirements.txt": ""})
    with pytest.raises(TooLarge):
        PythonEnv(files={"requirements.txt": "x" * (MAX_BYTES + 1)})
