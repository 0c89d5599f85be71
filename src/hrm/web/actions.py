"""What forms do: each is a route that checks who asks, acts through the facade, and sends the browser back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from hrm.api.access import check_admin, check_changer
from hrm.api.tokens import Identity
from hrm.api.wire import MAX_MESSAGE_CHARS
from hrm.model.errors import InvalidInput
from hrm.model.ids import ApplicationId, parse_node_id
from hrm.web.desk import Desk
from hrm.web.page import ROOT
from hrm.web.pages.submit import submit
from hrm.web.pages.weight import PATH as WEIGHT_PATH
from hrm.web.pages.weight import save

#: What a form does: (desk, who, the variable parts of its path, its fields) to the path to go on with.
Action = Callable[[Desk, Identity, Mapping[str, str], Mapping[str, str]], Awaitable[str]]


async def kill(desk: Desk, who: Identity, params: Mapping[str, str], fields: Mapping[str, str]) -> str:
    application_id = await _changeable(desk, who, params)
    await desk.facade.kill(application_id, by=who.user, message=_text(fields, "message"))
    return f"{ROOT}/applications/{application_id}"


async def suspend(desk: Desk, who: Identity, params: Mapping[str, str], fields: Mapping[str, str]) -> str:
    application_id = await _changeable(desk, who, params)
    await desk.facade.suspend(application_id, by=who.user)
    return f"{ROOT}/applications/{application_id}"


async def resume(desk: Desk, who: Identity, params: Mapping[str, str], fields: Mapping[str, str]) -> str:
    application_id = await _changeable(desk, who, params)
    await desk.facade.resume(application_id, by=who.user)
    return f"{ROOT}/applications/{application_id}"


async def move(desk: Desk, who: Identity, params: Mapping[str, str], fields: Mapping[str, str]) -> str:
    application_id = await _changeable(desk, who, params)
    await desk.facade.move(application_id, _text(fields, "queue"), by=who.user, admin=who.admin)
    return f"{ROOT}/applications/{application_id}"


async def set_priority(desk: Desk, who: Identity, params: Mapping[str, str], fields: Mapping[str, str]) -> str:
    application_id = await _changeable(desk, who, params)
    try:
        priority = int(fields.get("priority", ""))
    except ValueError:
        raise InvalidInput("not a whole number", field="priority") from None
    await desk.facade.set_priority(application_id, priority, by=who.user)
    return f"{ROOT}/applications/{application_id}"


async def drain(desk: Desk, who: Identity, params: Mapping[str, str], fields: Mapping[str, str]) -> str:
    check_admin(who)
    await desk.facade.drain_node(parse_node_id(params["node_id"]), by=who.user, reason=_text(fields, "reason"))
    return f"{ROOT}/nodes"


async def undrain(desk: Desk, who: Identity, params: Mapping[str, str], fields: Mapping[str, str]) -> str:
    check_admin(who)
    await desk.facade.undrain_node(parse_node_id(params["node_id"]), by=who.user)
    return f"{ROOT}/nodes"


#: By the path that the form is sent to.
ACTIONS: dict[str, Action] = {
    f"{ROOT}/applications/{{application_id}}/kill": kill,
    f"{ROOT}/applications/{{application_id}}/suspend": suspend,
    f"{ROOT}/applications/{{application_id}}/resume": resume,
    f"{ROOT}/applications/{{application_id}}/move": move,
    f"{ROOT}/applications/{{application_id}}/priority": set_priority,
    f"{ROOT}/submit/new": submit,
    WEIGHT_PATH: save,
    f"{ROOT}/nodes/{{node_id}}/drain": drain,
    f"{ROOT}/nodes/{{node_id}}/undrain": undrain,
}


async def _changeable(desk: Desk, who: Identity, params: Mapping[str, str]) -> str:
    """The application of the path, if ``who`` may change it. Raises NotFound and Forbidden."""
    application_id = str(ApplicationId.parse(params["application_id"]))
    await check_changer(desk.facade, who, application_id)
    return application_id


def _text(fields: Mapping[str, str], name: str) -> str:
    """What was typed, in one line and not too long."""
    return " ".join(fields.get(name, "").split())[:MAX_MESSAGE_CHARS]
