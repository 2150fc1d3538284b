#!/usr/bin/env python3
"""Find the ensemble of finished runs, or of anyone's out-of-fold predictions: ./ensemble_search.py NAME INPUT..."""

from __future__ import annotations

from packer.environment import enter_environment

if __name__ == "__main__":
    enter_environment(__file__)

import typer  # noqa: E402

from foldpack.commands.run_app import run_app  # noqa: E402
from foldpack.commands.search import search  # noqa: E402

app = typer.Typer(add_completion=False, help=__doc__)
app.command()(search)

if __name__ == "__main__":
    raise SystemExit(run_app(app))
