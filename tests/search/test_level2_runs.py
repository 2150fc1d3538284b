"""Level 2 on runs: from out-of-fold predictions to the YAML, and back through what the kernel does with it."""

from functools import partial

import numpy as np
import pytest
from test_search_runs import CLASSES, write_run
from view_arrays import rows_of_array

from foldpack.data.rows import Rows
from foldpack.data.runs import read_meta, read_run, write_meta, write_oof
from foldpack.engine.units import plan_units
from foldpack.ensemble.answers import answers_of
from foldpack.ensemble.level2 import BoosterFuser
from foldpack.ensemble.score_fuser import ScoreFuser
from foldpack.ensemble.view_merge import merge_view_probs
from foldpack.errors import DataError
from foldpack.metrics.registry import get_metric
from foldpack.search.cells.compact import compact_cells
from foldpack.search.decide.decision import LabelRule
from foldpack.search.files.blend_files import blend_files
from foldpack.search.find import SearchOptions, find_ensemble
from foldpack.search.level2.fit import Level2Options, fit_level2, gather_candidates
from foldpack.search.report.report import report_html, report_lines
from foldpack.search.run_rows import run_cells, run_stream
from foldpack.search.runs import RunSearch, run_level2, run_options, run_spec, search_runs
from foldpack.settings.ensemble import read_spec, write_spec

N, C = 640, len(CLASSES)
SMALL = {"lightgbm": {"num_leaves": 7, "learning_rate": 0.2}, "xgboost": {"max_depth": 3, "eta": 0.3}}
FAST = Level2Options(settings=SMALL)


