"""From what `competition.yml` says to what a kernel needs of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from foldpack.competitions.answers.registry import form_of
from foldpack.competitions.declared import DeclaredCompetition
from foldpack.competitions.item_rules import ItemRules
from foldpack.competitions.sources.registry import SOURCES
from foldpack.data.decode import PILLOW
from foldpack.data.readers.protocol import Reader
from foldpack.errors import DataError
from foldpack.settings.answer_forms import AnswerConfig
from foldpack.settings.item_sources import ItemsConfig

IN_ONE_FILE = ("json", "bson")  # readers of files that hold many images


def kernel_half(settings: Mapping[str, Any], reader: Reader = PILLOW) -> DeclaredCompetition:
    """The adapter without training items. settings: a `CompetitionConfig`, as plain data that was checked; reader: of
    its test images."""
    form = form_of(TypeAdapter(AnswerConfig).validate_python(settings["answer"]))
    train, test = (item_rules(settings, split) for split in ("train", "test"))
    return DeclaredCompetition(settings["name"], settings["slug"], form, test, test.folder != train.folder, reader)


def item_rules(settings: Mapping[str, Any], split: str) -> ItemRules:
    """How the items of "train" or "test" are read. Raises DataError for training items of the sample submission."""
    items = ItemsConfig.model_validate(settings[split])
    kind, source = items.source.kind, items.source.model_dump(exclude_defaults=True, exclude={"kind"})
    if kind == "sample":
        if split == "train":
            raise DataError(f"competition '{settings['name']}': train.source: the sample submission tells of test "
                            "items only; name the file that tells of the training items")
        answer = settings["answer"]
        source = {"file": answer.get("sample", "sample_submission.csv"), "id": answer["id"]}
    inside = settings.get("images", {}).get("reader") in IN_ONE_FILE
    return ItemRules(SOURCES[kind], source, items.id, items.image, split, items.answer, items.parse, items.where,
                     inside)
