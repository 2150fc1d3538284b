"""A cluster of Dask's that training starts, by the class that deploys it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from foldpack.settings.strict_model import StrictModel


class ClusterConfig(StrictModel):
    """What `--cluster FILE.yml` says."""

    cluster: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*\.[A-Za-z_]\w*$")]  # dask_jobqueue.SLURMCluster
    kwargs: dict[str, Any] = {}  # that it is made with
    scale: Annotated[int, Field(ge=1)]  # workers to ask for
