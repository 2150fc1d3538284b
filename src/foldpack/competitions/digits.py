"""The embedded 1,797 handwritten digits of 32x32 pixels, as three competitions: one for each kind of answer."""

from __future__ import annotations

from dataclasses import replace

from foldpack.competitions.image_table import ImageTable

# Which of ten classes, scored by accuracy: the default.
DIGITS = ImageTable(
    name="digits",
    slug="foldpack-digits",
    task="multiclass",
    id_column="id",
    label_column="label",
    suffix=".png",
)
# Which number.
DIGITS_VALUES = replace(DIGITS, name="digits-values", slug="foldpack-digits-values", task="values")
# Which of eight identities, likeliest first; eights and nines are of none of them.
DIGITS_RETRIEVAL = replace(DIGITS, name="digits-retrieval", slug="foldpack-digits-retrieval", task="ranking",
                           none_class="new")

DIGITS_LAYOUTS: dict[str, ImageTable] = {
    "digits": DIGITS,
    "digits-retrieval": DIGITS_RETRIEVAL,
    "digits-values": DIGITS_VALUES,
}
