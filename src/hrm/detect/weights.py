"""The numbers of a darknet network (``.weights``) and the names of its classes (``.names``)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hrm.detect.network import Convolutional, Network
from hrm.model.errors import InvalidInput

Floats = NDArray[np.float32]
MAX_NAMES_BYTES = 1 << 20
#: darknet adds it to the standard deviation, not to the variance as others do.
_BATCH_NORM_EPSILON = np.float32(0.000001)


@dataclass(frozen=True, slots=True)
class ConvolutionWeights:
    """Of one convolution, its batch normalisation folded in."""

    #: filters × (channels / groups) × size × size
    kernel: Floats
    #: One per filter.
    bias: Floats


def read_weights(path: Path, network: Network) -> tuple[ConvolutionWeights, ...]:
    """The weights of each convolution of ``network``, in order.

    The file holds three 32-bit numbers (major, minor, revision), the count of pictures seen in training (64 bits from
    version 0.2 on, 32 before) and then nothing but floats, for each convolution: biases; scales, means and variances
    if it is normalised; kernels (darknet's ``load_weights_upto``). Raises InvalidInput unless the length is exactly
    what the network needs.
    """
    convolutions = [layer for layer in network.layers if isinstance(layer, Convolutional)]
    count = sum(_float_count(layer) for layer in convolutions)
    try:
        with path.open("rb") as file:
            start = _header_bytes(file.read(12), path)
            size = os.fstat(file.fileno()).st_size
            needed = start + 4 * count
            if size != needed:
                raise InvalidInput(
                    f"has {size:,} bytes, but this network needs {needed:,}",
                    field=str(path),
                    next_step="pull the model again, or give the .weights that belong to this .cfg",
                )
            floats = np.fromfile(file, dtype="<f4", count=count, offset=start - 12).astype(np.float32, copy=False)
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}", field=str(path)) from error
    if not np.isfinite(floats).all():
        raise InvalidInput("holds numbers that are not finite", field=str(path), next_step="pull the model again")
    result = []
    position = 0
    for layer in convolutions:
        end = position + _float_count(layer)
        result.append(_folded(layer, floats[position:end]))
        position = end
    return tuple(result)


def read_names(path: Path, classes: int) -> tuple[str, ...]:
    """One class per line. Raises InvalidInput unless there are ``classes`` of them."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_NAMES_BYTES).decode("utf-8")
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}", field=str(path)) from error
    except UnicodeDecodeError as error:
        raise InvalidInput("not a text file", field=str(path)) from error
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(names) != classes:
        raise InvalidInput(f"names {len(names)} classes, but the network has {classes}", field=str(path))
    return names


def _header_bytes(data: bytes, path: Path) -> int:
    """How long the header is, from its first three numbers."""
    if len(data) < 12:
        raise InvalidInput("too short for darknet's weights", field=str(path), next_step="pull the model again")
    major, minor, _revision = (int(number) for number in np.frombuffer(data, dtype="<i4", count=3))
    if not 0 <= major < 1000 or not 0 <= minor < 1000:
        raise InvalidInput(
            f"not darknet's weights, or transposed ones (version {major}.{minor})",
            field=str(path),
            next_step="give a file that darknet wrote with version 0.1 or later",
        )
    return 20 if major * 10 + minor >= 2 else 16


def _float_count(layer: Convolutional) -> int:
    filters = layer.output.channels
    kernel = filters * (layer.inputs.channels // layer.groups) * layer.size * layer.size
    return kernel + filters * (4 if layer.batch_normalize else 1)


def _folded(layer: Convolutional, floats: Floats) -> ConvolutionWeights:
    filters = layer.output.channels
    shape = (filters, layer.inputs.channels // layer.groups, layer.size, layer.size)
    bias = floats[:filters]
    if not layer.batch_normalize:
        return ConvolutionWeights(floats[filters:].reshape(shape), bias)
    scale, mean, variance = floats[filters : 4 * filters].reshape(3, filters)
    factor = (scale / (np.sqrt(variance) + _BATCH_NORM_EPSILON)).astype(np.float32)
    kernel: Floats = floats[4 * filters :].reshape(shape) * factor[:, None, None, None]
    return ConvolutionWeights(kernel, bias - mean * factor)
