"""What a deploy is asked for: the options of its command, as one object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer


@dataclass(frozen=True)
class Wish:
    """The options of `foldpack deploy`, in the order in which they are shown."""

    ensemble: Annotated[Path, typer.Argument(help="ensembles/NAME.yml")]
    dry_run: Annotated[bool, typer.Option("--dry-run", help="build, print the request, send nothing")] = False
    build_only: Annotated[bool, typer.Option("--build-only", help="a dry run that prints no request")] = False
    rehearse: Annotated[Path | None, typer.Option(help="rehearse on this competition folder's test images")] = None
    no_rehearse: Annotated[bool, typer.Option("--no-rehearse", help="push without a rehearsal")] = False
    image: Annotated[bool, typer.Option("--image", help="rehearse with the Kaggle image's versions")] = False
    notebook: Annotated[bool, typer.Option("--notebook", help="push a notebook in place of a script")] = False
    accelerator: Annotated[str | None, typer.Option(help="Kaggle's name of the machine; default: two T4")] = None
    images: Annotated[int | None, typer.Option(min=1, help="test images, to predict the hours for")] = None
    device_factor: Annotated[float, typer.Option(help="how many times slower than the training's one GPU is")] = 1.0
    wait: Annotated[bool, typer.Option("--wait", help="wait for the kernel's end and fetch its output")] = False
    wait_hours: Annotated[float, typer.Option(help="how long to wait at most")] = 13.0
    submit: Annotated[bool, typer.Option("--submit", help="submit the version and wait for its score")] = False
    message: Annotated[str, typer.Option("--message", "-m", help="of the submission")] = ""
    public_weights: Annotated[bool, typer.Option("--public-weights", help="a new weights dataset is public")] = False
    owner: Annotated[str | None, typer.Option(help="Kaggle user; default: that of your credentials")] = None
    runs: Annotated[Path, typer.Option(help="folder that holds the runs")] = Path("runs")
    build: Annotated[Path, typer.Option(help="folder for NAME/ and sealed/")] = Path("build")
    keyring: Annotated[Path | None, typer.Option(help="default: ~/.config/foldpack/keyring")] = None
    poll: Annotated[float, typer.Option(min=0.001, help="seconds between two looks at Kaggle; grows")] = 10.0
    timeout: Annotated[float, typer.Option(min=0.1, help="seconds that one request may take")] = 120.0
