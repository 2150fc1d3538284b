"""All competitions that foldpack knows, by name."""

from __future__ import annotations

from foldpack.competitions.digits import DIGITS, DIGITS_RETRIEVAL, DIGITS_VALUES
from foldpack.competitions.imet import IMET
from foldpack.competitions.protocol import Competition
from foldpack.errors import DataError, did_you_mean

COMPETITIONS: dict[str, Competition] = {
    "digits": DIGITS,
    "digits-retrieval": DIGITS_RETRIEVAL,
    "digits-values": DIGITS_VALUES,
    "imet": IMET,
}


def get_competition(name: str) -> Competition:
    """Raises DataError with the nearest name for an unknown competition."""
    if name not in COMPETITIONS:
        known = did_you_mean(name, list(COMPETITIONS))
        raise DataError(f"unknown competition '{name}': {known}; or name an adapter of your own, FILE.py:NAME")
    return COMPETITIONS[name]