def specialists(folder, task, seed=0):
    """Two runs, each good at half of the classes and loud at the others."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, C, N) if task == "multiclass" else rng.random((N, C)) < 0.3
    truth = targets[:, None] == np.arange(C) if task == "multiclass" else targets
    logits = {}
    for name, good in (("low", np.arange(C) < C // 2), ("high", np.arange(C) >= C // 2)):
        write_run(folder, name, task, targets, 1.0, 0)
        scores = np.where(good, 5.0, 0.6) * (truth - 0.5) + rng.normal(0, 1, (2, N, C)) * np.where(good, 1.0, 2.5)
        logits[name] = scores.astype(np.float16)
        replace_oof(folder / name, logits[name])
    return targets, logits


def replace_oof(folder, logits):
    digest = write_oof(folder / "oof", rows_of_array(logits), "float16")
    write_meta(folder, read_meta(folder).model_copy(update={"oof_sha256": digest}))


def search(folder, **more):
    target = folder / "ensembles" / "best.yml"
    asked = RunSearch(**{"level2": FAST, "boosters": target.with_suffix(""),
                         "options": SearchOptions(spaces=["probability"])} | more)
    spec, numbers = search_runs("best", [folder / "low", folder / "high"], asked)
    write_spec(target, spec)
    return target, read_spec(target), numbers


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_the_kernels_level_two_gives_the_nested_score_in_the_yaml(tmp_path, task):
    targets, logits = specialists(tmp_path, task)
    target, spec, numbers = search(tmp_path)
    assert numbers["level2"]["believed"] and spec.last.level2[0].gain > spec.last.level2[0].gain_se
    assert {one.fold for one in spec.boosters} == {0, 1, 2, 3} and len(spec.boosters) == 8
    assert {path.name for path in target.with_suffix("").iterdir()} == {one.file for one in spec.boosters}
    assert "it is used" in report_lines(numbers)[-1] and "What level 2 looks at" in report_html(numbers)
    folds, answers = np.arange(N) % 4, np.zeros((N, C), dtype=np.float32)
    for fold in range(4):  # as the kernel would on the items of one fold, with the boosters that never saw them
        own = [one for one in spec.boosters if one.fold == fold]
        part = spec.last.model_copy(update={"level2": [spec.last.level2[0].model_copy(update={"boosters": own})]})
        texts = [(target.with_suffix("") / one.file).read_text() for one in own]
        fuser = BoosterFuser(part, ScoreFuser(part, int((folds == fold).sum())), texts)
        of_run = {unit.member.run: unit for unit in plan_units(part)}
        for run in ("low", "high"):
            fuser.add(of_run[run], Rows({"probs": merge_view_probs(logits[run][:, folds == fold], task)}))
        answers[folds == fold] = fuser.better(1000.0, last=True)[0].columns["probs"]
    decision = spec.last.level2[0].decision or spec.last.decision
    said = answers_of(Rows({"probs": answers}), decision, spec.last.outputs).names or []
    cells = [" ".join(words) for words in said]
    level2 = spec.last.level2[0]
    if task == "multiclass":
        right = np.array(cells) == np.array(CLASSES)[targets]
        assert np.mean([right[folds == k].mean() for k in range(4)]) == pytest.approx(level2.nested, abs=1e-6)
        assert right.mean() == pytest.approx(level2.oof, abs=1e-6)
    else:
        decided = np.array([[name in cell.split() for name in CLASSES] for cell in cells])
        assert get_metric("f2")(targets, decided) == pytest.approx(level2.oof, abs=1e-6)
        assert level2.nested == pytest.approx(level2.oof, abs=0.02)


def test_other_predictions_get_level_two_too(tmp_path):
    targets, logits = specialists(tmp_path, "multiclass")
    target, spec, numbers = search(tmp_path)
    paths = []
    for member in spec.members:
        paths.append(tmp_path / f"{member.run}.npy")
        np.save(paths[-1], merge_view_probs(logits[member.run], "multiclass"))
    blend_files(target, paths, tmp_path / "out.npy")
    assert np.mean(np.load(tmp_path / "out.npy").argmax(axis=1) == targets) > numbers["scores"]["in_sample"]


def test_without_a_gain_the_blend_stands_and_old_boosters_are_removed(tmp_path):
    specialists(tmp_path, "multiclass")
    target, spec, _ = search(tmp_path)
    assert spec.last.level2 and list(target.with_suffix("").iterdir())
    (target.with_suffix("") / "notes.txt").write_text("mine")
    _, spec, _ = search(tmp_path, level2=None)
    assert not spec.last.level2
    assert [path.name for path in target.with_suffix("").iterdir()] == ["notes.txt"]
    targets = np.random.default_rng(1).integers(0, C, N)
    for k, name in enumerate(("low", "high")):  # two runs that agree and are well calibrated: nothing to learn
        rng = np.random.default_rng([5, k])
        clear = 2.0 * (targets[:, None] == np.arange(C)) + np.random.default_rng(5).normal(0, 1, (2, N, C))
        write_run(tmp_path / "plain", name, "multiclass", targets, 1.0, 0)
        replace_oof(tmp_path / "plain" / name, (clear + 0.01 * rng.normal(size=clear.shape)).astype(np.float16))
    _, spec, numbers = search(tmp_path / "plain")
    assert not spec.last.level2 and not numbers["level2"]["believed"]
    assert "the blend stands" in report_lines(numbers)[-1]


def test_a_compact_store_gives_the_same_table(tmp_path):
    """It is made from rows of the runs, not from what the store kept; the blend beside it scores the same."""
    specialists(tmp_path, "multilabel")
    runs, f2 = [read_run(tmp_path / name) for name in ("low", "high")], get_metric("f2")
    whole = run_cells(runs)
    small = compact_cells([run_stream(run) for run in runs], np.asarray(runs[0].targets), C, store_bytes=28_000)
    assert not small.full
    asked = RunSearch(options=SearchOptions(spaces=["logit"]))
    found = find_ensemble(whole, f2, np.arange(N) % 4, run_options(runs, asked))
    spec = run_spec("best", runs, found, asked)
    sources = [run_level2(runs, cells, found, spec) for cells in (whole, small)]
    tables = [gather_candidates(one.members, one.blend, one.prior, N, FAST) for one in sources]
    assert (tables[0].features == tables[1].features).all() and (tables[0].label == tables[1].label).all()
    fits = [fit_level2(table, one.cells, np.arange(N) % 4, f2, options=FAST)
            for table, one in zip(tables, sources, strict=True)]
    assert fits[0].per_fold == pytest.approx(fits[1].per_fold)
    assert fits[0].blend_per_fold == pytest.approx(fits[1].blend_per_fold, abs=0.01)


def test_a_gain_over_a_blend_that_is_not_fully_known_is_not_believed(tmp_path, monkeypatch):
    """A store that cannot hold what the threshold selects makes the blend look worse than it is."""
    specialists(tmp_path, "multilabel")
    monkeypatch.setattr("foldpack.search.run_rows.compact_cells", partial(compact_cells, store_bytes=15_000))
    _, spec, numbers = search(tmp_path)
    assert not spec.last.level2 and numbers["level2"]["gain"] > numbers["level2"]["gain_se"]
    assert any("level 2 is not believed: only probabilities above" in note for note in numbers["notes"])


def test_ctrl_c_during_level_two_leaves_the_blend(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    specialists(tmp_path, "multiclass")
    monkeypatch.setattr("foldpack.search.level2.step.gather_candidates", interrupted)
    _, spec, numbers = search(tmp_path)
    assert not spec.last.level2 and "level 2 was interrupted: the blend stands" in numbers["notes"]


def test_more_labels_than_candidates_are_refused(tmp_path):
    specialists(tmp_path, "multilabel")
    with pytest.raises(DataError, match="level 2 looks at 3 classes of each member: too few for 4 labels"):
        search(tmp_path, options=SearchOptions(rule=LabelRule(4), spaces=["probability"]))
