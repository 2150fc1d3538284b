"""All competitions that foldpack knows, by name."""

from __future__ import annotations

from foldpack.competitions.digits import DIGITS
from foldpack.competitions.image_table import ImageTable, adapter_of
from foldpack.competitions.imet import IMET
from foldpack.competitions.protocol import Competition
from foldpack.errors import DataError, did_you_mean

COMPETITIONS: dict[str, ImageTable] = {
    "digits": DIGITS,
    "imet": IMET,
}


def get_layout(name: str) -> ImageTable:
    """Raises DataError with the nearest name for an unknown competition."""
    if name not in COMPETITIONS:
        raise DataError(f"unknown competition '{name}': {did_you_mean(name, list(COMPETITIONS))}")
    return COMPETITIONS[name]


def get_competition(name: str) -> Competition:
    """One that foldpack brings. Raises DataError with the nearest name for an unknown one."""
    return adapter_of(get_layout(name))
