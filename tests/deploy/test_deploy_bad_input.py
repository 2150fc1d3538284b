"""What stops a deploy before anything is pushed: one clear message, its own exit code, nothing at Kaggle."""

from __future__ import annotations

import fcntl
import shutil
import time
from pathlib import Path

import pytest
from project import KERNEL, NAME, WEIGHTS, Prepared, Site, change_weights, make_site, slow_but
from standin.client import Forker
from standin.server import CannedRunner, Fault
from standin.sessions import Outcome
from standin.state import Kernel

CHANGES = ("SaveKernel", "CreateDataset", "CreateDatasetVersion", "StartBlobUpload", "PUT", "CreateCodeSubmission")


def refused(site: Site, code: int, *words: str, options: tuple[str, ...] = ()) -> str:
    """Deploy; it must end with this code, say these words in an error, and change nothing at Kaggle."""
    done = site.deploy(*options)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said and "error:" in done.stderr
    for word in words:
        assert word in said, said
    assert not [one.route for one in site.standin.requests if one.route in CHANGES]
    return said


def test_no_credentials(site: Site) -> None:
    site.credentials = "none"
    refused(site, 5, "credentials")
    assert site.standin.requests == []


def test_credentials_that_others_may_read(site: Site) -> None:
    site.environment()
    site.mode = 0o644
    refused(site, 5, "others can read", "chmod 600")
    assert site.standin.requests == []


def test_a_key_that_kaggle_does_not_take(site: Site) -> None:
    site.credentials = "none"
    site.changes = {"KAGGLE_USERNAME": "someone", "KAGGLE_KEY": "0" * 32}
    refused(site, 5, "credentials")


def test_another_owner(site: Site) -> None:
    refused(site, 6, "another", options=("--owner", "another"))


def test_a_slug_that_another_kernel_has(site: Site) -> None:
    """A notebook of the same name that no deploy of ours has made: it is not overwritten."""
    assert site.deploy().returncode == 0
    kernel = site.standin.kernels[KERNEL]
    (site.standin.store.folder / "sources" / kernel.versions[0].source).write_text("print('mine')\n")
    site.standin.requests.clear()
    shutil.rmtree(site.build)
    done = site.deploy()
    assert done.returncode == 10, done.stdout + done.stderr
    assert len(kernel.versions) == 1


@pytest.mark.slow
def test_a_title_that_another_kernel_has(site: Site) -> None:
    """Kaggle names a kernel by its title: a moved kernel keeps the title, and the push gets 409."""
    site.standin.faults.append(Fault("http-409", route="SaveKernel", times=1000))
    done = site.deploy()
    assert done.returncode == 10 and "taken" in done.stderr, done.stdout + done.stderr
    assert site.standin.kernels == {}


def test_runs_that_are_gone(site: Site, tmp_path: Path) -> None:
    site.house = site.house.__class__(**{**vars(site.house), "runs": tmp_path / "nowhere"})
    refused(site, 16, "tiny_resnet")


