"""A kernel hands in what its ensemble decides, probabilities and rankings too, from the first second on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small_house import OWNER, House, load_entry

from foldpack.competitions.adapters import get_competition
from foldpack.competitions.registry import COMPETITIONS
from foldpack.keyring.keyring import Keyring
from foldpack.settings.ensemble import EnsembleSpec, spec_to_dict, write_spec
from foldpack.settings.stages import Decision, ProbsDecision, RankingDecision
from packer.build.kernel_folder import build_kernel, with_fallback
from packer.rehearse.verdict import rehearse_build

DIGITS = [str(digit) for digit in range(10)]
CASES: list[tuple[Decision, list[str]]] = [
    (ProbsDecision(), DIGITS),
    (ProbsDecision(classes=["3"]), ["label"]),
    (RankingDecision(k=3), ["label"]),
    (RankingDecision(k=2, none_score=0.5), ["label"]),
]
IDS = ["probs", "one", "ranking", "none"]


def expected(decision: Decision, probs: np.ndarray) -> pd.DataFrame:
    """The cells of these probabilities, worked out once more."""
    if isinstance(decision, ProbsDecision) and decision.classes is None:
        return pd.DataFrame(probs, columns=DIGITS)
    if isinstance(decision, ProbsDecision):
        return pd.DataFrame({"label": probs[:, 3]})
    assert isinstance(decision, RankingDecision)
    scores = probs.copy()
    if decision.none_score is not None:
        scores[:, 9] = decision.none_score
    best = np.argsort(-scores, axis=1, kind="stable")[:, : decision.k]
    return pd.DataFrame({"label": [" ".join(map(str, row)) for row in best]})


@pytest.fixture(autouse=True)
def asked(decision: Decision, columns: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The digits, as a competition would have them that asks for this."""
    answer: dict[str, object] = {"id": "id"}
    if isinstance(decision, RankingDecision):
        answer |= {"kind": "ranking", "column": columns[0], "k": decision.k}
    elif decision == ProbsDecision():
        answer |= {"kind": "probabilities"}
    else:
        answer |= {"kind": "probability", "column": columns[0], "of": "3"}
    monkeypatch.setitem(COMPETITIONS, "digits", {**COMPETITIONS["digits"], "answer": answer})


def decided(house: House, decision: Decision) -> EnsembleSpec:
    return with_fallback(house.build.spec.with_last(decision=decision), get_competition("digits"))


@pytest.mark.parametrize(("decision", "columns"), CASES, ids=IDS)
def test_a_kernel_hands_in_what_is_decided(house: House, tmp_path: Path, decision: Decision,
                                           columns: list[str]) -> None:
    spec, data = decided(house, decision), tmp_path / "input" / "competitions" / "foldpack-digits"
    shutil.copytree(house.data, data)
    shutil.copytree(house.build.weights, tmp_path / "input" / "datasets" / "someone" / "small-weights")
    sample = pd.read_csv(data / "sample_submission.csv", dtype=str)[["id"]].assign(Usage="Public")
    sample.assign(**dict.fromkeys(columns, "0")).to_csv(data / "sample_submission.csv", index=False)
    path, saved = tmp_path / "output" / "submission.csv", tmp_path / "probs.npy"
    arguments = ["--input", str(tmp_path / "input"), "--output", str(path.parent), "--probs", str(saved), "--hours"]
    assert load_entry().main(spec_to_dict(spec), house.keys(), [*arguments, "20"]) == 0
    types = {column: np.float32 if isinstance(decision, ProbsDecision) else str for column in columns}
    answered = pd.read_csv(path, dtype={"id": str, **types})
    assert answered[["id", "Usage"]].equals(sample)
    pd.testing.assert_frame_equal(answered[columns], expected(decision, np.load(saved)))
    prior = np.asarray(spec.last.outputs.prior, dtype=np.float32)[None]
    assert load_entry().main(spec_to_dict(spec), house.keys(), [*arguments, "1e-6"]) == 1
    fallback = pd.read_csv(path, dtype={"id": str, **types})[columns]
    whole = pd.concat([expected(decision, prior)] * len(sample), ignore_index=True)
    pd.testing.assert_frame_equal(fallback, whole)


@pytest.mark.slow
@pytest.mark.parametrize(("decision", "columns"), CASES, ids=IDS)
def test_it_passes_the_rehearsal(house: House, tmp_path: Path, decision: Decision, columns: list[str]) -> None:
    write_spec(tmp_path / "small.yml", house.spec.with_last(decision=decision))
    with Keyring.editing(tmp_path / "keyring") as ring:
        build = build_kernel(tmp_path / "small.yml", house.code / "src", house.runs, tmp_path / "build", OWNER, ring)
    assert build.spec.table is not None and build.spec.table.columns == columns
    done = rehearse_build(build, None, tmp_path / "out", rows=12)
    assert done.ok, [check for check in done.checks if not check.ok]
