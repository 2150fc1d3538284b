"""The command groups: which images are nearly the same, so that no fold and no score is split between them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foldpack.commands.project import CompetitionOption, DataOption
from foldpack.errors import DataError

if TYPE_CHECKING:
    from foldpack.commands.image_groups import Embedder

DISTANCE = 40  # bits of 256; docs/decisions/0032-groups.md has what this finds
MOST_DISTANCE = 128  # two hashes drawn by chance differ in so many


def register(app: typer.Typer) -> None:
    """Add this command to the `foldpack` application."""
    app.command("groups")(groups)


def groups(
    data: DataOption = None,
    competition: CompetitionOption = None,
    out: Annotated[Path, typer.Option(help="where to write id,group")] = Path("groups.csv"),
    distance: Annotated[int, typer.Option(min=0, max=MOST_DISTANCE, help="bits of 256 that may differ")] = DISTANCE,
    test: Annotated[bool, typer.Option("--test", help="look at the test images too")] = False,
    net: Annotated[str | None, typer.Option(help="also compare embeddings of this timm network")] = None,
    weights: Annotated[Path | None, typer.Option(help="with --net: its weights, .safetensors")] = None,
    similarity: Annotated[float | None, typer.Option(help="with --net: least cosine of near-duplicates")] = None,
) -> None:
    """Find images that are nearly the same and write the group of each, for `foldpack folds --groups`."""
    from foldpack.commands.image_groups import group_images, group_lines
    from foldpack.commands.project import told_competition, told_data
    from foldpack.competitions.adapters import find_adapter
    from foldpack.competitions.protocol import require_images
    from foldpack.data.group_file import write_group_file
    from foldpack.data.items import whole_images
    from foldpack.search.report.progress import stage_bars

    embedder = chosen_embedder(net, weights, similarity)
    root = told_data(data)
    adapter = find_adapter(told_competition(competition))
    labelled = adapter.train(root)
    train = labelled.items
    require_images(train, labelled.source)
    asked = adapter.test(root) if test else whole_images([], [])
    once = dict(zip(asked.ids, asked.images, strict=True))  # a sample submission may ask for an image twice
    tested = whole_images(list(once), list(once.values()))
    items = whole_images(train.ids + tested.ids, train.images + tested.images, reader=train.reader)
    if twice := set(train.ids) & set(tested.ids):
        raise DataError(f"{root}: id '{min(twice)}' is that of a training image and of a test image ({len(twice)} "
                        "are); a table of groups holds an id once, so leave --test out")
    with stage_bars() as report:
        found = group_images(items, distance, embedder, report)
    write_group_file(out, items.ids, [str(group) for group in found.groups])
    print("\n".join([*group_lines(found, items.ids, len(train)), f"groups {out}"]))


def chosen_embedder(net: str | None, weights: Path | None, similarity: float | None) -> Embedder | None:
    """What --net, --weights and --similarity say. Raises DataError for one without the others."""
    if net is None and weights is None and similarity is None:
        return None
    if net is None or weights is None or similarity is None:
        lacking = [name for name, value in (("--net", net), ("--weights", weights), ("--similarity", similarity))
                   if value is None]
        raise DataError(f"{lacking[0]} is missing: --net, --weights and --similarity belong together")
    if not 0 < similarity <= 1:
        raise DataError(f"--similarity {similarity:g}: a cosine above 0 and at most 1 is needed")
    from foldpack.commands.image_groups import Embedder

    return Embedder(net, weights, similarity)
