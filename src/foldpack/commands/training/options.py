"""Options that several commands of training have."""

from __future__ import annotations

from typing import Annotated

import typer

ClusterOption = Annotated[
    str | None, typer.Option("--cluster", help="local:N, tcp://HOST:PORT of a Dask scheduler, or a cluster's FILE.yml")]
