#!/usr/bin/env python3
"""Fit an ensemble on the out-of-fold predictions of finished runs: ./ensemble_search.py NAME RUN..."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foldpack.cli_errors import run_app
from foldpack.search.ensemble import search_ensemble
from foldpack.spec import write_spec

app = typer.Typer(add_completion=False, help=__doc__)


@app.command()
def search(
    name: Annotated[str, typer.Argument(help="name of the ensemble")],
    run: Annotated[list[str], typer.Argument(help="names of finished runs")],
    runs: Annotated[Path, typer.Option(help="folder that holds the runs")] = Path("runs"),
    out: Annotated[Path, typer.Option(help="folder for NAME.yml")] = Path("ensembles"),
    metric: Annotated[str | None, typer.Option(help="metric to optimise; default: the runs' own")] = None,
    hours: Annotated[float, typer.Option(help="time limit of the kernel")] = 9.0,
    slug: Annotated[str | None, typer.Option(help="the competition on Kaggle; default: the adapter's")] = None,
) -> None:
    """Write ensembles/NAME.yml and print what was found."""
    spec, lines = search_ensemble(name, [runs / one for one in run], metric, hours, slug)
    write_spec(out / f"{name}.yml", spec)
    print("\n".join(lines))
    print(f"ensemble {out / f'{name}.yml'}")


if __name__ == "__main__":
    raise SystemExit(run_app(app))
