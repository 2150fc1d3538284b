"""A download that is spoilt here and there: an error that says where, or a conclusion that is marked; never silent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from shapes import make_shape

from foldpack.recognise.findings import Findings, RecognitionError
from foldpack.recognise.recognise import recognise


def made(shape: str, tmp_path: Path) -> Path:
    make_shape(shape, tmp_path / "data")
    return tmp_path / "data"


def edit(data: Path, file: str, change: Callable[[pd.DataFrame], object]) -> pd.DataFrame:
    """Read a CSV as text, change it in place, or take what comes back, and write it."""
    frame = pd.read_csv(data / file, dtype=str, keep_default_na=False)
    changed = change(frame)
    frame = changed if isinstance(changed, pd.DataFrame) else frame
    frame.to_csv(data / file, index=False)
    return frame


def with_cell(column: pd.Series, text: str) -> list[str]:
    """A column with another fifth cell."""
    return [*column[:4], text, *column[5:]]


def refused(data: Path, slug: str = "trees") -> str:
    with pytest.raises(RecognitionError) as caught:
        recognise(data, "trees", slug, Findings())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def doubts(data: Path, slug: str = "trees") -> list[str]:
    return [each.line for each in recognise(data, "trees", slug, Findings()).findings.all
            if each.sure == "could not tell"]


@pytest.mark.parametrize("spoilt", ["2-Mar", "nan", "63 %", "1.2.3"])
def test_a_spoilt_number_is_no_class(spoilt: str, tmp_path: Path) -> None:
    data = made("values", tmp_path)
    frame = edit(data, "train.csv", lambda frame: frame.__setitem__("Score", with_cell(frame.Score, spoilt)))
    assert (f"train.csv: 59 of 60 cells of column 'Score' are numbers, got: '{spoilt}' in the row of "
            f"'{frame.Id[4]}'; mend what is no number there") in refused(data)


def test_decimal_commas_are_told(tmp_path: Path) -> None:
    data = made("values", tmp_path)
    edit(data, "train.csv", lambda frame: frame.assign(Score=[f"{cell},5" for cell in frame.Score]))
    assert "train.csv: column 'Score' has decimal commas, got: '" in refused(data)


def test_a_word_among_class_numbers_is_doubted(tmp_path: Path) -> None:
    data = made("one_column", tmp_path)
    frame = edit(data, "train.csv", lambda frame: frame.__setitem__("label", with_cell(frame.label, "oak")))
    assert doubts(data) == ["the numbers in 'label' are names of classes (59 of 60 cells of column 'label' are "
                            f"numbers, but 'oak' in the row of '{frame.image_id[4]}' is none)"]


def test_a_person_may_stop_at_a_doubt(tmp_path: Path) -> None:
    data = made("one_column", tmp_path)
    edit(data, "train.csv", lambda frame: frame.__setitem__("label", with_cell(frame.label, "oak")))
    with pytest.raises(RecognitionError, match="labels: the numbers in 'label' are names of classes: stopped, as you"):
        recognise(data, "trees", "trees", Findings(lambda question, options: options.index("none of these: stop")))
    assert recognise(data, "trees", "trees", Findings(lambda question, options: 0)).config.labels.kind == "class"


def test_a_table_without_its_labels_is_told(tmp_path: Path) -> None:
    data = made("values", tmp_path)
    edit(data, "train.csv", lambda frame: frame.drop(columns="Score"))
    (data / "test.csv").rename(data / "test_metadata.csv")
    assert ("train.csv: no column has labels, got: Eyes, Blur, which the test's table has too; needed: what "
            "sample_submission.csv asks for, 'Score'") in refused(data)


def test_a_table_of_test_items_may_have_a_column_for_the_label(tmp_path: Path) -> None:
    data = made("one_column", tmp_path)
    asked = edit(data, "sample_submission.csv", lambda frame: frame.rename(columns={"label": "Predicted"}))
    asked.rename(columns={"Predicted": "label"}).to_csv(data / "test.csv", index=False)
    assert recognise(data, "trees", "trees", Findings()).config.labels.model_dump()["column"] == "label"


def test_without_a_table_of_test_items_the_sample_tells_that_labels_are_missing(tmp_path: Path) -> None:
    data = made("values", tmp_path)
    edit(data, "train.csv", lambda frame: frame.drop(columns="Score"))
    (data / "test.csv").unlink()
    assert ("sample_submission.csv: column 'Score' has '38.5', and the training items have 2 classes, such as 0, 1, "
            "none of which it names") in refused(data)


def test_a_person_may_say_that_no_column_is_the_label(tmp_path: Path) -> None:
    data = made("values", tmp_path)
    edit(data, "train.csv", lambda frame: frame.drop(columns="Score").assign(Blur=[row % 2 for row in range(60)]))
    (data / "test.csv").unlink()
    with pytest.raises(RecognitionError, match="train.csv: none of Eyes, Blur says what 'Score' is, as you said"):
        recognise(data, "trees", "trees", Findings(lambda question, options: options.index("none of these: stop")))


def test_a_known_metric_that_scores_something_else_is_told(tmp_path: Path) -> None:
    assert ("sample_submission.csv: 'petfinder-pawpularity-score' is scored by rmse, but labels were recognised as "
            "class and the answer as class: metric 'rmse' scores a value an item") in refused(
                made("one_column", tmp_path), "petfinder-pawpularity-score")


@pytest.mark.parametrize(("slug", "kind"), [("ranzcr-clip-catheter-line-classification", "probabilities"),
                                            ("plant-pathology-2021-fgvc8", "labels")])
def test_a_known_metric_says_what_the_columns_hold(slug: str, kind: str, tmp_path: Path) -> None:
    data = made("several_columns", tmp_path)
    assert len(doubts(data)) == 1 and doubts(data, slug) == []
    assert recognise(data, "trees", slug, Findings()).config.answer.kind == kind


def test_classes_that_differ_in_case_only_are_doubted(tmp_path: Path) -> None:
    data = made("column_a_class", tmp_path)
    (data / "sample_submission.csv").rename(data / "old.txt")
    asked = pd.read_csv(data / "old.txt", dtype=str)[["id"]].assign(breed="elm")
    asked.to_csv(data / "sample_submission.csv", index=False)
    edit(data, "labels.csv", lambda frame: frame.__setitem__("breed", with_cell(frame.breed, "Elm")))
    assert [each.partition(" (")[0] for each in doubts(data)] in (["'Elm' and 'elm' are two classes"],
                                                                   ["'elm' and 'Elm' are two classes"])


@pytest.mark.parametrize("other", ["|", ","])
def test_labels_that_are_parted_in_two_ways_are_told(other: str, tmp_path: Path) -> None:
    data = made("joined", tmp_path)
    frame = edit(data, "train.csv", lambda frame: frame.assign(attribute_ids=[
        cell.replace(" ", other) if row < 20 else cell for row, cell in enumerate(frame.attribute_ids)]))
    first = next(row for row, cell in enumerate(frame.attribute_ids) if other in cell)
    assert (f"are parted by white space, got: '{frame.attribute_ids[first]}' in the row of '{frame.id[first]}', parted "
            f"by '{other}'; part all labels by the same") in refused(data)


def test_a_sample_of_a_header_only_is_told(tmp_path: Path) -> None:
    data = made("one_column", tmp_path)
    edit(data, "sample_submission.csv", lambda frame: frame.head(0))
    assert "sample_submission.csv: the sample submission has no rows, or no header; needed: a row for" in refused(data)
