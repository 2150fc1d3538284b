"""The page and the lines of `foldpack look`: one HTML file that needs nothing else, and text for a terminal."""

from __future__ import annotations

from pathlib import Path

from foldpack.look.image_facts import ImageFacts, counted
from foldpack.look.sheet import Card, fill_sheet
from foldpack.look.survey import Shown, Survey

TEMPLATE = Path(__file__).with_name("page.html")
CLASSES_SHOWN = 40
TERMINAL_CLASSES = 12


def fact_rows(survey: Survey) -> list[tuple[str, str]]:
    """What was understood: name and value."""
    train, test = survey.items
    rows = [("training items", train), ("test items", test), ("groups", survey.groups)]
    for what, facts in (("training", survey.train), ("test", survey.test)):
        rows += [(f"{what} images", image_text(facts)), (f"{what} sizes", facts.size_text),
                 (f"{what} formats", counted(facts.modes))]
    return rows


def image_text(facts: ImageFacts) -> str:
    """How many there are, and how many of them were looked at."""
    here = facts.count - len(facts.missing)
    looked = "" if facts.looked == here else f", {facts.looked} of them looked at"
    return f"{here} of {facts.count}{looked}, {len(facts.broken)} broken"


def page_html(survey: Survey, train: list[Card], test: list[Card]) -> str:
    """The page. train, test: the items of `survey.shown` and `survey.shown_test` with their pictures."""
    ordered = sorted(survey.labels.counts, key=lambda pair: -pair[1])  # stable: of equal ones the first
    by_count = len(ordered) > CLASSES_SHOWN
    counts = ordered[:CLASSES_SHOWN] if by_count else survey.labels.counts
    return fill_sheet(
        TEMPLATE, title=f"{survey.name}: what foldpack understood", survey=survey,
        facts=fact_rows(survey), counts=counts, more=len(ordered) - len(counts),
        most=max([count for _, count in counts], default=1) or 1,
        sections=[("Training items with their labels", train), ("Test items", test)])


def survey_lines(survey: Survey) -> list[str]:
    """The same for a terminal."""
    rows = fact_rows(survey)
    width = max(len(name) for name, _ in rows)
    lines = [f"{survey.name} ({survey.slug}), {survey.root}"]
    lines += [f"  {name:<{width}}  {value}" for name, value in rows]
    counts = survey.labels.counts
    shown = ", ".join(f"{name} ({count})" for name, count in counts[:TERMINAL_CLASSES])
    more = f" and {len(counts) - TERMINAL_CLASSES} more" if len(counts) > TERMINAL_CLASSES else ""
    lines.append(f"  {'labels':<{width}}  {survey.labels.kind}: {shown}{more}")
    lines += [f"  {'':<{width}}  {note}" for note in survey.labels.notes]
    lines += [f"  {'asked for':<{width}}  {survey.asked}"] if survey.asked else []
    for each in survey.shown:
        lines.append(f"  {'item':<{width}}  {each.item}: {', '.join(each.texts)}")
    lines += [f"warning: {line}" for line in survey.warnings]
    return lines + [f"to be checked: {line}" for line in survey.guesses]


def card_of(shown: Shown, picture: str) -> Card:
    """An item of the survey with its picture."""
    return Card(shown.item, shown.texts, picture)
