"""Values and retrieval walk the whole way: images, training, OOF, search, deploy, kernel, rehearsal."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from retrieving import as_member
from small_house import OWNER, PROJECT, load_entry, only, tiny_config

from foldpack.commands.recipe import make_recipe_folds
from foldpack.competitions.adapters import get_competition
from foldpack.competitions.digits_source import digits_score, write_digits
from foldpack.data.answers import Answers
from foldpack.data.rows import Rows
from foldpack.data.runs import gallery_path, read_run
from foldpack.ensemble.answers import answers_of
from foldpack.ensemble.blend import blend_probs
from foldpack.errors import DataError
from foldpack.keyring.keyring import Keyring
from foldpack.metrics.ranking import map_at_k
from foldpack.metrics.regression import rmse
from foldpack.search.level2.fit import Level2Options
from foldpack.search.run_rows import run_reader_of
from foldpack.search.runs import RunSearch, search_runs
from foldpack.settings.ensemble import EnsembleSpec, read_spec, spec_to_dict, write_spec
from foldpack.settings.outputs import Vectors
from foldpack.settings.recipe import FoldsConfig, RecipeConfig
from foldpack.settings.retrieve import Neighbours
from foldpack.settings.stages import RankingDecision, ValuesDecision
from foldpack.train.run import train_run
from packer.build.kernel_folder import Build, build_kernel
from packer.build.stage import StageError
from packer.rehearse.process import lay_out_inputs, rehearse

COUNT = 240  # digits: 192 to train on, 48 to predict
ASKED: dict[str, dict] = {
    "digits-values": {"task": "regress", "loss": {"name": "smooth_l1"}, "metric": "rmse", "range": [0, 9]},
    "digits-retrieval": {"task": "embed", "loss": {"name": "arcface", "scale": 16.0, "lr": 0.05}, "metric": "map5",
                         "embed": {"dim": 16, "neighbours": 2}},
}
SECOND: dict[str, dict] = {  # what is different in the second run
    "digits-values": {"loss": {"name": "cross_entropy"}, "net": {"arch": "test_resnet", "size": 32, "bins": 10}},
    "digits-retrieval": {},
}
KINDS = {"digits-values": "shuffled", "digits-retrieval": "stratified"}


@dataclass(frozen=True)
class Place:
    """One digits competition with two runs and their ensemble."""

    name: str
    root: Path
    data: Path
    runs: Path
    spec: EnsembleSpec
    ensemble: Path

    def build(self, folder: Path, spec: EnsembleSpec | None = None) -> tuple[Build, dict[str, str]]:
        """A packed kernel and the keys of its sealed files."""
        yaml = self.ensemble
        if spec is not None:
            yaml = folder / "other.yml"
            write_spec(yaml, spec)
        with Keyring.editing(folder / "keyring") as ring:
            build = build_kernel(yaml, PROJECT / "src", self.runs, folder / "build", OWNER, ring)
            files = [str(part) for member in build.spec.members for fold in member.folds
                     for part in (fold.file, fold.gallery.file if fold.gallery is not None else None) if part]
            return build, {name: bytes(ring.data_key(name.removesuffix(".sealed"))).hex() for name in files}


@pytest.fixture(scope="module", params=list(ASKED))
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Two tiny runs of a competition, searched."""
    name, root = request.param, tmp_path_factory.mktemp(request.param)
    data, runs = root / "data", root / "runs"
    write_digits(data, root / "answers.csv", COUNT, name)
    folds = RecipeConfig(name="f", competition=name, folds=FoldsConfig(kind=KINDS[name], count=2), runs=["-"])
    make_recipe_folds(folds, data, root / "folds.csv", lambda text: None)
    for run, seed in (("first", 1), ("second", 2)):
        views = ["identity"] if run == "first" else ["identity", "shift:0.05:0"]
        asked = ASKED[name] if run == "first" else ASKED[name] | SECOND[name]
        config = tiny_config(run, competition=name, epochs=3, seed=seed, views=views, **asked)
        train_run(config, data, root / "folds.csv", runs, lambda text: None)
    spec, _ = search_runs(name, [runs / "first", runs / "second"], RunSearch(hours=20.0))
    ensemble = root / f"{name}.yml"
    write_spec(ensemble, spec)
    return Place(name, root, data, runs, read_spec(ensemble), ensemble)


def truth_of(place: Place) -> list[str]:
    """The labels of the training items, in the order of the runs' rows."""
    table = pd.read_csv(place.data / "train.csv", dtype=str).set_index("id")["label"]
    return [table[item] for item in read_run(place.runs / "first").ids]


def oof_answers(place: Place) -> tuple[np.ndarray, Answers]:
    """The blend of the out-of-fold predictions as the YAML says, and what it answers."""
    stage, runs = place.spec.last, [read_run(place.runs / member.run) for member in place.spec.members]
    members = [run_reader_of(as_member(run, stage))(slice(None)) for run in runs]
    blended = blend_probs(members, [member.weight for member in stage.members], stage.fuse, stage.outputs.exclusive)
    column = "value" if stage.task == "regress" else "probs"
    return blended, answers_of(Rows({column: blended}), stage.decision, stage.outputs)


def score_of(place: Place, answers: Answers) -> float:
    """The score of answers to the training items."""
    truth = truth_of(place)
    if answers.numbers is not None:
        return rmse(np.array(truth, dtype=float), answers.numbers[:, 0])
    assert answers.names is not None
    names = place.spec.last.outputs.names
    ranked = np.array([[names.index(word) for word in words] for words in answers.names])
    return map_at_k(np.array([names.index(word) for word in truth]), ranked, 5)


