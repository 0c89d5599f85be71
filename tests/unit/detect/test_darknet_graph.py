"""From darknet's files to ONNX: the same numbers that darknet computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from hrm.detect.graph import INPUT_NAME, build_model
from hrm.detect.weights import read_names, read_weights
from hrm.model.errors import InvalidInput
from tests.unit.detect.tiny_nets import EVERY_LAYER, HEAD, NET, TinyNet, forward, weights_file

POOLED = NET.replace("width=16", "width=15").replace("height=16", "height=13")


def run(net: TinyNet, picture: np.ndarray) -> list[np.ndarray]:
    model = build_model(net.network, read_weights(net.files.weights, net.network))
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [head[0] for head in session.run(None, {INPUT_NAME: picture[None]})]


@pytest.mark.parametrize(
    "cfg",
    [
        pytest.param(EVERY_LAYER, id="every layer"),
        pytest.param(POOLED + "[maxpool]\nsize=2\nstride=2\n" + HEAD, id="pool of odd sides"),
        pytest.param(POOLED + "[maxpool]\nsize=3\nstride=1\n" + HEAD, id="pool of size three"),
        pytest.param(POOLED + "[maxpool]\nsize=2\nstride=2\npadding=0\n" + HEAD, id="pool without padding"),
    ],
)
def test_the_graph_gives_what_darknet_computes(tmp_path: Path, cfg: str) -> None:
    net = TinyNet(tmp_path / "tiny", cfg)
    inputs = net.network.inputs
    picture = np.random.default_rng(2).random((3, inputs.height, inputs.width), dtype=np.float32)

    found = run(net, picture)

    expected = forward(net.network, net.weights, picture)
    assert len(found) == len(expected)
    for ours, darknets in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, darknets, rtol=1e-4, atol=1e-4)


def test_weights_of_before_version_0_2_have_a_shorter_header(tmp_path: Path) -> None:
    net = TinyNet(tmp_path / "tiny")
    new = read_weights(net.files.weights, net.network)
    net.files.weights.write_bytes(weights_file(net.weights, version=(0, 1)))

    old = read_weights(net.files.weights, net.network)

    for one, other in zip(new, old, strict=True):
        np.testing.assert_array_equal(one.kernel, other.kernel)
        np.testing.assert_array_equal(one.bias, other.bias)


@pytest.mark.parametrize("change", [lambda data: data[:-4], lambda data: data + b"\0", lambda data: data[:20]])
def test_weights_of_another_length_are_refused(tmp_path: Path, change) -> None:
    net = TinyNet(tmp_path / "tiny")
    net.files.weights.write_bytes(change(net.files.weights.read_bytes()))

    with pytest.raises(InvalidInput, match=r"tiny\.weights: has [\d,]+ bytes, but this network needs [\d,]+"):
        read_weights(net.files.weights, net.network)


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"short", "too short"), (weights_file([], version=(2000, 2)), "transposed"), (b"GIF89a......", "not darknet's")],
)
def test_files_that_are_no_weights_are_refused(tmp_path: Path, data: bytes, says: str) -> None:
    net = TinyNet(tmp_path / "tiny")
    net.files.weights.write_bytes(data)

    with pytest.raises(InvalidInput, match=says):
        read_weights(net.files.weights, net.network)


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    net = TinyNet(tmp_path / "tiny")
    data = bytearray(net.files.weights.read_bytes())
    data[-4:] = np.float32("nan").tobytes()
    net.files.weights.write_bytes(data)

    with pytest.raises(InvalidInput, match="not finite"):
        read_weights(net.files.weights, net.network)


def test_every_class_needs_its_name(tmp_path: Path) -> None:
    path = tmp_path / "three.names"
    path.write_text("cat\ndog\nhorse\n\n")

    assert read_names(path, 3) == ("cat", "dog", "horse")
    with pytest.raises(InvalidInput, match="names 3 classes, but the network has 2"):
        read_names(path, 2)
