"""Submit one kernel version to its competition, once, and wait for its score."""

from __future__ import annotations

import re
from collections.abc import Callable

from packer.kaggle.client import Answer, CallError, KaggleClient
from packer.kaggle.exits import DeployError, Exit
from packer.kaggle.hints import with_hints
from packer.kaggle.journal import Journal, SubmissionEntry
from packer.kaggle.session import Version

FILE = "submission.csv"
SCORE_LOOKS = 720  # until a score is there: about 12 hours at the default pace, a rerun takes as long as the kernel
Say = Callable[[str], None]


class Submitter:
    """One kernel version, its competition, and the mark by which its submission is known again."""

    def __init__(self, client: KaggleClient, version: Version, competition: str, pack_id: str, say: Say) -> None:
        self.client, self.version, self.competition, self.say = client, version, competition, say
        self.mark = f"[{pack_id[:12]} v{version.number}]"

    def found(self) -> Answer | None:
        """The submission with our mark among the team's, None when there is none. Raises DeployError."""
        request = {"competitionName": self.competition, "pageSize": 100}
        for page in self.client.pages("list_submissions", request):
            for submission in page.get("submissions") or []:
                if self.mark in str(submission.get("description") or ""):
                    return submission
        return None

    def look(self, ref: int) -> Answer | None:
        """The submission as it stands now."""
        return self.client.ask_if_there("get_submission", {"ref": ref}) or self.found()

    def request(self, message: str) -> Answer:
        """The body of CreateCodeSubmission."""
        owner, _, name = self.version.ref.partition("/")
        return {"competitionName": self.competition, "kernelOwner": owner, "kernelSlug": name, "fileName": FILE,
                "kernelVersion": self.version.number, "submissionDescription": f"{message} {self.mark}"}


def submit_version(submitter: Submitter, journal: Journal, message: str) -> SubmissionEntry:
    """Submit unless this version was submitted -> the scored entry. Raises DeployError."""
    number = submitter.version.number
    entry = journal.data.submission
    entry = entry if entry is not None and entry.version == number else None
    if entry is not None and entry.state == "scored":
        submitter.say(f"version {number} was submitted before: '{entry.message}'")
        return entry
    if entry is None or entry.ref is None:
        known = submitter.found() if entry is None else submitter.client.settled(submitter.found)
        ref = int(known["ref"]) if known is not None else send(submitter, journal, message)
        entry = SubmissionEntry(version=number, state="submitted", ref=ref, message=message)
        journal.note(submission=entry)
        submitter.say(f"version {number} is submitted to {submitter.competition}")
    return wait_score(submitter, journal, entry)


def send(submitter: Submitter, journal: Journal, message: str) -> int:
    """Make the submission once -> its number. Raises DeployError."""
    journal.note(submission=SubmissionEntry(version=submitter.version.number, state="intent", message=message))
    try:
        written = submitter.client.change("create_code_submission", submitter.request(message), submitter.found)
    except CallError as error:
        journal.note(submission=None)
        failure = error.deploy_error()
        if error.kind == "http" and error.code in (400, 403, 404, 409, 429):
            failure = DeployError(f"Kaggle refused the submission of version {submitter.version.number}: "
                                  f"{error.message}", Exit.SUBMISSION_REFUSED)
        raise failure from None
    if written.found is not None:
        return int(written.found["ref"])
    answer = written.answer or {}
    ref = int(answer.get("ref") or 0)
    if not ref and (found := submitter.client.settled(submitter.found)) is not None:
        ref = int(found["ref"])
    if not ref:
        journal.note(submission=None)
        raise DeployError(f"Kaggle did not take the submission: {answer.get('message') or 'it did not say why'}",
                          Exit.SUBMISSION_REFUSED)
    return ref


def wait_score(submitter: Submitter, journal: Journal, entry: SubmissionEntry) -> SubmissionEntry:
    """Poll until the score is there; note and return it. Raises DeployError."""
    for number in submitter.client.pace.looks(SCORE_LOOKS):
        seen = submitter.look(int(entry.ref or 0)) or {}
        status = str(seen.get("status") or "PENDING")
        if status == "COMPLETE":
            scored = entry.model_copy(update={"state": "scored", "public_score": number_in(seen.get("publicScore")),
                                              "private_score": number_in(seen.get("privateScore"))})
            journal.note(submission=scored)
            return scored
        if status == "ERROR":
            problem = str(seen.get("errorDescription") or "Kaggle did not say why")
            journal.note(submission=entry.model_copy(update={"state": "failed", "problem": problem}))
            raise DeployError(with_hints(f"the submission of version {entry.version} ended in an error: {problem}",
                                         problem), Exit.SCORING_ERROR)
        if number == 0:
            submitter.say("waiting for the score")
    raise DeployError(f"no score for version {entry.version} yet; run the same command again", Exit.NO_SCORE)


def number_in(text: object) -> float | None:
    """A score as Kaggle writes it -> number, None for anything else."""
    return float(str(text)) if re.fullmatch(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", str(text)) else None
