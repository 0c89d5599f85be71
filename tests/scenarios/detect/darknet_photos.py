"""The photographs of Debian's package ``darknet``: used where they are, or fetched by apt; never part of HRM."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

DATA = Path("usr/share/darknet/data")


def darknet_photos(cache: Path) -> Path:
    """The directory with ``dog.jpg`` and the others: the installed package's, else unpacked into ``cache`` once."""
    for place in (Path("/") / DATA, cache / DATA):
        if (place / "dog.jpg").is_file():
            return place
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        pytest.skip("darknet's photographs come from a Debian package, and this is no Debian")
    fetched = subprocess.run(
        ["apt-get", "download", "darknet"], cwd=cache, capture_output=True, text=True, timeout=120, check=False
    )
    packages = sorted(cache.glob("darknet_*.deb"))
    if not packages:
        pytest.skip(f"darknet's photographs cannot be fetched: {fetched.stderr.strip()[-300:]}")
    subprocess.run(["dpkg-deb", "-x", str(packages[0]), str(cache)], check=True, timeout=60)
    return cache / DATA


if __name__ == "__main__":
    here = Path("darknet-photos")
    here.mkdir(exist_ok=True)
    print(darknet_photos(here))  # noqa: T201
