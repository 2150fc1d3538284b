"""The training and test items of a download: from which table, with which id, image, answer and group."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from foldpack.recognise.download.heads import Head
from foldpack.recognise.download.listing import Listing, still_packed
from foldpack.recognise.download.near import require_zeros, why_no_images
from foldpack.recognise.download.places import Place, find_place
from foldpack.recognise.download.sample import Sample, shown
from foldpack.recognise.findings import Findings, RecognitionError
from foldpack.settings.item_sources import BsonSource, CocoSource, ItemsConfig, ItemSource, SampleSource

TRAIN = re.compile(r"train|label|annot", re.IGNORECASE)
TEST = re.compile(r"test|information", re.IGNORECASE)
PART = re.compile(r"example|small|mini|sub(set)?_|debug|tiny", re.IGNORECASE)
COPY = re.compile(r"\(\d+\)|copy|old|backup|bak|~", re.IGNORECASE)
MOST_OF, SOME_OF = 0.95, 0.05  # of the sample's ids that a table must have; of a long table a part was read


@dataclass(frozen=True)
class Told:
    """A table whose rows have images."""

    head: Head
    place: Place

    @property
    def by(self) -> str:
        """The id's template: an image's own name; of pictures in BSON with their number."""
        source = self.head.source
        return "{_id}_{picture}" if isinstance(source, BsonSource) and "_id" in self.head.columns else \
            f"{{{self.place.column}}}"


def told_by(head: Head, listing: Listing) -> Told | None:
    """Where a table's images lie: in files, or in the table itself."""
    if isinstance(head.source, BsonSource):
        return Told(head, Place("offset", f"{head.file}/{{offset}}.{{picture}}", 1.0))
    if head.arrays:
        names = [name for name in head.columns if len(set(head.columns[name])) == head.rows]
        return Told(head, Place(next(iter(sorted(names, key=lambda name: name == "row"))), f"{head.file}/{{row}}", 1.0))
    first = ("file_name",) if isinstance(head.source, CocoSource) else ()
    place = find_place(head.columns, listing, first)
    return Told(head, place) if place else None


def find_test(sample: Sample, sample_head: Head, told: list[Told], findings: Findings,
              listing: Listing) -> tuple[ItemsConfig, Told]:
    """The items that the sample asks for. Raises RecognitionError where no image is called so."""
    place = find_place({sample.id: sample.ids, **sample.cells}, listing, (sample.id,))
    asked = set(sample.ids[:2000])
    matching = [(column, one) for one in told for column, cells in one.head.columns.items()
                if len(asked & set(cells)) >= (MOST_OF if one.head.whole else SOME_OF) * len(asked)]
    paths = any("/" in one.head.columns[one.place.column][0] for _, one in matching
                if one.place.column in one.head.columns)  # a table that says whole paths knows better
    if place and place.column == sample.id and not paths:
        require_zeros(sample.file, sample.id, sample.ids, listing)
        findings.recognise("test", f"images {place.image}", f"the ids of {sample.file} are their names")
        items = ItemsConfig(source=SampleSource(kind="sample"), parse=dict(place.parse), id=f"{{{sample.id}}}",
                            image=place.image)
        return items, Told(sample_head, place)
    matching.sort(key=lambda pair: (not TEST.search(pair[1].head.file), pair[0] != sample.id, bool(
        PART.search(pair[1].head.file))))
    if not matching and (found := some_rows(sample, listing, findings)):
        return found, Told(sample_head, Place(sample.id, found.image, 1.0))
    if not matching:
        why = why_no_images({sample.id: sample.ids}, listing)
        raise RecognitionError(f"{sample.file}: no image and no table has the ids of column '{sample.id}', such as "
                               f"'{next(iter(sample.ids), '')}'; {f'{why}, ' if why else 'complete the download, '}or "
                               f"write competition.yml by hand{still_packed(listing)}")
    column, one = matching[0]
    findings.recognise("test", f"{one.head.file}, images {one.place.image}",
                       f"its column '{column}' has the ids of {sample.file}")
    cells, own = one.head.columns, item_id(one)
    several = len(set(cells[column])) < len(rows_of(own, cells))
    if several:
        findings.recognise("test", f"several images an answer: those with one '{column}' are answered together",
                           f"{len(set(cells[column]))} answers for {len(rows_of(own, cells))} images")
    same = own == f"{{{column}}}"
    items = ItemsConfig(source=one.head.source, parse=dict(one.place.parse), id=own, image=one.place.image,
                        answer=None if same else f"{{{column}}}")
    return items, one


def some_rows(sample: Sample, listing: Listing, findings: Findings) -> ItemsConfig | None:
    """The items of a sample that asks for images and for other things, told apart by the last word of their ids."""
    words = sorted({text.rpartition("_")[2] for text in sample.ids})
    if not 2 <= len(words) <= 4:
        return None
    for word in words:
        names = [text.rpartition("_")[0] for text in sample.ids if text.endswith(f"_{word}")]
        if place := find_place({"name": names}, listing):
            findings.guess("test", f"images {place.image}", f"ids that end in '_{word}' name them; rows whose ids end "
                           f"in {', '.join(other for other in words if other != word)} are no images, and are answered "
                           "as the sample does")
            return ItemsConfig(source=SampleSource(kind="sample"), parse={sample.id: "{name}_{level}"},
                               where={"level": word}, id=f"{{{sample.id}}}", image=place.image)
    return None


