"""`hrm token`: make tokens for other users of this server."""

from __future__ import annotations

import os
import pwd
from typing import Annotated

import typer

from hrm.cli.output import note
from hrm.model.errors import Forbidden, NotFound

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def token() -> None:
    """Make tokens for users."""


@app.command()
def create(
    user: Annotated[str, typer.Argument(metavar="USER", help="Whose token.")],
    ttl: Annotated[
        str | None, typer.Option("--ttl", metavar="TIME", help="How long it is good for: 12h, 30d.")
    ] = "30d",
    admin: Annotated[
        bool, typer.Option("--admin", help="May end others' applications, reload queues and stop the server.")
    ] = False,
) -> None:
    """Print a token for a user, who puts it into HRM_TOKEN.

    Needs the home directory's secret, so only the operator can. It ends with --ttl, or all end with a new secret.
    On the server's own machine nobody needs one: the Unix socket in its home knows who calls.

    \b
    Examples:
      hrm token create alice
      hrm token create ci --ttl 1h
    """
    from hrm.api.tokens import TokenAuthority
    from hrm.cli.connect import home_directory
    from hrm.model.units import parse_duration_s

    home = home_directory()
    if home.is_anothers:
        raise Forbidden(
            f"tokens of {home.path} are made by its owner",
            next_step="ask them; on this machine you need none (`hrm ps` works as it is)",
        )
    if not home.secret_file.exists():
        raise NotFound(f"{home.path} has no secret yet", next_step="`hrm up` makes it")
    authority = TokenAuthority(home.ensure_secret())
    print(authority.mint(user, admin=admin, ttl_s=None if ttl is None else parse_duration_s(ttl, field="--ttl")))
    _tell_limits(user)


def _tell_limits(user: str) -> None:
    """A job runs as whoever submits it, which not everybody with a token can be."""
    try:
        uid: int | None = pwd.getpwnam(user).pw_uid
    except KeyError:
        uid = None
    if os.geteuid() != 0 and uid != os.geteuid():
        note(f"hrm: {user} may look, but submit nothing: a server that is not root's runs jobs of its own user alone")
    elif uid is None:
        note(f"hrm: {user} may look, but submit nothing: this machine has no such user to run jobs as")
