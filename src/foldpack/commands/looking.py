"""What `foldpack look` does: a survey with near-duplicates, and its page."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from foldpack.commands.image_groups import StageReport, group_images
from foldpack.competitions.adapters import find_adapter, is_competition_file
from foldpack.data.items import whole_images
from foldpack.files import write_atomic
from foldpack.look.page import card_of, page_html
from foldpack.look.pictures import picture_of
from foldpack.look.survey import Shown, Survey, read_guesses, survey_competition
from foldpack.settings.competition import read_competition
from foldpack.settings.run import read_text


def look_at_competition(name: str, data: Path, images: int, shown: int, distance: int | None,
                        report: StageReport) -> Survey:
    """Survey a competition. images: to decode of each split; shown: items with pictures; distance: bits of 256 by which
    near-duplicates differ, None: not looked for. Raises DataError, ConfigError."""
    adapter, config, guesses = find_adapter(name), None, list[str]()
    if is_competition_file(name):
        config, guesses = read_competition(Path(name)), read_guesses(read_text(Path(name)))
    survey = survey_competition(adapter, data, config, guesses, images, shown, report)
    if distance is None:
        return survey
    return replace(survey, notes=[*survey.notes, *near_notes(survey, distance, report)])


def near_notes(survey: Survey, distance: int, report: StageReport) -> list[str]:
    """A line on near-duplicates among the images that were looked at, in train and between train and test."""
    if find_spec("imagehash") is None:
        return ["near-duplicates were not looked for: install the extra 'groups'"]
    train, test = survey.train.there, survey.test.there
    paths = [*train, *test]
    items = whole_images(list(map(str, paths)), paths, reader=survey.reader)
    found = group_images(items, distance, None, report).groups
    parted = [survey.group_of.get(path, str(path)) for path in train]
    apart = {(int(group), name) for group, name in zip(found[: len(train)], parted, strict=True)}
    inside = len(apart) - len({group for group, _ in apart})
    shared = len(set(found[: len(train)].tolist()) & set(found[len(train):].tolist()))
    notes = []
    if inside:
        notes.append(f"near-duplicates: {inside} of {len(train)} training images are nearly the same as one of another "
                     "group; `foldpack groups` writes groups that keep them together in the folds")
    if shared:
        notes.append(f"near-duplicates: {shared} pictures are nearly the same in train and test")
    return notes


def write_page(out: Path, survey: Survey, report: StageReport) -> None:
    """Make the pictures and write the page atomically."""
    cards = []
    every: list[Shown] = [*survey.shown, *survey.shown_test]
    for place, shown in enumerate(every, 1):
        cards.append(card_of(shown, picture_of(shown.image, shown.drawing, survey.reader, survey.channels)))
        report("pictures", place / len(every))
    cut = len(survey.shown)
    write_atomic(out, page_html(survey, cards[:cut], cards[cut:]))
