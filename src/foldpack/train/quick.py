"""`foldpack recipe --quick`: the recipe's own way with one tiny network, seconds of training and two folds."""

from __future__ import annotations

import numpy as np

from foldpack.settings.network import NetConfig, height_width
from foldpack.settings.recipe import RecipeConfig
from foldpack.settings.run import AugmentConfig, RunConfig
from foldpack.settings.training.optim import OptimConfig

SUFFIX = "quick"  # of names and of the folder: nothing of a quick run is mistaken for the real one
SIDE = 64  # pixels at most
FOLDS = 2
ITEMS = 400  # at most, of the training items
HOURS = 0.25  # of the kernel, whose deadline then answers in time however many images there are
EPOCHS = 60
NETWORK = "test_resnet"  # timm's, 0.5 million weights


def quick_recipe(recipe: RecipeConfig, first: RunConfig) -> tuple[RecipeConfig, list[RunConfig]]:
    """A recipe with the folds, labels, loss and metric of this one, and nothing that takes long.

    first: its first run, whose task is kept. No flips and no colours: they may be what tells classes apart.
    """
    net = NetConfig(arch=NETWORK, size=min(SIDE, *height_width(first.net.size)), channels=first.net.channels,
                    mean=first.net.mean, std=first.net.std)
    run = RunConfig(
        run=f"{first.run}-{SUFFIX}", competition=first.competition, task=first.task, embed=first.embed, net=net,
        loss=first.loss.model_copy(update={"memory": None}), metric=first.metric,
        optim=OptimConfig(lr=3e-3, warmup_epochs=2),
        augment=AugmentConfig(hflip=0.0, affine=0.5, shift=0.05, scale=0.1, rotate=5.0), epochs=EPOCHS, batch_size=16,
        evaluate_every=EPOCHS // 3, images=first.images, broken=first.broken, seed=first.seed)
    folds = recipe.folds.model_copy(update={"count": FOLDS})
    changed = {"name": f"{recipe.name}-{SUFFIX}", "folds": folds, "runs": [run.run], "hours": HOURS}
    return recipe.model_copy(update=changed), [run]


def quick_items(targets: np.ndarray, seed: int = 0) -> np.ndarray:
    """Which items a quick run learns from: at most 400, of single classes as many each as there are.

    targets: (n,) int64 class indices, or (n, C) of anything. Returns (m,) rows, ascending.
    """
    order = np.random.default_rng(seed).permutation(len(targets))
    if targets.ndim == 1:
        seen: dict[int, int] = {}
        turn = np.empty(len(order), dtype=np.int64)  # the how manieth of its class
        for place, row in enumerate(order):
            kind = int(targets[row])
            turn[place] = seen[kind] = seen.get(kind, -1) + 1
        order = order[np.argsort(turn, kind="stable")]
    return np.sort(order[:ITEMS])
