"""Pages of ours: one HTML file that needs nothing else, in light and dark, on a phone too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

BASE = Path(__file__).with_name("base.html")


@dataclass(frozen=True)
class Card:
    """An item with its picture, a data URI; "" where it has no pixels."""

    item: str
    texts: list[str]
    picture: str


def fill_sheet(template: Path, **values: object) -> str:
    """The page of a template. values: `title`, what the template asks for, and of `base.html` itself `body`. Text is
    escaped, `markupsafe.Markup` is not. The same values give the same bytes."""
    environment = Environment(loader=FileSystemLoader([template.parent, BASE.parent]), autoescape=True,
                              undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.get_template(template.name).render(**values)
