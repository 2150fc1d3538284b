"""`foldpack deploy, board, quota`: deploying, what was deployed, and what Kaggle still gives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from foldpack.commands.option_class import command_of
from foldpack.commands.project import tool_source
from foldpack.commands.version import VersionOption
from foldpack.errors import DataError
from packer.deploy.board import board_rows, board_table
from packer.deploy.wish import Wish
from packer.kaggle.credentials import MAKE_TOKEN, NO_CREDENTIALS, find_credentials
from packer.kaggle.exits import DeployError, Exit


def register(app: typer.Typer) -> None:
    """Add these commands to the `foldpack` application."""
    app.command("deploy")(deploy)
    app.command("board")(board)
    app.command("quota")(quota)


@command_of
def deploy(context: typer.Context, wish: Wish, version: VersionOption = False) -> None:
    """Build, check, rehearse and push; then wait, fetch, submit, as asked. Run it again after a stop: it goes on."""
    if wish.submit and not wish.message:
        raise typer.BadParameter("a submission needs a message: --submit -m TEXT")
    if wish.message and not wish.submit:
        raise typer.BadParameter("-m is the message of a submission: add --submit")
    from packer.deploy.journey import Journey  # brings pandas and requests

    Journey(wish, context.obj or tool_source(), typer.echo, Console().print,
            lambda: typer.prompt("Passphrase of the keyring", hide_input=True)).run()


def board(
    ensembles: Annotated[list[Path] | None, typer.Argument(help="YAML files or folders; default: ensembles")] = None,
) -> None:
    """Show ensembles with their out-of-fold and public scores, the newest submission first."""
    asked = ensembles or [Path("ensembles")]
    paths = [path for each in asked for path in (sorted(each.glob("*.yml")) if not each.suffix else [each])]
    if not paths:
        raise DataError(f"{asked[0]}: no ensemble here; name the folder that has the YAML files, or make one with "
                        "`foldpack search`")
    rows, problems = board_rows(paths)
    if problems and any(each.suffix for each in asked):
        raise DataError(problems[0])
    Console(width=None if Console().is_terminal else 200).print(board_table(rows))
    for problem in problems:  # such as blends of files, which cannot be deployed
        typer.echo(f"left out: {problem}", err=True)


def quota(
    timeout: Annotated[float, typer.Option(help="seconds that one request may take")] = 120.0,
    poll: Annotated[float, typer.Option(help="seconds before a failed request is tried again; grows")] = 10.0,
) -> None:
    """Show the accelerator hours that are left this week, and your kernels that are running."""
    found = find_credentials()
    if found is None:
        raise DeployError(f"{NO_CREDENTIALS}; {MAKE_TOKEN}", Exit.CREDENTIALS)
    if found.readable_by_others:
        raise DeployError(f"{found.path}: others can read your credentials; chmod 600 {found.path}", Exit.CREDENTIALS)
    from packer.kaggle.client import KaggleClient  # these import pandas and requests
    from packer.kaggle.pace import Pace
    from packer.kaggle.quota import quota_table, read_quota, running_kernels

    with KaggleClient(timeout, Pace(poll)) as client:
        Console().print(quota_table(read_quota(client), running_kernels(client)))
