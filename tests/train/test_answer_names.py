"""Classes that the competition's answer cannot tell are refused before a run decodes its first image."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_competition import competition_of, write_files
from small_house import tiny_config

from foldpack.errors import DataError
from foldpack.train.load import load_training_set


@pytest.mark.parametrize(("answer", "said"), [
    ({"kind": "probability", "id": "id", "column": "label", "of": "dogs"},
     "answer.of is 'dogs', which is none of the classes: did you mean 'dog'? Allowed: cat, dog"),
    ({"kind": "probabilities", "id": "id", "columns": {"cat": "p_cat"}},
     "answer.columns: 'dog' has no column; each class needs its column: Allowed: cat"),
])
def test_classes_that_the_answer_cannot_tell(answer: dict, said: str, tmp_path: Path) -> None:
    write_files(tmp_path, {"train.csv": "id,label\nt,cat\nu,dog\n", "folds.csv": "id,fold\nt,0\nu,1\n",
                           "sample_submission.csv": "id,label\na,0\n"}, "train/t.png", "train/u.png")
    competition = competition_of(answer=answer, metric={"name": "auc"})
    with pytest.raises(DataError) as caught:
        load_training_set(tiny_config(), competition, tmp_path, tmp_path / "folds.csv")
    assert str(caught.value) == said
