"""Networks of a project's own, where its files are at hand: in training. A kernel gets them from its entry."""

from __future__ import annotations

from foldpack.models.classifier import MakeNet, ModelError
from foldpack.settings.network import NetConfig
from foldpack.settings.project_code import is_project_code, load_code


def own_network(net: NetConfig) -> MakeNet | None:
    """What `arch: FILE.py:NAME` names; None for a network of timm's. Raises ProjectCodeError, ModelError."""
    if not is_project_code(net.arch):
        return None
    found = load_code(net.arch, "network")
    if not callable(found):
        raise ModelError(f"network {net.arch}: it is a {type(found).__name__}; needed: a function or class that is "
                         "called as `timm.create_model` is, but without a name, and gives a module")
    make: MakeNet = found
    return make
