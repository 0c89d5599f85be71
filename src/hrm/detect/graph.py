"""From a darknet network to an ONNX model in memory.

The outputs are the raw numbers of the heads, in the order of the ``[yolo]`` sections; `hrm.detect.boxes` makes boxes of
them. Batch normalisation is folded into the convolutions before, so the graph has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hrm.detect.network import Convolutional, Layer, MaxPool, Network, Route, Shape, Shortcut, Upsample, Yolo
from hrm.detect.weights import ConvolutionWeights, Floats

INPUT_NAME = "picture"
#: Old enough for every onnxruntime that HRM takes (>= 1.18), new enough for `Resize` with its modes.
_OPSET = 17
_IR_VERSION = 8
_LEAKY_SLOPE = 0.1


def build_model(network: Network, weights: Sequence[ConvolutionWeights]) -> onnx.ModelProto:
    """A model that reads one picture (1 × channels × height × width, 0 to 1) and gives each head's raw output."""
    graph = _Graph(iter(weights))
    for index, layer in enumerate(network.layers):
        graph.add(index, layer)
    inputs = helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, _dimensions(network.inputs))
    heads = [(index, layer) for index, layer in enumerate(network.layers) if isinstance(layer, Yolo)]
    outputs = [
        helper.make_tensor_value_info(graph.outputs[index], TensorProto.FLOAT, _dimensions(layer.output))
        for index, layer in heads
    ]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "darknet", [inputs], outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        producer_name="hrm",
    )
    model.ir_version = _IR_VERSION
    return model


class _Graph:
    """Nodes so far, and under which name each layer's output is found."""

    def __init__(self, weights: Iterator[ConvolutionWeights]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.outputs: list[str] = []
        self._weights = weights

    def add(self, index: int, layer: Layer) -> None:
        before = self.outputs[-1] if self.outputs else INPUT_NAME
        name = f"layer_{index}"
        match layer:
            case Convolutional():
                weights = next(self._weights)
                inputs = [before, self._constant(f"{name}_kernel", weights.kernel)]
                inputs.append(self._constant(f"{name}_bias", weights.bias))
                self._node(
                    "Conv",
                    inputs,
                    f"{name}_sum",
                    kernel_shape=[layer.size] * 2,
                    strides=[layer.stride] * 2,
                    pads=[layer.padding] * 4,
                    group=layer.groups,
                )
                self._activate(f"{name}_sum", name, layer.activation)
            case MaxPool():
                first = layer.padding // 2
                last = layer.padding - first
                self._node(
                    "MaxPool",
                    [before],
                    name,
                    kernel_shape=[layer.size] * 2,
                    strides=[layer.stride] * 2,
                    pads=[first, first, last, last],
                )
            case Route():
                self._node("Concat", [self.outputs[source] for source in layer.sources], name, axis=1)
            case Upsample():
                scales = np.array([1, 1, layer.stride, layer.stride], dtype=np.float32)
                self._node(
                    "Resize",
                    [before, "", self._constant(f"{name}_scales", scales)],
                    name,
                    mode="nearest",
                    coordinate_transformation_mode="asymmetric",
                    nearest_mode="floor",
                )
            case Shortcut():
                self._node("Add", [before, self.outputs[layer.source]], f"{name}_sum")
                self._activate(f"{name}_sum", name, layer.activation)
            case Yolo():
                # Its own name, so that two heads may read one layer.
                self._node("Identity", [before], name)
        self.outputs.append(name)

    def _activate(self, before: str, name: str, activation: str) -> None:
        if activation == "leaky":
            self._node("LeakyRelu", [before], name, alpha=_LEAKY_SLOPE)
        else:
            self._node("Identity", [before], name)

    def _constant(self, name: str, values: Floats) -> str:
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))


def _dimensions(shape: Shape) -> list[int]:
    return [1, shape.channels, shape.height, shape.width]
