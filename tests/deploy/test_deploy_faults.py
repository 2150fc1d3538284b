"""Every call of a deploy goes wrong in every way: one kernel version, one dataset version, the right exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
from project import SUBMIT, Prepared, Site, change_weights, make_site, slow_but
from standin.client import Forker
from standin.faults import AFTER_KINDS, COMMON_KINDS, ROUTE_KINDS
from standin.server import Fault

# Failures that pass: the deploy tries again, or finds that the call had its effect.
PASSING = ("http-429", "http-500", "timeout-before", "slow", *AFTER_KINDS)
READS = ("GetKernel", "GetDataset", "GetDatasetStatus", "ListDatasetFiles", "GetAcceleratorQuotaStatistics",
         "GetKernelSessionStatus", "ListKernelSessionOutput", "ListSubmissions", "GetSubmission")
TRANSFERS = ("PUT", "GET")  # of bytes; tried again whatever happens
REFUSALS = {"http-400": 8, "http-401": 5, "http-403": 8, "http-409": 10, "http-413": 8}
ENDINGS = {"dropped-sources": 12, "dropped-models": 12, "changed-slug": 13, "stale-dataset": 0}


def expected_codes(kind: str, route: str) -> set[int]:
    """What the deploy may end with when one call of this route goes wrong once."""
    if kind in PASSING or route in TRANSFERS:
        return {0}
    if kind in ENDINGS:
        return {ENDINGS[kind]}
    if route == "CreateCodeSubmission" and kind != "http-401":
        return {8, 30}
    code = REFUSALS[kind]
    return {code, 0} if route in READS else {code}


def meet(site: Site, fault: Fault, route: str, words: tuple[str, ...] = ()) -> list[str]:
    """Deploy with the fault, then again without; what was not as it must be."""
    site.standin.faults.append(fault)
    first = site.deploy(*words)
    found = []
    if first.returncode not in expected_codes(fault.kind, route):
        found.append(f"exit code {first.returncode}, not {expected_codes(fault.kind, route)}: {first.stderr[-300:]}")
    if "Traceback" in first.stderr or (first.returncode and "error: " not in first.stderr):
        found.append(f"no clear message: {first.stderr[-300:]}")
    if len(site.versions()) > 1 or len(site.dataset_versions()) > 1:
        found.append(f"{len(site.versions())} kernel and {len(site.dataset_versions())} dataset versions at once")
    if first.returncode == 0:
        found += site.problems()
    site.standin.faults.clear()
    second = site.deploy(*words)
    if second.returncode != 0:
        found.append(f"the second deploy ended with {second.returncode}: {second.stderr[-300:]}")
    if len(site.standin.submissions) != bool(words):
        found.append(f"{len(site.standin.submissions)} submissions")
    return found + after_both(site, fault.kind)


def after_both(site: Site, kind: str) -> list[str]:
    """What must be there after the second deploy: a push that Kaggle took wrongly stays beside the right one."""
    if kind == "changed-slug":
        stray = [slug for slug in site.standin.kernels if slug.endswith("-2")]
        if len(stray) != 1:
            return [f"kernels {list(site.standin.kernels)}"]
        site.standin.kernels.pop(stray[0])
        return site.problems()
    return site.problems(kernels=2 if kind.startswith("dropped") else 1)


# Each change of state and the ways in which it most likely fails; some of them in every run of the tests.
KEPT = [("SaveKernel", "timeout-after"), ("SaveKernel", "dropped-sources"), ("CreateDataset", "http-500-after"),
        ("CreateCodeSubmission", "timeout-after")]
SAMPLE = [("SaveKernel", "timeout-after"), ("SaveKernel", "timeout-late"), ("SaveKernel", "truncated"),
          ("SaveKernel", "dropped-sources"), ("SaveKernel", "changed-slug"), ("SaveKernel", "http-400"),
          ("SaveKernel", "http-409"), ("CreateDataset", "timeout-after"), ("CreateDataset", "http-500-after"),
          ("CreateDataset", "http-413"), ("GetDataset", "http-401"), ("PUT", "timeout-before"),
          ("StartBlobUpload", "http-429"), ("CreateCodeSubmission", "timeout-after"), ("GET", "truncated"),
          ("ListKernelSessionOutput", "http-403")]


@pytest.mark.parametrize(("route", "kind"), slow_but(KEPT, SAMPLE))
def test_a_fault_at_a_call(site: Site, route: str, kind: str) -> None:
    words = SUBMIT if route in ("CreateCodeSubmission", "GET", "ListKernelSessionOutput") else ()
    assert meet(site, Fault(kind, route=route), route, words) == []
    assert any(one.fault == kind for one in site.standin.requests)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*(one for one in ROUTE_KINDS if ROUTE_KINDS[one] == "SaveKernel"), *AFTER_KINDS,
                                  *(one for one in COMMON_KINDS if one not in AFTER_KINDS)])
def test_every_fault_at_every_call(prepared: Prepared, forker: Forker, tmp_path: Path, kind: str) -> None:
    """The calls are those of a deploy without faults, one after the other."""
    clean = make_site(tmp_path / "clean", prepared, forker)
    with clean.standin:
        assert clean.deploy(*SUBMIT).returncode == 0
        routes = [one.route for one in clean.standin.requests]
        print(f"\n{kind}: {len(routes)} calls: {' '.join(routes)}")
    found = {}
    suffering = [(index, route) for index, route in enumerate(routes) if ROUTE_KINDS.get(kind, route) == route]
    assert suffering
    for index, route in suffering:
        site = make_site(tmp_path / str(index), prepared, forker)
        with site.standin:
            if problems := meet(site, Fault(kind, call=index), route, SUBMIT):
                found[f"{index} {route}"] = problems
                print(f"{index} {route}: {problems}")
    assert found == {}


LASTING = {"http-429": 9, "http-500": 9, "http-500-after": 0, "timeout-before": 9, "timeout-after": 0, "truncated": 0,
           "http-403": 8}


@pytest.mark.parametrize("kind", slow_but(["http-500"], LASTING))
def test_a_push_that_goes_wrong_again_and_again(site: Site, kind: str) -> None:
    """Without effect it is given up with its code and leaves nothing; with effect it is found and is enough."""
    site.standin.faults.append(Fault(kind, route="SaveKernel", times=1000))
    done = site.deploy()
    assert done.returncode == LASTING[kind], done.stdout + done.stderr
    assert len(site.versions()) == (LASTING[kind] == 0)
    site.standin.faults.clear()
    assert site.deploy().returncode == 0
    assert site.problems() == []


UNANSWERED = [(kind, again) for kind in ("timeout-after", "http-500-after", "truncated") for again in (False, True)]


@pytest.mark.parametrize(("kind", "again"), slow_but([("timeout-after", False)], UNANSWERED))
def test_an_unanswered_upload_that_is_processed_for_long(prepared: Prepared, forker: Forker, tmp_path: Path, kind: str,
                                                         again: bool) -> None:
    """Kaggle works on a large dataset for minutes and shows nothing of it: the deploy waits and sends nothing twice."""
    site = make_site(tmp_path, prepared, forker, processing=25)
    with site.standin:
        if again:  # an older version is there and stays current meanwhile
            assert site.deploy().returncode == 0
            change_weights(site, prepared)
        route = "CreateDatasetVersion" if again else "CreateDataset"
        site.standin.faults.append(Fault(kind, route=route))
        done = site.deploy()
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(site.dataset_versions()) == len(site.versions()) == 1 + again
        assert site.is_right(site.versions()[-1])


def test_a_stale_version_is_never_bound(site: Site, prepared: Prepared) -> None:
    """READY is said while the old version is still current: the push waits for the new one."""
    assert site.deploy().returncode == 0
    change_weights(site, prepared)
    site.standin.faults.append(Fault("stale-dataset"))
    done = site.deploy()
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(site.dataset_versions()) == 2 and site.is_right(site.versions()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("route", ["SaveKernel", "CreateDataset", "CreateCodeSubmission", "GetKernel"])
def test_a_server_that_answers_too_late(site: Site, route: str) -> None:
    """The client waits for ever; the deploy does not, and still sends nothing twice that takes effect in the end."""
    site.standin.faults.append(Fault("slow", route=route, seconds=5.0))
    done = site.deploy(*SUBMIT, "--timeout", "2", "--poll", "0.8")
    assert done.returncode == 0, done.stdout + done.stderr
    assert site.standin.faults[0].met == 1
    assert site.problems() == [] and len(site.standin.submissions) == 1
