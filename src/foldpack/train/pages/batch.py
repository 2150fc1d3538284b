"""The page of `foldpack batch`: the first training batches exactly as the network gets them, and what was done to each.

The batches are taken where they meet the network: a fold really learns from them, and what goes into its network and
into its loss is written down. So nothing here repeats what training does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import set_seed

from foldpack.competitions.adapters import find_adapter
from foldpack.data.geometry import input_shape
from foldpack.files import write_atomic
from foldpack.look.sheet import Card, fill_sheet
from foldpack.models.classifier import normalise
from foldpack.models.start import settle_start
from foldpack.predict.view import View
from foldpack.predict.view_pixels import apply_view
from foldpack.settings.run import RunConfig
from foldpack.train.checks import check_names, check_sampling, chosen_folds
from foldpack.train.dataset import AugmentedRows, TrainingSet, told_plainly
from foldpack.train.fit import FoldTraining, fold_seed
from foldpack.train.load import CACHE, load_training_set
from foldpack.train.pages.thumbs import Thumbs
from foldpack.train.run import Say

TEMPLATE = Path(__file__).with_name("batch.html")
DRAWS = 4  # times that an image is augmented beside its own
TOLD = 4  # classes of a mixed image that are named


@dataclass(frozen=True)
class BatchAsked:
    """What the page shows. batches: of the first epoch; images: pictures of each; items: images with draws beside."""

    fold: int = 0
    batches: int = 2
    images: int = 24
    items: int = 8


@dataclass(frozen=True, eq=False)
class SeenBatch:
    """Images of one shape that went into the network together. rows: (b,) of the training set; images: (b, C, h, w)
    float32; targets: as the loss got them."""

    rows: list[int]
    images: torch.Tensor
    targets: torch.Tensor


def first_batches(training: FoldTraining, count: int) -> list[list[SeenBatch]]:
    """The first batches of the first epoch, each as its groups of one shape; the fold learns from them."""
    images, targets = list[torch.Tensor](), list[torch.Tensor]()
    losses = training.task.losses

    def seen(outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        targets.append(wanted.detach().cpu())
        return losses(outputs, wanted)

    training.task.losses = seen  # type: ignore[assignment, method-assign]
    hook = training.plain.register_forward_pre_hook(lambda net, given: images.append(given[0].detach().float().cpu()))
    found: list[list[SeenBatch]] = []
    training.begin(0)
    keys, size = list(training.order), training.config.batch_size
    for batch, groups in enumerate(told_plainly(training.loader)):
        training.learn(groups, 0, batch)
        rows = rows_by_shape(training, keys[batch * size : (batch + 1) * size])
        found.append([SeenBatch(*each) for each in zip(rows, images, targets, strict=True)])
        images.clear()
        targets.clear()
        if len(found) == count:
            break
    hook.remove()
    return found


def rows_by_shape(training: FoldTraining, keys: list[tuple[int, ...]]) -> list[list[int]]:
    """The rows of a batch in the order of `group_shapes`. keys: of `EpochOrder`."""
    items = training_items(training)
    groups: dict[torch.Size, list[int]] = {}
    for key in keys:
        groups.setdefault(items[key][0].shape, []).append(int(items.rows[key[1]]))
    return list(groups.values())


def training_items(training: FoldTraining) -> AugmentedRows:
    """What the loader reads."""
    items = training.loader.dataset
    assert isinstance(items, AugmentedRows)
    return items


def plain_image(training: FoldTraining, row: int) -> torch.Tensor:
    """(C, h, w) float32: an image as it is predicted, without augmentation."""
    pixels = torch.from_numpy(np.array(training.data.pixels.row(row)))[None]
    size = input_shape(training.config.net, (pixels.shape[1], pixels.shape[2]))
    return apply_view(View("identity"), normalise(pixels, training.config.net), size)[0]


def drawn_images(training: FoldTraining, position: int) -> list[torch.Tensor]:
    """An image as the first epochs augment it, before anything is mixed. position: among the training rows."""
    items = training_items(training)
    return [training.net_input(items[(epoch, position)][0][None])[0] for epoch in range(DRAWS)]


def target_texts(data: TrainingSet, target: torch.Tensor, weighted: bool) -> list[str]:
    """What the loss is told of an image. target: a row of what it gets; weighted: its last number is the weight."""
    told = [f"weight {float(target[-1]):.3g}"] if weighted else []
    target = target[:-1] if weighted else target
    if data.teacher is not None:  # what it says comes behind
        alone = replace(data, teacher=None)
        labels, said = (target_texts(alone, part, False) for part in target.chunk(2))
        return [*labels, "teacher:", *said, *told]
    if data.task == "embed":
        flipped, own = divmod(int(target), data.identities)
        return [data.classes[own] + ", flipped" * (flipped > 0), *told]
    if data.task == "regress":
        return [*(f"{name} {float(number):.4g}" for name, number in zip(data.classes, target, strict=True)), *told]
    order = torch.argsort(-target, stable=True).tolist()
    named = [(data.classes[k], float(target[k])) for k in order if target[k] > 5e-3]
    texts = [name if share > 0.995 else f"{name} {share:.2f}" for name, share in named[:TOLD]]
    more = [f"and {len(named) - TOLD} more"] if len(named) > TOLD else []
    return [*(texts or ["(none)"]), *more, *told]


def batch_html(training: FoldTraining, asked: BatchAsked) -> str:
    """The page."""
    thumbs, data, weighted, net = Thumbs(), training.data, training.task.weighted, training.config.net
    sections = []
    for number, groups in enumerate(first_batches(training, asked.batches)):
        for group in groups:
            height, width = group.images.shape[-2:]
            count, shown = len(group.rows), min(asked.images, len(group.rows))
            heading = f"Batch {number}: {count} image{'s' * (count > 1)}, {width} x {height}"
            cards = [Card(data.ids[group.rows[k]], target_texts(data, group.targets[k], weighted),
                          thumbs.of_tensor(group.images[k], net)) for k in range(shown)]
            sections.append((heading, mixed_text(training, group), cards, count - shown))
    beside = []
    for position in range(min(asked.items, len(training.rows))):
        row = int(training.rows[position])
        images = [plain_image(training, row), *drawn_images(training, position)]
        texts = ["as it is predicted", *(f"epoch {epoch}" for epoch in range(DRAWS))]
        beside.append((data.ids[row], [Card("", [text], thumbs.of_tensor(image, net))
                                       for text, image in zip(texts, images, strict=True)]))
    config = training.config
    changed = config.augment.model_dump(mode="json", exclude_defaults=True)
    facts = [("augment", ", ".join(f"{name}: {value}" for name, value in changed.items()) or "as by default"),
             ("sampler", config.sampler.kind), ("weights", config.weights.kind),
             ("network", f"{net.arch}, {net.size} px"), ("fold left out", training.fold)]
    return fill_sheet(TEMPLATE, title=f"What {config.run} learns from", facts=facts, sections=sections, beside=beside,
                      left_out=thumbs.left_out)


def mixed_text(training: FoldTraining, group: SeenBatch) -> str:
    """How many images of a batch carry more than their own labels; "" where nothing mixes."""
    if not training.config.augment.mixers:
        return ""
    items = training_items(training)
    own = torch.stack([torch.as_tensor(items.target(row)) for row in group.rows])
    mixed = int(((group.targets - own).abs() > 1e-4).reshape(len(own), -1).any(dim=1).sum())
    return f"{mixed} of {len(own)} have labels of others mixed in; a number is a label's share"


def show_batches(config: RunConfig, root: Path, folds_csv: Path, runs: Path, asked: BatchAsked, out: Path,
                 say: Say = print) -> None:
    """Write the page. root: the competition's folder; runs: where decoded images are kept; nothing is trained there.

    Raises FoldpackError.
    """
    competition = find_adapter(config.competition)
    config = config.model_copy(update={"workers": 0, "compile": False, "trackers": []})  # the batches are the same
    check_names(config, competition)
    config = config.model_copy(update={"net": settle_start(config.net, say)})
    data = load_training_set(config, competition, root, folds_csv, say, runs / CACHE)
    chosen_folds(config.model_copy(update={"folds": [asked.fold]}), data.fold, folds_csv)
    check_sampling(config, data, [asked.fold])
    set_seed(fold_seed(config, asked.fold))
    write_atomic(out, batch_html(FoldTraining(config, data, asked.fold), asked))
    say(f"page {out}")
