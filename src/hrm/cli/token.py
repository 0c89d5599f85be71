"""`hrm token`: make tokens for other users of this server."""

from __future__ import annotations

from typing import Annotated

import typer

from hrm.model.errors import NotFound

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

    \b
    Examples:
      hrm token create alice
      hrm token create ci --ttl 1h
    """
    from hrm.api.tokens import TokenAuthority
    from hrm.cli.connect import home_directory
    from hrm.model.units import parse_duration_s

    home = home_directory()
    if not home.secret_file.exists():
        raise NotFound(f"{home.path} has no secret yet", next_step="`hrm up` makes it")
    authority = TokenAuthority(home.ensure_secret())
    print(authority.mint(user, admin=admin, ttl_s=None if ttl is None else parse_duration_s(ttl, field="--ttl")))