def test_the_yaml_makes_the_score_that_it_claims(place: Place) -> None:
    """Answers as the kernel gives them, scored: both sides of the file mean the same."""
    blended, answers = oof_answers(place)
    assert score_of(place, answers) == pytest.approx(place.spec.metric.oof, abs=1e-5)
    constant = {"digits-values": 2.9, "digits-retrieval": 0.3}[place.name]  # of one answer for all
    better = place.spec.metric.oof < constant if place.name == "digits-values" else place.spec.metric.oof > constant
    assert better and place.spec.last.task == ASKED[place.name]["task"] and np.isfinite(blended).all()
    if place.name == "digits-values":
        decision = place.spec.last.decision
        assert isinstance(decision, ValuesDecision) and decision.range == [0, 9]
        assert answers.numbers is not None and answers.numbers.min() >= 0 and answers.numbers.max() <= 9
    if place.name == "digits-retrieval":
        stage = place.spec.last
        assert isinstance(stage.outputs, Vectors) and stage.outputs.none and stage.outputs.names[-1] == "new"
        assert isinstance(stage.fuse, Neighbours) and stage.fuse.neighbours == 2
        assert isinstance(stage.decision, RankingDecision) and stage.decision.k == 5
        assert stage.decision.none_score is not None


def test_level_two_is_refused_before_the_search(place: Place) -> None:
    kind = {"digits-values": "values", "digits-retrieval": "vectors"}[place.name]
    with pytest.raises(DataError, match=f"run 'first': it predicts {kind}, and level 2 chooses among classes; leave"):
        search_runs(place.name, [place.runs / "first"], RunSearch(level2=Level2Options()))


def test_a_kernel_gives_the_out_of_fold_numbers_of_its_fold(place: Place, tmp_path: Path) -> None:
    """One member, one fold, all its views, on the training images of that fold: to 1e-5."""
    fold, run = 1, read_run(place.runs / place.spec.members[-1].run)
    assert run.meta.run == "second"  # of values the one with bins
    inside = run.fold == fold
    build, keys = place.build(tmp_path, only(place.spec, run.meta.run, fold).with_last(plan=None))
    asked = tmp_path / "input" / place.spec.slug
    (asked / "test").mkdir(parents=True)
    ids = [item for item, here in zip(run.ids, inside, strict=True) if here]
    for item in ids:
        (asked / "test" / f"{item}.png").write_bytes((place.data / "train" / f"{item}.png").read_bytes())
    pd.DataFrame({"id": ids, "label": "0"}).to_csv(asked / "sample_submission.csv", index=False)
    shutil.copytree(build.weights, tmp_path / "input" / "weights")
    arguments = ["--input", str(tmp_path / "input"), "--output", str(tmp_path / "output"), "--hours", "20",
                 "--probs", str(tmp_path / "probs.npy")]
    assert load_entry().main(spec_to_dict(build.spec), keys, arguments) == 0
    stage = build.spec.last
    expected = run_reader_of(as_member(run, stage))(inside)
    expected = blend_probs([expected], [1.0], stage.fuse, stage.outputs.exclusive)
    assert np.abs(np.load(tmp_path / "probs.npy") - expected).max() <= 1e-5
    get_competition(place.name).check(tmp_path / "output" / "submission.csv", stage, asked)


def test_the_whole_ensemble_is_rehearsed(place: Place, tmp_path: Path) -> None:
    """As Kaggle would run it: only what the task needs is packed, and the answers are valid and better than a guess."""
    build, keys = place.build(tmp_path)
    assert len(keys) == len(build.spec.members) * 2 * (2 if place.name == "digits-retrieval" else 1)
    weights = {build.dataset: build.weights}
    done = rehearse(build.script, tmp_path, lay_out_inputs(tmp_path, (place.spec.slug, place.data), weights))
    get_competition(place.name).check(done.submission, build.spec.last, place.data)
    metric, score = digits_score(done.submission, place.root / "answers.csv", place.name)
    assert score < 2.9 if metric == "rmse" else score > 0.3
    assert not any(key in done.log for key in keys.values())


def test_a_gallery_is_bound_to_its_checkpoint(place: Place, tmp_path: Path) -> None:
    """What was swapped or changed is refused by name: at the deploy, and in the kernel."""
    if place.name != "digits-retrieval":
        return  # values have no gallery: `test_the_whole_ensemble_is_rehearsed` counts the sealed files
    run = place.spec.members[0].run
    runs = Path(shutil.copytree(place.runs, tmp_path / "runs"))
    shutil.copy(gallery_path(runs / run, 1), gallery_path(runs / run, 0))
    changed = replace(place, runs=runs)
    with pytest.raises(StageError, match="fold0.gallery.safetensors: the gallery changed since the search"):
        changed.build(tmp_path)
    gallery_path(runs / run, 0).unlink()
    with pytest.raises(StageError, match="fold0.gallery.safetensors: the gallery of fold 0 is missing"):
        changed.build(tmp_path)
    build, keys = place.build(tmp_path, only(place.spec, run, 0).with_last(plan=None))
    [fold] = build.spec.members[0].folds
    assert fold.gallery is not None
    shutil.copytree(place.data, tmp_path / "input" / place.spec.slug)
    weights = Path(shutil.copytree(build.weights, tmp_path / "input" / "weights"))
    (weights / str(fold.gallery.file)).unlink()
    arguments = ["--input", str(tmp_path / "input"), "--output", str(tmp_path / "output"), "--hours", "20"]
    assert load_entry().main(spec_to_dict(build.spec), keys, arguments) == 2
    log = (tmp_path / "output" / "foldpack_log.jsonl").read_text()
    assert f"{run}/fold0/gallery" in log
    get_competition(place.name).check(tmp_path / "output" / "submission.csv", build.spec.last, place.data)
