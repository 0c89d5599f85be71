"""Reading darknet's .cfg: what it says, and clear words where it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrm.detect.network import Convolutional, MaxPool, Route, Shape, Upsample, Yolo, parse_network, read_network
from hrm.model.errors import InvalidInput
from tests.unit.detect.tiny_nets import EVERY_LAYER, HEAD, NET

CONVOLUTION = "[convolutional]\nfilters=4\nsize=3\nstride=1\npad=1\nactivation=leaky\n"


def problem_of(text: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        parse_network(text, source="net.cfg")
    return caught.value.message


def test_each_layer_knows_what_it_hands_on() -> None:
    network = parse_network(EVERY_LAYER, source="net.cfg")

    assert network.inputs == Shape(3, 16, 16)
    assert [layer.output for layer in network.layers] == [
        Shape(6, 16, 16),
        Shape(6, 8, 8),
        Shape(6, 8, 8),
        Shape(6, 8, 8),
        Shape(6, 8, 8),
        Shape(4, 4, 4),
        Shape(7, 4, 4),
        Shape(7, 4, 4),
        Shape(4, 4, 4),
        Shape(4, 8, 8),
        Shape(10, 8, 8),
        Shape(7, 8, 8),
        Shape(7, 8, 8),
    ]


def test_comments_blanks_and_keys_of_training_are_passed_over() -> None:
    text = (
        "# a net\n[net]\n width = 16\nheight =16\n; old style\nlearning_rate=0.1\n\n" + HEAD + "jitter=.3\nrandom=1\n"
    )

    assert [type(layer) for layer in parse_network(text, source="net.cfg").layers] == [Convolutional, Yolo]


def test_a_route_below_zero_counts_back_from_itself() -> None:
    network = parse_network(NET + CONVOLUTION * 3 + "[route]\nlayers=-2,0\n" + HEAD, source="net.cfg")

    route = network.layers[3]
    assert isinstance(route, Route)
    assert route.sources == (1, 0)
    assert route.output == Shape(8, 16, 16)


def test_a_mask_chooses_anchors() -> None:
    head = "[convolutional]\nfilters=14\nactivation=linear\n[yolo]\nanchors=1,2, 3,4, 5,6\nnum=3\nclasses=2\nmask=0,2\n"

    assert parse_network(NET + head, source="net.cfg").heads[0].anchors == ((1, 2), (5, 6))


def test_a_pool_of_size_two_and_stride_one_keeps_the_size() -> None:
    pool = parse_network(NET + "[maxpool]\nsize=2\nstride=1\n" + HEAD, source="net.cfg").layers[0]

    assert isinstance(pool, MaxPool)
    assert (pool.output, pool.padding) == (Shape(3, 16, 16), 1)


def test_an_upsampled_layer_grows_by_its_stride() -> None:
    layer = parse_network(NET + "[upsample]\nstride=3\n" + HEAD, source="net.cfg").layers[0]

    assert isinstance(layer, Upsample)
    assert layer.output == Shape(3, 48, 48)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "net.cfg:1: the first section must be [net]"),
        (CONVOLUTION, "net.cfg:1: the first section must be [net]"),
        ("width=3\n", "net.cfg:1: a value stands before the first section"),
        ("[net\n", "net.cfg:1: not a section: '[net'"),
        (NET + "hello\n", "net.cfg:5: not key=value: 'hello'"),
        (NET + "width=3\n", "net.cfg:5: [net] width is given twice"),
        ("[net]\nheight=16\n", "net.cfg:1: [net] has no width"),
        ("[net]\nheight=wide\nwidth=1\n", "net.cfg:2: [net] height=wide: not a number"),
        ("[net]\nheight=16\nwidth=1000000\n", "net.cfg:3: [net] width=1000000: must be from 8 to 4096"),
        (NET + CONVOLUTION, "net.cfg: has no [yolo] section: this network finds no boxes"),
        (NET + "[lstm]\noutput=3\n", "net.cfg:5: [lstm] layers of this kind are not understood"),
        (NET + CONVOLUTION + "xnor=1\n", "net.cfg:11: [convolutional] xnor is not understood, and could change"),
        (NET + "[convolutional]\nactivation=mish\n", "net.cfg:5: [convolutional] activation=mish is not understood"),
        (NET + "[convolutional]\nsize=3,3\nactivation=linear\n", "net.cfg:6: [convolutional] size=3,3: must be one"),
        (NET + "[convolutional]\nsize=20\nactivation=linear\n", "[convolutional] size=20 is larger than what it reads"),
        (NET + CONVOLUTION + "groups=2\n", "3 channels into 4 filters cannot be split into 2 groups"),
        (
            NET + "[route]\nlayers=-1\n",
            "net.cfg:5: [route] layers=-1: no such layer before this one, which is number 0",
        ),
        (NET + CONVOLUTION + "[maxpool]\nsize=2\nstride=2\n[route]\nlayers=-1,-2\n", "joins layers of different sizes"),
        (NET + CONVOLUTION + "[maxpool]\nsize=2\nstride=2\n[shortcut]\nfrom=-2\n", "adds layers of different sizes"),
        (NET + "[upsample]\nscale=.5\n", "net.cfg:5: [upsample] a scale other than 1 is not understood"),
        (NET + HEAD.replace("filters=7", "filters=8"), "reads 8 channels, but 1 anchors of 2 classes need 7"),
        (NET + HEAD.replace("anchors=4,4", "anchors=4"), "num=1 needs 2 anchors, not 1"),
        (NET + HEAD + "mask=1\n", "mask names anchors that are not there"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(text: str, says: str) -> None:
    assert says in problem_of(text)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.cfg"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(InvalidInput, match="not a text file"):
        read_network(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.cfg: cannot be read: No such file"):
        read_network(tmp_path / "none.cfg")
