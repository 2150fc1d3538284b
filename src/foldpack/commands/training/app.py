"""`foldpack app`: an ensemble in the browser, asked about one image at a time."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from foldpack.commands.project import DataOption
from foldpack.errors import FoldpackError


class AppMissing(FoldpackError):
    """A package that the page needs."""


def register(app: typer.Typer) -> None:
    """Add the command to the `foldpack` application."""
    app.command("app")(app_command)


def app_command(
    ensemble: Annotated[Path, typer.Argument(help="ensembles/NAME.yml")],
    data: DataOption = None,
    runs: Annotated[Path, typer.Option(help="folder that holds the runs")] = Path("runs"),
    examples: Annotated[int, typer.Option(min=0, max=100, help="test images to choose from")] = 12,
    host: Annotated[str, typer.Option(help="who may ask: 127.0.0.1 this machine alone, 0.0.0.0 its network")]
    = "127.0.0.1",
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="default: the first free one from 7860 on")] = None,
    share: Annotated[bool, typer.Option("--share", help="also a public address, through gradio's servers")] = False,
) -> None:
    """Ask an ensemble about images in the browser, by the kernel's own code. Ctrl-C ends it."""
    if find_spec("gradio") is None:
        raise AppMissing("foldpack app: gradio is not installed; install it with: pip install 'foldpack[app]'")
    from foldpack.commands.project import told_data
    from foldpack.settings.ensemble import read_spec
    from packer.build.stage import require_checkpoint

    root, spec = told_data(data), read_spec(ensemble)
    for stage in spec.stages:
        for member in stage.members:
            for fold in member.folds:
                require_checkpoint(runs, stage, member, fold)
    from foldpack.app.page import launch, open_page

    page = open_page(ensemble, runs, root, examples)
    print(f"{spec.name}: {launch(page, host, port, share)}; Ctrl-C ends it", flush=True)
    page.block_thread()