def item_id(one: Told) -> str:
    """The shortest column with a value an image; of pictures in BSON two."""
    if one.by.count("{") > 1:
        return one.by
    cells = one.head.columns
    images = len(set(cells[one.place.column]))
    named = [name for name in cells if re.fullmatch(r"(.*_)?(id|image|image_id|uid)", name, re.IGNORECASE)
             and pairs_with(cells[name], cells[one.place.column])]
    return f"{{{named[0]}}}" if named and len(set(cells[named[0]])) == images else one.by


def pairs_with(left: list[str], right: list[str]) -> bool:
    """Whether each value of one belongs to one of the other."""
    return len(set(left)) == len(set(right)) == len(set(zip(left, right, strict=True)))


def rows_of(template: str, columns: dict[str, list[str]]) -> set[str]:
    """The different texts that a template gives."""
    names = re.findall(r"\{([^{}]*)\}", template)
    return {"\0".join(cells) for cells in zip(*(columns[name] for name in names), strict=True)}


def find_train(told: list[Told], test: Told, sample: Sample, findings: Findings, listing: Listing) -> Told | None:
    """The table of the training items: with images, and with columns that the test's table has not. None: no table.
    Raises RecognitionError for ids that have lost their zeros."""
    known = set(test.head.columns) if test.head.file != sample.file else set()
    found = [one for one in told if one.head.file not in (sample.file, test.head.file)
             and not (one.head.columns.keys() - {"row", "offset", "picture"} <= known)
             and not is_other(one, test) and has_more(one)]
    if not found:
        return None
    found.sort(key=lambda one: order_of(one, sample))
    best = of_same_columns(found, findings)
    if best.place.column in best.head.columns:
        require_zeros(best.head.file, best.place.column, best.head.columns[best.place.column], listing)
    findings.recognise("train", f"{best.head.file}, images {best.place.image}",
                       f"{'' if best.head.whole else 'more than '}{best.head.rows} rows, columns: "
                       f"{shown(list(best.head.columns), 6)}")
    if others := [other for other in best.place.others if "*" not in other]:
        findings.guess("train", f"the pictures are {best.place.image}", "files of the same names lie in "
                       f"{', '.join(others)}")
    return best


def of_same_columns(found: list[Told], findings: Findings) -> Told:
    """The best table, or another of the same columns and images, which may as well be meant."""
    best, more = found[0], []
    for one in found[1:]:
        if one.head.columns.keys() != best.head.columns.keys() or one.place.image != best.place.image or isinstance(
                one.head.source, CocoSource) or PART.search(one.head.file):
            continue
        if one.head.columns == best.head.columns:
            findings.guess("train", f"{one.head.file} is left out", f"its rows are those of {best.head.file}")
        else:
            more.append(one)
    if not more:
        return best
    return findings.settle("train", "which table has the training items?",
                           [(one, f"{one.head.file}, {one.head.rows} rows") for one in (best, *more)],
                           "they have the same columns")


def is_other(one: Told, test: Told) -> bool:
    """Whether a table tells of the test's images too, as tables of sizes do, or of these only."""
    told, asked = set(one.head.columns[one.place.column]), set(test.head.columns.get(test.place.column, []))
    stems = {cell.rpartition("/")[2].rpartition(".")[0] or cell for cell in told} | told
    return len(asked & stems) > 0.5 * len(asked)


def has_more(one: Told) -> bool:
    """Whether there is a column beside the one that names images."""
    return len([name for name in one.head.columns if name not in (one.place.column, "row", "offset", "picture")]) > 0


def order_of(one: Told, sample: Sample) -> tuple:
    """Tables called train, with the columns that are asked for, with annotations, and with many rows first."""
    columns, head = set(one.head.columns), one.head
    return (not set(sample.columns) & columns, not TRAIN.search(head.file.rpartition("/")[2]),
            not TRAIN.search(head.file), bool(PART.search(head.file)), bool(COPY.search(head.file)), -one.place.share,
            isinstance(head.source, CocoSource) and "category_id" not in columns, -head.rows)


def joined_source(train: Told, told: list[Told], findings: Findings) -> ItemSource:
    """The source of the training items, with the files of more labelled items below (`val2019.json`)."""
    if not isinstance(train.head.source, CocoSource):
        return train.head.source
    more = [one for one in told if one is not train and isinstance(one.head.source, CocoSource)
            and one.head.columns.keys() == train.head.columns.keys() and one.place.image == train.place.image]
    if not more:
        return train.head.source
    files = [train.head.file, *(one.head.file for one in more)]
    findings.guess("train", f"{', '.join(files)} are read one below the other", "they have the same columns")
    return train.head.source.model_copy(update={"file": files})


def answer_template(train: Told, test: ItemsConfig, test_told: Told) -> str | None:
    """What training items are answered together as, where the test's table says it in a column of its own."""
    if test.answer is None:
        return None
    column = test.answer.strip("{}")
    if column in train.head.columns:
        own = train.head.columns[column]
        return test.answer if len(set(own)) < len(own) and test.answer != item_id(train) else None
    asked = test_told.head.columns
    if len(set(asked[column])) == len(rows_of(test.id, asked)):
        return None
    for template, made in joined_columns(asked, set(train.head.columns)):
        if made == asked[column]:
            return template
    return None


def joined_columns(columns: dict[str, list[str]], among: set[str]) -> Iterator[tuple[str, list[str]]]:
    """(template, its texts) of two columns joined by `_` or `-`."""
    names = [name for name in columns if name in among]
    for left in names:
        for right in names:
            for joint in "_-":
                if left != right:
                    yield f"{{{left}}}{joint}{{{right}}}", [f"{a}{joint}{b}" for a, b in
                                                            zip(columns[left], columns[right], strict=True)]
