"""All competitions that foldpack knows, by name, each as a `competition.yml` would tell of it."""

from __future__ import annotations

from typing import Any

from foldpack.competitions.digits import DIGITS, DIGITS_RETRIEVAL, DIGITS_VALUES
from foldpack.competitions.imet import IMET

COMPETITIONS: dict[str, dict[str, Any]] = {
    "digits": DIGITS,
    "digits-retrieval": DIGITS_RETRIEVAL,
    "digits-values": DIGITS_VALUES,
    "imet": IMET,
}
