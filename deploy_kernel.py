#!/usr/bin/env python3
"""From an ensemble to a scored submission, exactly once: ./deploy_kernel.py ensembles/NAME.yml --wait"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from foldpack.cli_errors import run_app
from packer.deploy import DEFAULT_ACCELERATOR, Target
from packer.image_env import image_python
from packer.journey import Journey, Places, Wish
from packer.pace import Pace

app = typer.Typer(add_completion=False, help=__doc__)


@app.command()
def deploy(
    ensemble: Annotated[Path, typer.Argument(help="ensembles/NAME.yml")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="build, print the request, send nothing")] = False,
    rehearse: Annotated[Path | None, typer.Option(help="rehearse on this competition folder's test images")] = None,
    no_rehearse: Annotated[bool, typer.Option("--no-rehearse", help="push without a rehearsal")] = False,
    image: Annotated[bool, typer.Option("--image", help="rehearse with the Kaggle image's versions")] = False,
    notebook: Annotated[bool, typer.Option("--notebook", help="push a notebook in place of a script")] = False,
    accelerator: Annotated[str, typer.Option(help="Kaggle's name of the machine")] = DEFAULT_ACCELERATOR,
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
) -> None:
    """Build, check, rehearse and push; then wait, fetch, submit, as asked. Run it again after a stop: it goes on."""
    if submit and not message:
        raise typer.BadParameter("a submission needs a message: --submit -m TEXT")
    if message and not submit:
        raise typer.BadParameter("-m is the message of a submission: add --submit")
    console = Console()
    places = Places(ensemble, Path(__file__).resolve().parent, runs, build, keyring,
                    lambda: typer.prompt("Passphrase of the keyring", hide_input=True))
    wish = Wish(owner, dry_run, not no_rehearse, rehearse, image_python() if image else None,
                Target(accelerator, notebook), images, device_factor, public_weights, wait, wait_hours,
                message if submit else None, timeout)
    Journey(places, wish, Pace(poll), typer.echo, console.print).run()


if __name__ == "__main__":
    raise SystemExit(run_app(app))
