"""The whole journey: train, search, deploy, the kernel runs on the stand-in, its output is scored."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from project import (
    KERNEL,
    KEYS,
    NAME,
    SUBMIT,
    WEIGHTS,
    Prepared,
    Site,
    accuracy_score,
    change_weights,
    make_site,
    prepare,
)
from standin.client import Forker
from standin.server import SandboxRunner

CHANGES = ("SaveKernel", "CreateDataset", "CreateDatasetVersion", "StartBlobUpload", "PUT", "CreateCodeSubmission")


def changing_calls(site: Site) -> list[str]:
    """The calls that change something at Kaggle."""
    return [one.route for one in site.standin.requests if one.route in CHANGES]


def test_from_training_to_a_score(prepared: Prepared, forker: Forker, tmp_path: Path) -> None:
    """Train and search are behind `prepared`; the pushed kernel really runs, and its file is really scored."""
    site = make_site(tmp_path, prepared, forker, runner=SandboxRunner())
    with site.standin:
        done = site.deploy("--wait", "--submit", "-m", "first")
        assert done.returncode == 0, done.stdout + done.stderr
        assert site.problems() == []
        fetched = list(site.build.rglob("submission.csv"))
        assert len(fetched) == 1
        assert len(pd.read_csv(fetched[0])) == len(pd.read_csv(prepared.house.answers))
        (submission,) = site.standin.submissions
        score = accuracy_score(prepared.house.answers)(fetched[0])
        assert submission.kernel == KERNEL and submission.version == 1 and submission.status == "COMPLETE"
        assert submission.score == score > 0.2 and submission.description.startswith("first")
        history = yaml.safe_load(site.ensemble.read_text())["history"]
        assert len(history) == 1 and abs(history[0]["public_score"] - score) < 1e-5 and history[0]["version"] == 1
        assert site.journal()["submission"]["state"] == "scored"

        calls = changing_calls(site)
        again = site.deploy("--wait", "--submit", "-m", "first")
        assert again.returncode == 0, again.stdout + again.stderr
        assert changing_calls(site) == calls and site.problems() == [] and len(site.standin.submissions) == 1


@pytest.mark.slow
def test_the_default_journey_with_its_rehearsal_and_a_hidden_test_set(prepared: Prepared, forker: Forker,
                                                                      tmp_path: Path) -> None:
    """Nothing left out: rehearsed here, run there on the public files, run again on the hidden ones."""
    hidden = prepared.house.copy_data(tmp_path / "hidden")
    site = make_site(tmp_path / "site", prepared, forker, runner=SandboxRunner())
    shown = site.standin.competitions[site.competition]
    site.standin.competitions[site.competition] = replace(shown, hidden=hidden)
    site.options = []
    with site.standin:
        done = site.deploy(*SUBMIT)
        assert done.returncode == 0, done.stdout + done.stderr
        assert site.problems() == [] and site.standin.submissions[0].status == "COMPLETE"
        assert site.journal()["rehearsed"]


@pytest.mark.slow
def test_a_whole_ensemble_with_its_keys_apart(prepared: Prepared, forker: Forker, tmp_path: Path) -> None:
    """Two nets of two folds; the keys come from a second private dataset, and the script holds none."""
    spec = prepared.house.spec.model_copy(update={"keys": "dataset"})
    whole = prepare(tmp_path / "prepared", prepared.house, spec, prepared.code)
    site = make_site(tmp_path / "site", whole, forker, runner=SandboxRunner())
    with site.standin:
        done = site.deploy(*SUBMIT)
        assert done.returncode == 0, done.stdout + done.stderr
        assert {slug: len(one.versions) for slug, one in site.standin.datasets.items()} == {WEIGHTS: 1, KEYS: 1}
        assert site.standin.datasets[KEYS].private and site.is_right(site.versions()[0])
        assert "KEYS: dict[str, str] = {}" in site.standin.source(site.versions()[0])
        assert site.standin.submissions[0].status == "COMPLETE"


@pytest.mark.slow
def test_kaggle_may_say_404_of_what_is_missing(prepared: Prepared, forker: Forker, tmp_path: Path) -> None:
    site = make_site(tmp_path, prepared, forker, missing=404)
    with site.standin:
        assert site.deploy(*SUBMIT).returncode == 0
        assert site.problems() == []


@pytest.mark.slow
def test_a_second_deploy_writes_nothing(site: Site) -> None:
    assert site.deploy().returncode == 0
    assert site.problems() == []
    files = {one: one.stat().st_mtime_ns for one in [site.build / "deploy.json", site.ensemble]}
    calls = changing_calls(site)
    done = site.deploy()
    assert done.returncode == 0, done.stdout + done.stderr
    assert changing_calls(site) == calls
    assert files == {one: one.stat().st_mtime_ns for one in files}


@pytest.mark.slow
def test_a_lost_build_folder_uploads_and_pushes_nothing_twice(site: Site) -> None:
    """What Kaggle has is read back when the journal is gone (the sealed weights and the keyring remain)."""
    assert site.deploy().returncode == 0
    shutil.rmtree(site.build)
    done = site.deploy()
    assert done.returncode == 0, done.stdout + done.stderr
    assert site.problems() == []


@pytest.mark.slow
def test_other_weights_make_a_version_of_each(site: Site, prepared: Prepared) -> None:
    assert site.deploy().returncode == 0
    change_weights(site, prepared)
    done = site.deploy()
    assert done.returncode == 0, done.stdout + done.stderr
    assert [len(site.versions()), len(site.dataset_versions())] == [2, 2]
    assert site.versions()[1].datasets == {WEIGHTS: 2} and site.is_right(site.versions()[1])


def test_a_dry_run_prints_the_request_that_is_sent_later(site: Site) -> None:
    dry = site.deploy("--dry-run")
    assert dry.returncode == 0, dry.stdout + dry.stderr
    assert site.standin.requests == []
    printed = json.loads(dry.stdout.rpartition("request:")[2])
    assert site.deploy().returncode == 0
    (push,) = site.standin.calls("SaveKernel")
    sent = dict(push.body)
    assert sent.pop("text") == (site.build / f"{NAME}.py").read_text(encoding="utf-8")
    assert printed == sent
    assert sent["isPrivate"] is True and sent.get("enableInternet", False) is False
