"""Small darknet networks with made-up weights, and what darknet would compute of them, written plainly."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from hrm.detect.models import ModelFiles
from hrm.detect.network import Convolutional, MaxPool, Network, Route, Shortcut, Upsample, Yolo, parse_network

NET = "[net]\nwidth=16\nheight=16\nchannels=3\n"
#: One anchor of two classes needs seven filters.
HEAD = "[convolutional]\nfilters=7\nsize=1\nactivation=linear\n[yolo]\nanchors=4,4\nclasses=2\nnum=1\n"
EVERY_LAYER = (
    NET
    + "[convolutional]\nbatch_normalize=1\nfilters=6\nsize=3\nstride=1\npad=1\nactivation=leaky\n"
    + "[maxpool]\nsize=2\nstride=2\n"
    + "[convolutional]\nfilters=6\nsize=3\nstride=1\npad=1\ngroups=2\nactivation=leaky\n"
    + "[shortcut]\nfrom=-2\nactivation=leaky\n"
    + "[maxpool]\nsize=2\nstride=1\n"
    + "[convolutional]\nbatch_normalize=1\nfilters=4\nsize=3\nstride=2\npadding=1\nactivation=linear\n"
    + HEAD
    + "[route]\nlayers=-3\n"
    + "[upsample]\nstride=2\n"
    + "[route]\nlayers=-1, 4\n"
    + HEAD
)


class TinyNet:
    """A network, its weights by convolution, and the files that hold both."""

    def __init__(self, directory: Path, cfg: str = EVERY_LAYER, *, seed: int = 1) -> None:
        chance = np.random.default_rng(seed)
        self.network = parse_network(cfg, source="tiny.cfg")
        self.weights = [
            random_weights(layer, chance) for layer in self.network.layers if isinstance(layer, Convolutional)
        ]
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "tiny.cfg").write_text(cfg)
        (directory / "tiny.names").write_text("cat\ndog\n")
        (directory / "tiny.weights").write_bytes(weights_file(self.weights))
        self.files = ModelFiles(
            directory.name, directory / "tiny.cfg", directory / "tiny.weights", directory / "tiny.names"
        )


def random_weights(layer: Convolutional, chance: np.random.Generator) -> dict[str, np.ndarray]:
    filters = layer.output.channels
    weights = {"biases": chance.normal(size=filters)}
    if layer.batch_normalize:
        weights["scales"] = chance.normal(1, 0.2, size=filters)
        weights["means"] = chance.normal(size=filters)
        weights["variances"] = chance.uniform(0.1, 2, size=filters)
    channels = layer.inputs.channels // layer.groups
    weights["kernel"] = chance.normal(0, 0.3, size=(filters, channels, layer.size, layer.size))
    return {name: values.astype(np.float32) for name, values in weights.items()}


def weights_file(weights: list[dict[str, np.ndarray]], version: tuple[int, int] = (0, 2)) -> bytes:
    """As darknet saves them: the counter of pictures is 64 bits wide from version 0.2 on."""
    seen = struct.pack("<q", 1000) if version >= (0, 2) else struct.pack("<i", 1000)
    header = struct.pack("<iii", *version, 0) + seen
    return header + b"".join(values.astype("<f4").tobytes() for each in weights for values in each.values())


def forward(network: Network, weights: list[dict[str, np.ndarray]], picture: np.ndarray) -> list[np.ndarray]:
    """What each head gives for ``picture`` (channels × height × width), in loops and in double precision."""
    outputs: list[np.ndarray] = []
    remaining = iter(weights)
    for layer in network.layers:
        before = outputs[-1] if outputs else picture.astype(np.float64)
        match layer:
            case Convolutional():
                outputs.append(convolved(layer, next(remaining), before))
            case MaxPool():
                outputs.append(pooled(layer, before))
            case Route():
                outputs.append(np.concatenate([outputs[source] for source in layer.sources]))
            case Upsample():
                outputs.append(before.repeat(layer.stride, axis=1).repeat(layer.stride, axis=2))
            case Shortcut():
                outputs.append(activated(before + outputs[layer.source], layer.activation))
            case Yolo():
                outputs.append(before)
    return [output for output, layer in zip(outputs, network.layers, strict=True) if isinstance(layer, Yolo)]


def convolved(layer: Convolutional, weights: dict[str, np.ndarray], before: np.ndarray) -> np.ndarray:
    edge = layer.padding
    padded = np.pad(before, ((0, 0), (edge, edge), (edge, edge)))
    result = np.zeros((layer.output.channels, layer.output.height, layer.output.width))
    inputs_per_group = layer.inputs.channels // layer.groups
    filters_per_group = layer.output.channels // layer.groups
    for number in range(layer.output.channels):
        first = number // filters_per_group * inputs_per_group
        channels = padded[first : first + inputs_per_group]
        for row in range(layer.output.height):
            for column in range(layer.output.width):
                top, left = row * layer.stride, column * layer.stride
                window = channels[:, top : top + layer.size, left : left + layer.size]
                result[number, row, column] = (window * weights["kernel"][number]).sum()
        if layer.batch_normalize:
            deviation = np.sqrt(weights["variances"][number]) + 0.000001
            result[number] = (result[number] - weights["means"][number]) / deviation * weights["scales"][number]
        result[number] += weights["biases"][number]
    return activated(result, layer.activation)


def pooled(layer: MaxPool, before: np.ndarray) -> np.ndarray:
    """As darknet's forward_maxpool_layer: what lies outside counts as less than anything."""
    result = np.full((layer.output.channels, layer.output.height, layer.output.width), -np.inf)
    offset = layer.padding // 2
    for row in range(layer.output.height):
        for column in range(layer.output.width):
            for down in range(layer.size):
                for across in range(layer.size):
                    y, x = row * layer.stride + down - offset, column * layer.stride + across - offset
                    if 0 <= y < before.shape[1] and 0 <= x < before.shape[2]:
                        result[:, row, column] = np.maximum(result[:, row, column], before[:, y, x])
    return result


def activated(values: np.ndarray, activation: str) -> np.ndarray:
    return np.where(values > 0, values, 0.1 * values) if activation == "leaky" else values
