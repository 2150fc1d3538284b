"""From a download to the settings of its competition, with what speaks for each conclusion."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from foldpack.metrics.registry import Metric
from foldpack.recognise.answer import find_answer
from foldpack.recognise.context import Context
from foldpack.recognise.download.cells import are_numbers
from foldpack.recognise.download.heads import Head, read_heads
from foldpack.recognise.download.listing import Listing, list_download
from foldpack.recognise.download.places import parsed_columns
from foldpack.recognise.download.sample import Sample, find_sample
from foldpack.recognise.file_names import find_named_files
from foldpack.recognise.findings import Findings
from foldpack.recognise.groups import beginning_patterns, find_group
from foldpack.recognise.items import Told, answer_template, find_test, find_train, item_id, joined_source, told_by
from foldpack.recognise.labels import find_labels
from foldpack.recognise.metric import find_metric_config, known_metric_of
from foldpack.recognise.pictures import find_pictures
from foldpack.recognise.untold import why_untold
from foldpack.settings.competition import CompetitionConfig
from foldpack.settings.item_sources import BsonSource, CocoSource, ItemsConfig
from foldpack.settings.label_kinds import ClassLabels, LabelsConfig

LATER = ("boxes", "masks")  # kinds of labels that no network of ours learns


@dataclass(frozen=True)
class Recognised:
    """What a download is. side: median of the images' longer sides, 0 where it is not known."""

    config: CompetitionConfig
    findings: Findings
    side: int

    @property
    def can_train(self) -> bool:
        """Whether there is a task for its labels."""
        return self.config.labels.kind not in LATER


def recognise(root: Path, name: str, slug: str, findings: Findings) -> Recognised:
    """Look at a competition's folder, as downloaded and unpacked. Raises RecognitionError."""
    listing = list_download(root)
    heads = read_heads(listing)
    sample, sample_head = find_sample(listing, heads, findings)
    told = [one for head in heads if head is not sample_head and (one := told_by(head, listing))]
    test_items, test = find_test(sample, sample_head, told, findings, listing)
    train = find_train(told, test, sample, findings, listing)
    if train is None:
        why = why_untold(listing, heads, told, sample, test)
        one_number = len(sample.columns) == 1 and are_numbers(sample.cells[sample.columns[0]])
        named = find_named_files(listing, test.place if test.head is sample_head else None, one_number, why, findings)
        labels: LabelsConfig = ClassLabels(kind="class", column="label", map=named.map)
        classes = sorted(set(named.map.values()) or named.labels)
        findings.recognise("labels", f"one of {len(classes)} classes", "they stand in the paths")
        train_items = named.items
    else:
        train_items, labels, classes = table_items(listing, heads, told, train, test_items, test, sample, findings,
                                                   known_metric_of(slug))
    answer = find_answer(labels, classes, sample, findings, known_metric_of(slug))
    pictures = find_pictures(listing, train, test, training_paths(listing, train, test), findings)
    metric = find_metric_config(slug, labels, answer, findings)
    config = CompetitionConfig(name=name, slug=slug, train=train_items, test=test_items, images=pictures.config,
                               labels=labels, answer=answer, metric=metric)
    return Recognised(config, findings, pictures.side)


def table_items(
    listing: Listing, heads: list[Head], told: list[Told], train: Told, test_items: ItemsConfig, test: Told,
    sample: Sample, findings: Findings, metric: Metric | None,
) -> tuple[ItemsConfig, LabelsConfig, list[str]]:
    """(training items, labels, classes that were seen) of a table."""
    own = item_id(train)
    used = {train.place.column, *re.findall(r"\{([^{}]*)\}", own)}
    used |= {"image_id"} if isinstance(train.head.source, CocoSource) else set()
    test_columns = set(test.head.columns) if test.head.file != sample.file else \
        {name for head in heads if re.fullmatch(r".*test.*\.csv", head.file, re.IGNORECASE) for name in head.columns}
    others = [head for head in heads if head is not train.head and head.file not in (sample.file, test.head.file)]
    labels = find_labels(Context(train.head, used, test_columns, sample, others, json_maps(listing), findings,
                                 metric))
    parse: dict[str, str | list[str]] = dict(train.place.parse)
    columns = {**train.head.columns, **parsed_columns(train.head.columns, train.place.parse)}
    label_columns = {value for value in labels.model_dump().values() if isinstance(value, str)}
    group = find_group({key: cells for key, cells in columns.items() if key not in label_columns}, train.place.column,
                       findings)
    answer = answer_template(train, test_items, test)
    if group is None and isinstance(train.head.source, BsonSource):
        group = answer.strip("{}") if answer else None
        findings.recognise("train", f"a group is a {group}", "the images of one answer stay in one fold")
    if group is None and not parse and (patterns := beginning_patterns(train.head.columns[train.place.column])):
        parse, group = {train.place.column: patterns}, "book"
        findings.guess("train", f"a group is what '{train.place.column}' begins with", "few beginnings are those of "
                       "all ids, as with pages of books, so items of one stay in one fold")
    if answer is not None:
        findings.recognise("train", f"images of one {answer} are answered together", "the test's table says so")
    items = ItemsConfig(source=joined_source(train, told, findings), parse=parse, id=own, image=train.place.image,
                        answer=answer, group=None if group is None else f"{{{group}}}")
    return items, labels, seen_classes(labels, train.head)


def seen_classes(labels: LabelsConfig, head: Head) -> list[str]:
    """The classes of the rows that were read; of columns their names."""
    if labels.kind == "one-hot":
        return labels.columns
    column = getattr(labels, "column", None)
    if labels.kind in ("class", "identity") and column is not None:
        return sorted({cell for cell in head.columns[column] if cell.strip()})
    if labels.kind == "labels":
        return sorted({word for cell in head.columns[labels.column] for word in cell.split(labels.separator) if word})
    return []


def training_paths(listing: Listing, train: Told | None, test: Told) -> list[str]:
    """The image files of the training items, as far as their template tells; of the test, where it is the same."""
    one = train or test
    head = re.split(r"[{*]", one.place.image)[0]
    away = re.split(r"[{*]", test.place.image)[0]
    suffix = re.search(r"\.\w+$", one.place.image)
    paths = [path for path in listing.images if path.startswith(head) and (not suffix or path.endswith(suffix[0]))]
    if train is None:
        paths = [path for path in listing.images if not (away and path.startswith(away))]
    return paths


def json_maps(listing: Listing) -> list[set[str]]:
    """The keys of small JSON objects that map one text to another, as files of class names do."""
    found = []
    for path in listing.tables:
        file = listing.root / path
        if path.endswith(".json") and "/" not in path and file.stat().st_size < 1 << 20:
            try:
                data = json.loads(file.read_text(encoding="utf-8", errors="replace"))
            except ValueError:
                continue
            if isinstance(data, dict) and data and all(isinstance(value, str) for value in data.values()):
                found.append(set(data))
    return found