def test_weights_that_changed(site: Site, tmp_path: Path) -> None:
    runs = site.house.copy_runs(tmp_path)
    (path,) = (runs / "tiny_resnet").rglob("*0*.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    site.house = site.house.__class__(**{**vars(site.house), "runs": runs})
    refused(site, 16, "changed")


def test_no_network(site: Site) -> None:
    """Nobody listens at the proxy."""
    site.changes = dict.fromkeys(("HTTP_PROXY", "http_proxy"), "http://127.0.0.1:9")
    refused(site, 7, "reach")


@pytest.mark.slow
def test_an_unreachable_server(site: Site) -> None:
    with site.standin.unreachable():
        done = site.deploy()
    assert done.returncode in (7, 9), done.stdout + done.stderr
    assert site.standin.kernels == {} and site.deploy().returncode == 0 and site.problems() == []


@pytest.mark.slow
def test_a_public_keys_dataset(prepared: Prepared, site: Site) -> None:
    """Keys that everybody can read are not uploaded to, whatever is asked for."""
    change_weights(site, prepared, keys="dataset")
    done = site.deploy("--public-weights")
    assert done.returncode == 0, done.stdout + done.stderr
    keys = next(slug for slug in site.standin.datasets if slug.endswith("-keys"))
    assert site.standin.datasets[keys].private and not site.standin.datasets[WEIGHTS].private
    site.standin.datasets[keys].private = False
    change_weights(site, prepared, fold=0, keys="dataset")
    before = len(site.standin.datasets[keys].versions)
    done = site.deploy()
    assert done.returncode == 11 and "public" in done.stderr, done.stdout + done.stderr
    assert len(site.standin.datasets[keys].versions) == before


ENDINGS = {"error": (Outcome("ERROR", "Your notebook ended with exit code 1.", log=["CUDA out of memory\n"]), 20),
           "cancelled": (Outcome("CANCEL_ACKNOWLEDGED", log=["stopped\n"]), 21),
           "no submission": (Outcome("COMPLETE", files={"other.csv": b"a\n"}), 24),
           "a wrong submission": (Outcome("COMPLETE", files={"submission.csv": b"id,label\n1,cat\n"}), 24),
           "patience": (Outcome("COMPLETE", polls=4), 0)}


@pytest.mark.parametrize("name", slow_but(["error"], ENDINGS))
def test_how_a_session_ends(prepared: Prepared, forker: Forker, tmp_path: Path, name: str) -> None:
    outcome, code = ENDINGS[name]
    if code == 0:
        outcome.files = {"submission.csv": (prepared.house.data / "sample_submission.csv").read_bytes()}
    site = make_site(tmp_path, prepared, forker, runner=CannedRunner(outcome))
    with site.standin:
        done = site.deploy("--wait", "--submit", "-m", "x")
        assert done.returncode == code, done.stdout + done.stderr
        assert len(site.standin.submissions) == (code == 0) and len(site.versions()) == 1
        again = site.deploy("--wait")
        assert again.returncode == code and len(site.versions()) == 1, again.stdout + again.stderr


@pytest.mark.slow
def test_a_submission_that_is_refused(site: Site) -> None:
    site.standin._competitions.daily = 0
    done = site.deploy("--wait", "--submit", "-m", "x")
    assert done.returncode == 30 and "today" in done.stderr, done.stdout + done.stderr


@pytest.mark.slow
def test_a_submission_that_cannot_be_scored(prepared: Prepared, forker: Forker, tmp_path: Path) -> None:
    site = make_site(tmp_path, prepared, forker)
    with site.standin:
        def fail(csv: Path) -> float:
            raise ValueError("Submission Scoring Error")
        slug = site.competition
        site.standin.competitions[slug] = site.standin.competitions[slug].__class__(prepared.house.data, fail)
        done = site.deploy("--wait", "--submit", "-m", "x")
        assert done.returncode == 31 and "Scoring Error" in done.stderr, done.stdout + done.stderr


@pytest.mark.slow
def test_no_gpu_hours_are_left(site: Site) -> None:
    site.standin.store.world.gpu_seconds = 30 * 3600
    done = site.deploy("--images", "3000000")
    assert done.returncode == 0 and "0.0 of this week's 30 GPU hours are left" in done.stdout + done.stderr, done


@pytest.mark.slow
def test_two_sessions_are_running(prepared: Prepared, forker: Forker, tmp_path: Path) -> None:
    site = make_site(tmp_path, prepared, forker)
    with site.standin:
        for name in ("one", "two"):
            kernel = Kernel(id=1, owner="someone", slug=name, title=name)
            site.standin.kernels[f"someone/{name}"] = kernel
            body = {"slug": f"someone/{name}", "newTitle": name, "text": "", "enableGpu": True}
            site.standin.runner = site.standin._kernels.runner = CannedRunner(Outcome("RUNNING"))
            site.standin._kernels.save_kernel("someone", body, None)
        done = site.deploy()
        assert done.returncode == 23 and "session" in done.stderr, done.stdout + done.stderr
        assert KERNEL not in site.standin.kernels or not site.versions()


@pytest.mark.slow
def test_two_deploys_at_once(site: Site) -> None:
    """The second waits a little, then says who is in the way; when the first ends in time it finds all done."""
    with Forker(()) as other:
        site.standin.faults.append(Fault("slow", route="SaveKernel", seconds=1.0))
        first = Site(**{**vars(site), "forker": other}).start()
        while not site.standin.calls("SaveKernel"):
            time.sleep(0.01)
        second = site.deploy()
        assert first.wait().returncode == 0 and second.returncode == 0, second.stdout + second.stderr
    assert len(site.standin.calls("SaveKernel")) == 1 and site.problems() == []


@pytest.mark.slow
def test_a_deploy_while_another_runs_on(site: Site) -> None:
    with open(site.folder / "build" / f"{NAME}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        refused(site, 17, f"another deploy of '{NAME}' is running")
    assert site.standin.requests == []
