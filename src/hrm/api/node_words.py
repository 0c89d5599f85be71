"""Routes of what operators say of nodes: attributes and labels."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from fastapi import FastAPI, Path, Request, Response

from hrm.api.access import Admin, Caller
from hrm.api.schemas import LABELS_BODY, SET_NODE_BODY, returns
from hrm.api.settings import PREFIX
from hrm.api.wire import MAX_MESSAGE_CHARS, json_response, read_object, text_in
from hrm.model.errors import InvalidInput
from hrm.model.ids import parse_node_id
from hrm.model.inventory import NodeLabel
from hrm.model.reports import NodeLabelReport, NodeReport
from hrm.rm.facade import Facade

_TAGS: list[str | Enum] = ["cluster"]
_LABELS = f"{PREFIX}/node-labels"
NodePath = Annotated[str, Path(description="as `GET /nodes` names it")]


def add_node_word_routes(app: FastAPI, facade: Facade) -> None:
    """Add them to ``app``."""
    words = facade.node_words

    @app.post(
        f"{PREFIX}/nodes/{{node_id}}/set",
        tags=_TAGS,
        summary="Set its attributes and its label",
        responses=returns(NodeReport),
        openapi_extra=SET_NODE_BODY,
    )
    async def set_node(request: Request, caller: Admin, node_id: NodePath) -> Response:
        """What is not named stays; null takes the word on it back. Holds over restarts."""
        body = await read_object(request, ("attributes", "label"))
        name = parse_node_id(node_id)
        attributes = body.get("attributes", {})
        if not isinstance(attributes, dict) or not all(isinstance(one, str | None) for one in attributes.values()):
            raise InvalidInput("must be an object of texts and nulls", field="attributes")
        label = text_in(body, "label", MAX_MESSAGE_CHARS)
        await words.set_attributes(name, attributes, by=caller.user)
        if "label" in body:
            await words.set_labels({name: label}, by=caller.user)
        return json_response(next(report for report in facade.nodes() if report.node_id == name))

    @app.get(_LABELS, tags=_TAGS, summary="Node labels", responses=returns(list[NodeLabelReport]))
    async def node_labels(caller: Caller) -> Response:
        return json_response(words.labels())

    @app.post(
        _LABELS,
        tags=_TAGS,
        summary="Add and remove node labels",
        responses=returns(list[NodeLabelReport]),
        openapi_extra=LABELS_BODY,
    )
    async def change_node_labels(request: Request, caller: Admin) -> Response:
        """First those that are to go are removed: nodes that have them have none by an operator's word."""
        body = await read_object(request, ("add", "remove"))
        add, remove = body.get("add", []), body.get("remove", [])
        if not isinstance(remove, list) or not all(isinstance(name, str) for name in remove):
            raise InvalidInput("must be a list of labels", field="remove")
        if not isinstance(add, list):
            raise InvalidInput("must be a list of objects", field="add")
        new = [_label(one, f"add[{number}]") for number, one in enumerate(add)]
        if remove:
            await words.remove_labels(remove, by=caller.user)
        if new:
            await words.add_labels(new, by=caller.user)
        return json_response(words.labels())


def _label(data: object, path: str) -> NodeLabel:
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        raise InvalidInput("must be an object with a name", field=path)
    exclusive = data.get("exclusive", True)
    if not isinstance(exclusive, bool):
        raise InvalidInput("must be true or false", field=f"{path}.exclusive")
    return NodeLabel(data["name"], exclusive)
