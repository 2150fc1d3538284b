"""Which tensor of other weights goes where in a network: by name, by name behind a prefix, or in order. No file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace

import torch
from timm.models import adapt_input_conv

KINDS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")  # last parts of names that must agree
COUNTER = "num_batches_tracked"  # weights from before PyTorch 0.4.1 lack it
ASKED = 50  # names of the network that are looked for behind prefixes
TRIED = 8  # the likeliest pairs of prefixes
TAIL = 4  # tensors in order that the network lacks: a head of other width, or two
RGB = 3

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Match:
    """What fits."""

    tensors: dict[str, torch.Tensor]  # by the network's names, in its shapes
    how: str  # "by name", "by name without 'module.'", "in order"
    missing: list[str]  # the network's names that nothing fits
    unused: list[str]  # names of the weights that fit nowhere
    adapted: list[str]  # the network's names of tensors that were made for RGB

    def worth(self) -> int:
        """How many fit, by which matches are compared."""
        return len(self.tensors)


def match_weights(wanted: Tensors, given: Tensors, head: Set[str], channels: int = RGB) -> Match:
    """The way that fits most of `given` to a network whose `state_dict` is `wanted`; of equal ones that by name.

    head: names of the network that stay as they are. channels: of its images; the weights of a first convolution over
    RGB are adapted to it as timm does. Shapes must agree otherwise.
    """
    body = {name: tensor for name, tensor in wanted.items() if name not in head}
    found = [named(body, given, ours, theirs, channels) for ours, theirs in prefixes(body, given)]
    found += [one for one in (ordered(body, given, prefix, channels) for prefix in parts(body)) if one is not None]
    best = max(found, key=Match.worth)
    return replace(best, unused=[name for name in best.unused if name not in head])


def prefixes(wanted: Tensors, given: Tensors) -> list[tuple[str, str]]:
    """What may stand before the names of the network and of the weights, where they are the same behind it."""
    counts: Counter[tuple[str, str]] = Counter()
    for name in [name for name, tensor in wanted.items() if tensor.ndim > 1][:ASKED]:
        first, _, rest = name.partition(".")
        forms = [("", name), *([(f"{first}.", rest)] if "." in rest else [])]
        for prefix, form in forms:
            counts.update((prefix, other[: -len(form)]) for other in given if f".{other}".endswith(f".{form}"))
    return [("", ""), *(pair for pair, _ in counts.most_common(TRIED) if pair != ("", ""))]


def named(wanted: Tensors, given: Tensors, ours: str, theirs: str, channels: int) -> Match:
    """The tensors whose names agree once `ours` is off the network's and `theirs` off the weights'."""
    taken, used = {}, set()
    for name, tensor in wanted.items():
        other = theirs + name.removeprefix(ours)
        if name.startswith(ours) and other in given and fits(tensor, given[other], channels):
            taken[name] = given[other]
            used.add(other)
    moved = [f"without '{theirs}'" if theirs else "", f"below '{ours}'" if ours else ""]
    return taken_match(wanted, taken, " ".join(["by name", *filter(None, moved)]),
                       [name for name in wanted if name not in taken], [name for name in given if name not in used])


def parts(wanted: Tensors) -> list[str]:
    """Beginnings of names, with most of the names behind them: "" for all, `backbone.` for one part."""
    counts = Counter(name.partition(".")[0] for name in wanted if "." in name)
    return ["", *(f"{first}." for first, count in counts.most_common(1) if len(wanted) / 2 <= count < len(wanted))]


def ordered(wanted: Tensors, given: Tensors, prefix: str, channels: int) -> Match | None:
    """Each tensor of the network, or of a part of it, with the one in its place in the weights, whatever the names.

    None unless every pair agrees in shape and in kind, and the weights have little more.
    """
    counted = any(name.endswith(COUNTER) for name in given)
    places = [name for name in wanted if name.startswith(prefix) and (counted or not name.endswith(COUNTER))]
    names = list(given)
    pairs = list(zip(places, names, strict=False))
    if not pairs or not len(places) <= len(names) <= len(places) + TAIL:
        return None
    if not all(kind_of_name(ours) == kind_of_name(theirs) and fits(wanted[ours], given[theirs], channels)
               for ours, theirs in pairs):
        return None
    taken = {ours: given[theirs] for ours, theirs in pairs}
    missing = [name for name in wanted if name not in taken and not name.endswith(COUNTER)]
    how = f"in order below '{prefix}'" if prefix else "in order"
    return taken_match(wanted, taken, how, missing, names[len(places) :])


def kind_of_name(name: str) -> str:
    """`weight`, `running_mean`, ...; "" for any other last part."""
    last = name.rpartition(".")[2]
    return last if last in KINDS else ""


def fits(wanted: torch.Tensor, given: torch.Tensor, channels: int) -> bool:
    """Whether a tensor can take the place of another, or can be adapted to it: a first convolution over RGB."""
    if wanted.is_floating_point() != given.is_floating_point():
        return False
    if wanted.shape == given.shape:
        return True
    first = wanted.ndim == given.ndim == 4 and wanted.shape[1] == channels and given.shape[1] == RGB != channels
    return first and wanted.shape[0] == given.shape[0] and wanted.shape[2:] == given.shape[2:]


def taken_match(wanted: Tensors, taken: Tensors, how: str, missing: list[str], unused: list[str]) -> Match:
    """Tensors that fit, by the network's names, brought to its shapes."""
    adapted = [name for name, tensor in taken.items() if tensor.shape != wanted[name].shape]
    changed = {name: adapt_input_conv(wanted[name].shape[1], taken[name]) for name in adapted}
    return Match({**taken, **changed}, how, missing, unused, adapted)
