"""competitions.CompetitionApiService of the stand-in: code submissions by kernel version, scored."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from standin.errors import ApiError
from standin.faults import Fault
from standin.kernels import Kernels, paged
from standin.sessions import Competition
from standin.state import KernelVersion, Store, Submission

Body = dict[str, Any]


class Competitions:
    """The routes of competitions. A submission is scored after `scoring` questions."""

    def __init__(self, store: Store, competitions: dict[str, Competition], kernels: Kernels, daily: int,
                 scoring: int) -> None:
        self.store = store
        self.competitions = competitions
        self.kernels = kernels
        self.daily = daily
        self.scoring = scoring

    def create_code_submission(self, user: str, body: Body, fault: Fault | None) -> Body:
        """CreateCodeSubmission: the version must have ended well and have written the file."""
        name = body.get("competitionName", "")
        if name not in self.competitions:
            raise ApiError(404, "Competition not found")
        kernel, version = self.kernels.find({"userName": body.get("kernelOwner", ""), "versionLabel":
                                             str(body.get("kernelVersion", "")), "kernelSlug": body["kernelSlug"]})
        file = body.get("fileName", "")
        if version.session.status != "COMPLETE" or version.session.polls > 0 or file not in version.session.files:
            raise ApiError(400, f"Submission not allowed: the notebook version has no output file '{file}'")
        if self.left(name) <= 0:
            raise ApiError(400, "Submission not allowed: you have used all of today's submissions")
        made = Submission(ref=self.store.world.new_id(), competition=name, kernel=f"{kernel.owner}/{kernel.slug}",
                          version=version.number, file=file, description=body.get("submissionDescription", ""),
                          waiting=self.scoring)
        self.store.world.submissions.append(made)
        self.store.save()
        return {"message": "Successfully submitted to " + name, "ref": made.ref}

    def left(self, competition: str) -> int:
        """Submissions that are left today."""
        return self.daily - sum(one.competition == competition for one in self.store.world.submissions)

    def score(self, submission: Submission) -> None:
        """Score a pending submission, when its time has come: of a rerun where there is a hidden test set."""
        if submission.status != "PENDING":
            return
        submission.waiting -= 1
        if submission.waiting > 0:
            return
        competition = self.competitions[submission.competition]
        version = self.store.world.kernels[submission.kernel].versions[submission.version - 1]
        try:
            csv = self.scored_file(competition, version, submission)
            submission.score = None if competition.score is None else float(competition.score(csv))
            submission.status = "COMPLETE"
        except Exception as error:
            submission.status, submission.error = "ERROR", str(error)
        self.store.save()

    def scored_file(self, competition: Competition, version: KernelVersion, submission: Submission) -> Path:
        """The file that is scored. Raises ValueError with Kaggle's error class when the rerun fails."""
        folder = self.store.session_folder(version.session)
        if competition.hidden is not None:
            folder = folder / f"rerun-{submission.ref}"
            shutil.rmtree(folder, ignore_errors=True)
            outcome = self.kernels.runner(self.kernels.job(version, folder, rerun=True), lambda stream, data: None)
            if outcome.status != "COMPLETE":
                raise ValueError("Notebook Threw Exception")
        csv = folder / "output" / submission.file
        if not csv.is_file():
            raise ValueError("Submission CSV Not Found")
        return csv

    def get_submission(self, user: str, body: Body, fault: Fault | None) -> Body:
        """GetSubmission."""
        for one in self.store.world.submissions:
            if one.ref == body.get("ref"):
                self.score(one)
                return self.described(one)
        raise ApiError(404, "Submission not found")

    def list_submissions(self, user: str, body: Body, fault: Fault | None) -> Body:
        """ListSubmissions, newest first."""
        found = [one for one in self.store.world.submissions if one.competition == body.get("competitionName")]
        for one in found:
            self.score(one)
        page, token = paged([self.described(one) for one in reversed(found)], body)
        return {"submissions": page, "nextPageToken": token}

    def described(self, one: Submission) -> Body:
        """ApiSubmission."""
        answer: Body = {"ref": one.ref, "date": one.date, "description": one.description, "fileName": one.file,
                        "status": one.status, "submittedBy": one.kernel.partition("/")[0]}
        if one.score is not None:
            answer["publicScore"] = f"{one.score:.5f}"
        if one.error:
            answer["errorDescription"] = one.error
        return answer

    def get_submission_limits(self, user: str, body: Body, fault: Fault | None) -> Body:
        """GetSubmissionLimits."""
        left = self.left(body.get("competitionName", ""))
        return {"numToday": self.daily - left, "numTotal": len(self.store.world.submissions), "numAllowedNow": left}
