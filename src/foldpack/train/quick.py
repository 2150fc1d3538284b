"""`foldpack recipe --quick`: the recipe's own way with one tiny network, seconds of training and two folds."""

from __future__ import annotations

from foldpack.settings.network import NetConfig, height_width
from foldpack.settings.recipe import RecipeConfig
from foldpack.settings.run import AugmentConfig, OptimConfig, RunConfig

SUFFIX = "quick"  # of names and of the folder: nothing of a quick run is mistaken for the real one
SIDE = 64  # pixels at most
FOLDS = 2
EPOCHS = 30
NETWORK = "test_resnet"  # timm's, 0.5 million weights


def quick_recipe(recipe: RecipeConfig, first: RunConfig) -> tuple[RecipeConfig, list[RunConfig]]:
    """A recipe with the folds, labels, loss and metric of this one, and nothing that takes long.

    first: its first run, whose task is kept. No flips and no colours: they may be what tells classes apart.
    """
    net = NetConfig(arch=NETWORK, size=min(SIDE, *height_width(first.net.size)), channels=first.net.channels,
                    mean=first.net.mean, std=first.net.std)
    run = RunConfig(
        run=f"{first.run}-{SUFFIX}", competition=first.competition, task=first.task, embed=first.embed, net=net,
        loss=first.loss, metric=first.metric, optim=OptimConfig(lr=3e-3, warmup_epochs=2),
        augment=AugmentConfig(hflip=0.0, affine=0.5, shift=0.05, scale=0.1, rotate=5.0), epochs=EPOCHS, batch_size=16,
        evaluate_every=EPOCHS // 3, seed=first.seed)
    folds = recipe.folds.model_copy(update={"count": FOLDS})
    changed = {"name": f"{recipe.name}-{SUFFIX}", "folds": folds, "runs": [run.run], "hours": 1.0}
    return recipe.model_copy(update=changed), [run]
