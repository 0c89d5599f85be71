"""`hrm page`: a link to the web page."""

from __future__ import annotations

import webbrowser
from typing import Annotated
from urllib.parse import quote

import typer

from hrm.cli.connect import client
from hrm.cli.output import Output, OutputOption, show


def page(
    app: Annotated[str, typer.Argument(metavar="[APP]", help="Go on to this application.")] = "",
    open_it: Annotated[bool, typer.Option("--open", help="Open it in your browser.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Print a link to the web page that logs you in.

    It is good for twelve hours and for you alone: what stands behind the # is a token of yours. A browser on another
    machine comes in through SSH (`ssh -L 8765:127.0.0.1:8765 HOST`), or by a name under server.allowed_hosts.

    \b
    Examples:
      hrm page
      hrm page --open
      hrm page last                 to my newest application
    """
    from hrm.cli.selectors import select_one

    with client() as server:
        onward = f"?next={quote(f'/ui/applications/{select_one(server, app)}')}" if app else ""
        session = server.begin_session()
    link = f"{session.address}/ui/login{onward}#token={session.token}"
    if output is not Output.TABLE:
        show({"url": link, "user": session.user, "expires_at": session.expires_at}, output)
    else:
        print(link)
    if open_it:
        webbrowser.open(link)
