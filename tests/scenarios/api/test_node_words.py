"""What operators say of nodes, over the native API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hrm.model.errors import Forbidden, InvalidInput, NotFound
from hrm.sdk.client import Client
from hrm.testing.facade import NODE_ID
from tests.scenarios.api.running_server import RunningServer


@pytest.fixture
def admin(server: RunningServer) -> Iterator[Client]:
    with server.client("root", admin=True) as connected:
        yield connected


def test_an_admin_sets_attributes_and_takes_them_back(admin: Client) -> None:
    told = admin.set_attributes(NODE_ID, {"os": "debian12", "disk": "ssd"})
    after = admin.set_attributes(NODE_ID, {"disk": None})

    assert (told.attributes, told.set_attributes) == ({"os": "debian12", "disk": "ssd"}, ["disk", "os"])
    assert admin.nodes() == [after]
    assert after.attributes == {"os": "debian12"}


def test_an_admin_adds_a_label_gives_it_to_a_node_and_removes_it(admin: Client) -> None:
    (added,) = admin.add_node_label("tape", exclusive=False)
    given = admin.set_node_label(NODE_ID, "tape")
    (labelled,) = admin.node_labels()

    assert (added.name, added.exclusive, added.nodes) == ("tape", False, [])
    assert (given.label, labelled.nodes) == ("tape", [NODE_ID])
    assert admin.remove_node_label("tape") == []
    assert admin.nodes()[0].label == ""


def test_what_is_not_there_or_cannot_be_is_refused(admin: Client) -> None:
    with pytest.raises(NotFound):
        admin.set_attributes("nowhere", {"os": "a"})
    with pytest.raises(InvalidInput, match="not a value for os"):
        admin.set_attributes(NODE_ID, {"os": "a b"})
    with pytest.raises(InvalidInput, match="object of texts and nulls"):
        admin.set_attributes(NODE_ID, {"os": 1})  # type: ignore[dict-item]
    with pytest.raises(NotFound):
        admin.set_node_label(NODE_ID, "tape")
    with pytest.raises(InvalidInput, match="not the name of a node label"):
        admin.add_node_label("a b")


def test_others_may_look_and_change_nothing(client: Client) -> None:
    assert client.node_labels() == []
    for change in (
        lambda: client.set_attributes(NODE_ID, {"os": "a"}),
        lambda: client.set_node_label(NODE_ID, "a"),
        lambda: client.add_node_label("a"),
        lambda: client.remove_node_label("a"),
    ):
        with pytest.raises(Forbidden):
            change()
