"""`foldpack deploy, board, quota`: deploying, what was deployed, and what Kaggle still gives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from foldpack.commands.project import tool_source
from foldpack.commands.version import VersionOption
from foldpack.errors import DataError
from packer.deploy.board import board_rows, board_table
from packer.kaggle.credentials import MAKE_TOKEN, NO_CREDENTIALS, find_credentials
from packer.kaggle.exits import DeployError, Exit


def register(app: typer.Typer) -> None:
    """Add these commands to the `foldpack` application."""
    app.command("deploy")(deploy)
    app.command("board")(board)
    app.command("quota")(quota)


def deploy(
    context: typer.Context,
    ensemble: Annotated[Path, typer.Argument(help="ensembles/NAME.yml")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="build, print the request, send nothing")] = False,
    rehearse: Annotated[Path | None, typer.Option(help="rehearse on this competition folder's test images")] = None,
    no_rehearse: Annotated[bool, typer.Option("--no-rehearse", help="push without a rehearsal")] = False,
    image: Annotated[bool, typer.Option("--image", help="rehearse with the Kaggle image's versions")] = False,
    notebook: Annotated[bool, typer.Option("--notebook", help="push a notebook in place of a script")] = False,
    accelerator: Annotated[str | None, typer.Option(help="Kaggle's name of the machine; default: two T4")] = None,
    images: Annotated[int | None, typer.Option(min=1, help="test images, to predict the hours for")] = None,
    device_factor: Annotated[float, typer.Option(help="how many times slower than the training's one GPU is")] = 1.0,
    wait: Annotated[bool, typer.Option("--wait", help="wait for the kernel's end and fetch its output")] = False,
    wait_hours: Annotated[float, typer.Option(help="how long to wait at most")] = 13.0,
    submit: Annotated[bool, typer.Option("--submit", help="submit the version and wait for its score")] = False,
    message: Annotated[str, typer.Option("--message", "-m", help="of the submission")] = "",
    public_weights: Annotated[bool, typer.Option("--public-weights", help="a new weights dataset is public")] = False,
    owner: Annotated[str | None, typer.Option(help="Kaggle user; default: that of your credentials")] = None,
    runs: Annotated[Path, typer.Option(help="folder that holds the runs")] = Path("runs"),
    build: Annotated[Path, typer.Option(help="folder for NAME/ and sealed/")] = Path("build"),
    keyring: Annotated[Path | None, typer.Option(help="default: ~/.config/foldpack/keyring")] = None,
    poll: Annotated[float, typer.Option(min=0.001, help="seconds between two looks at Kaggle; grows")] = 10.0,
    timeout: Annotated[float, typer.Option(min=0.1, help="seconds that one request may take")] = 120.0,
    version: VersionOption = False,
) -> None:
    """Build, check, rehearse and push; then wait, fetch, submit, as asked. Run it again after a stop: it goes on."""
    if submit and not message:
        raise typer.BadParameter("a submission needs a message: --submit -m TEXT")
    if message and not submit:
        raise typer.BadParameter("-m is the message of a submission: add --submit")
    from packer.build.kernel_folder import DEFAULT_ACCELERATOR, Target  # these import pandas and requests
    from packer.deploy.journey import Journey, Places, Wish
    from packer.image.image_env import image_python
    from packer.kaggle.pace import Pace

    console = Console()
    places = Places(ensemble, context.obj or tool_source(), runs, build, keyring,
                    lambda: typer.prompt("Passphrase of the keyring", hide_input=True))
    target = Target(accelerator or DEFAULT_ACCELERATOR, notebook)
    wish = Wish(owner, dry_run, not no_rehearse, rehearse, image_python() if image else None, target, images,
                device_factor, public_weights, wait, wait_hours, message if submit else None, timeout)
    Journey(places, wish, Pace(poll), typer.echo, console.print).run()


def board(
    ensembles: Annotated[list[Path] | None, typer.Argument(help="YAML files or folders; default: ensembles")] = None,
) -> None:
    """Show ensembles with their out-of-fold and public scores, the newest submission first."""
    asked = ensembles or [Path("ensembles")]
    paths = [path for each in asked for path in (sorted(each.glob("*.yml")) if not each.suffix else [each])]
    if not paths:
        raise DataError(f"{asked[0]}: no ensemble here; name the folder that has the YAML files, or make one with "
                        "./ensemble_search.py")
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
