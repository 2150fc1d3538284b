"""Push the kernel: one request, exactly one version, and a look at what Kaggle made of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from packer.kaggle.client import Answer, CallError, KaggleClient
from packer.kaggle.exits import DeployError, Exit
from packer.kaggle.journal import Journal, PushEntry

INVALID = ("invalidDatasetSources", "invalidCompetitionSources", "invalidKernelSources", "invalidModelSources")
SOURCES = ("datasetDataSources", "competitionDataSources", "kernelDataSources", "modelDataSources")
QUOTA_WORDS = re.compile(r"session count|quota|maximum batch", re.IGNORECASE)
TAKEN_WORDS = re.compile(r"already (in use|taken|exists)|title .* in use", re.IGNORECASE)
Say = Callable[[str], None]


def save_request(metadata: Answer, text: str) -> Answer:
    """The whole body of SaveKernel, as the client sends it. metadata: kernel-metadata.json; text: the code file."""
    from kagglesdk.kernels.types.kernels_api_service import ApiSaveKernelRequest  # half a second to import

    if metadata["kernel_type"] == "notebook":
        text = one_text_a_cell(text)
    wire = {"slug": metadata["id"], "newTitle": metadata["title"], "text": text, "language": metadata["language"],
            "kernelType": metadata["kernel_type"], "isPrivate": metadata["is_private"],
            "enableGpu": metadata["enable_gpu"], "enableTpu": metadata["enable_tpu"],
            "enableInternet": metadata["enable_internet"], "machineShape": metadata["machine_shape"],
            "datasetDataSources": metadata["dataset_sources"], "kernelDataSources": metadata["kernel_sources"],
            "competitionDataSources": metadata["competition_sources"], "modelDataSources": metadata["model_sources"]}
    return ApiSaveKernelRequest.from_dict(wire).to_dict()


def one_text_a_cell(notebook: str) -> str:
    """Kaggle takes each cell's source as one text, not as a list of lines."""
    data = json.loads(notebook)
    for cell in data["cells"]:
        cell["source"] = "".join(cell["source"])
    return json.dumps(data)


def build_request(folder: Path) -> Answer:
    """The request for what lies in `build/<name>/`."""
    metadata = json.loads((folder / "kernel-metadata.json").read_text(encoding="utf-8"))
    return save_request(metadata, (folder / metadata["code_file"]).read_text(encoding="utf-8"))


def shown_request(request: Answer) -> str:
    """The request as JSON without the source text, which holds the keys."""
    return json.dumps({key: value for key, value in request.items() if key != "text"}, indent=1)


def request_hash(request: Answer) -> str:
    """SHA-256 of the whole request, hex."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Held:
    """A kernel version as Kaggle holds it."""

    version: int
    text: str
    metadata: Answer


class Kernel:
    """One kernel on Kaggle and what we want it to be."""

    def __init__(self, client: KaggleClient, request: Answer, say: Say) -> None:
        self.client, self.request, self.say = client, request, say
        self.ref = str(request["slug"])
        owner, _, name = self.ref.partition("/")
        self.place: Answer = {"userName": owner, "kernelSlug": name}

    def held(self) -> Held | None:
        """The newest version, None when there is none that we may see."""
        answer = self.client.ask_if_there("get_kernel", self.place)
        if answer is None:
            return None
        metadata = answer.get("metadata") or {}
        text = str((answer.get("blob") or {}).get("source") or "")
        return Held(int(metadata.get("currentVersionNumber") or 0), text, metadata)

    def arrived(self, before: int) -> int | None:
        """The number of the version that we pushed, None when nothing is newer than `before`. Raises DeployError."""
        held = self.held()
        if held is None or held.version <= before:
            return None
        if not same_text(held.text, str(self.request["text"])):
            raise DeployError(f"kernel {self.ref}: version {held.version} is not what we pushed; somebody else pushed "
                              "at the same time. Look at its page, then run the same command again", Exit.UNCLEAR)
        return held.version

    def differences(self, held: Held) -> list[str]:
        """What Kaggle holds other than we asked for."""
        found = [] if same_text(held.text, str(self.request["text"])) else ["another source text"]
        if held.metadata.get("isPrivate") is False:
            found.append("it is public, and its keys with it")
        if held.metadata.get("enableInternet") is True:
            found.append("its internet is on")
        for name in SOURCES:
            there = {str(source).lower() for source in held.metadata.get(name) or []}
            missing = [one for one in self.request.get(name) or [] if not any(is_source(one, each) for each in there)]
            found += [f"{one} is not attached" for one in missing]
        return found

    def is_this(self, held: Held) -> bool:
        """Whether a push would give the same again."""
        return not self.differences(held) and held.metadata.get("machineShape") in (
            None, "", self.request.get("machineShape"))


def is_source(wanted: str, there: str) -> bool:
    """Whether an attached source (perhaps with a version) is the wanted one."""
    return there == wanted.lower() or there.startswith(wanted.lower() + "/")


def same_text(one: str, other: str) -> bool:
    """Whether two sources are the same but for line ends and how a notebook's JSON is written."""
    return plain_text(one) == plain_text(other)


def plain_text(text: str) -> str:
    """A script without blanks at its end; of a notebook the cells' texts."""
    if text.lstrip().startswith("{"):
        try:
            cells = json.loads(text)["cells"]
            return "\0".join("".join(cell["source"]) for cell in cells)
        except (ValueError, KeyError, TypeError):
            pass
    return "\n".join(text.splitlines()).rstrip()


def push_kernel(kernel: Kernel, journal: Journal, name: str) -> int:
    """Push unless this very request is there already -> the version. name: the ensemble's. Raises DeployError."""
    wanted = request_hash(kernel.request)
    entry = journal.data.push
    entry = entry if entry is not None and entry.request == wanted else None
    held = kernel.held()
    if entry is not None and entry.state == "verified" and held is not None and held.version >= entry.version:
        kernel.say(f"kernel {kernel.ref}: version {entry.version} is there already; nothing to push")
        return entry.version
    if entry is None or entry.state in ("dropped", "elsewhere", "verified"):
        refuse_taken(kernel, held, name)
        if journal.data.push is None and held is not None and kernel.is_this(held):  # the journal was lost
            kernel.say(f"kernel {kernel.ref}: version {held.version} is this very kernel; nothing to push")
            journal.note(push=PushEntry(request=wanted, state="verified", before=held.version, version=held.version))
            return held.version
        entry = PushEntry(request=wanted, state="intent", before=held.version if held is not None else 0)
        journal.note(push=entry)
        version = send(kernel, journal, entry)
    elif entry.state == "intent":  # a deploy that ended in between: its push may have got through
        before = entry.before
        version = kernel.client.settled(lambda: kernel.arrived(before)) or send(kernel, journal, entry)
    else:
        version = entry.version
    journal.note(push=entry.model_copy(update={"state": "pushed", "version": version}))
    verify(kernel, version)
    journal.note(push=entry.model_copy(update={"state": "verified", "version": version}))
    kernel.say(f"kernel {kernel.ref}: version {version} is pushed and read back")
    return version


def refuse_taken(kernel: Kernel, held: Held | None, name: str) -> None:
    """Raise DeployError when the slug belongs to a kernel that is not a pack of this ensemble."""
    if held is None or not held.text:
        return
    found = re.search(r"# Ensemble +([^,\s\\]+)", held.text)
    if "# Pack id" not in held.text or (found is not None and found[1] != name):
        owner = f"the ensemble '{found[1]}'" if found else "something that foldpack did not pack"
        raise DeployError(f"kernel {kernel.ref} is taken: its version {held.version} is {owner}; rename this ensemble, "
                          "or delete that kernel", Exit.SLUG_TAKEN)


def send(kernel: Kernel, journal: Journal, entry: PushEntry) -> int:
    """Send the request once and read the answer -> the new version. Raises DeployError."""
    def arrived() -> int | None:
        return kernel.arrived(entry.before)

    try:
        written = kernel.client.change("save_kernel", kernel.request, arrived)
    except CallError as error:
        journal.note(push=None)  # refused: nothing was saved
        if QUOTA_WORDS.search(error.message):
            raise DeployError(f"kernel {kernel.ref}: {error.message}; wait, or stop a session", Exit.QUOTA) from None
        raise error.deploy_error() from None
    if written.found is not None:
        return written.found
    answer = written.answer or {}
    if error_text := str(answer.get("error") or ""):
        journal.note(push=None)
        code = Exit.QUOTA if QUOTA_WORDS.search(error_text) else Exit.REFUSED
        code = Exit.SLUG_TAKEN if TAKEN_WORDS.search(error_text) else code
        raise DeployError(f"kernel {kernel.ref}: Kaggle refused the push: {error_text}", code)
    check_answer(kernel, journal, entry, answer)
    version = int(answer.get("versionNumber") or 0) or kernel.client.settled(arrived)
    if not version:
        raise DeployError(f"kernel {kernel.ref}: Kaggle took the push but shows no new version; run the same command "
                          "again", Exit.UNCLEAR)
    return version


def check_answer(kernel: Kernel, journal: Journal, entry: PushEntry, answer: Answer) -> None:
    """Raise DeployError when Kaggle saved something else than it was asked to."""
    version = int(answer.get("versionNumber") or 0)
    ref = short_ref(str(answer.get("ref") or ""))
    if ref and ref != kernel.ref.lower():
        journal.note(push=entry.model_copy(update={"state": "elsewhere", "version": version}))
        raise DeployError(f"Kaggle saved the kernel as {ref}, not as {kernel.ref}: its title leads to another name. "
                          "Delete it there, rename the ensemble and deploy again", Exit.OTHER_REF)
    dropped = [str(source) for name in INVALID for source in answer.get(name) or []]
    if dropped:
        journal.note(push=entry.model_copy(update={"state": "dropped", "version": version}))
        raise DeployError(f"kernel {kernel.ref}: version {version} was saved without {', '.join(dropped)}; check these "
                          "names, join the competition and accept its rules, then deploy again", Exit.SOURCES_DROPPED)


def short_ref(ref: str) -> str:
    """`/code/owner/slug` or a URL -> `owner/slug`, lower case."""
    return "/".join(ref.lower().strip("/").split("/")[-2:]) if "/" in ref.strip("/") else ""


def verify(kernel: Kernel, version: int) -> None:
    """Read the version back. Raises DeployError when it is not what was sent."""
    found: list[str] = []

    def right() -> bool | None:
        nonlocal found
        held = kernel.held()
        if held is None or held.version < version:
            found = [f"version {version} is not to be seen"]
        elif held.version > version:
            found = []  # a later push, from elsewhere; this one was answered with its own number
            kernel.say(f"note: kernel {kernel.ref} has a later version {held.version}, which is not ours")
        else:
            found = kernel.differences(held)
        return None if found else True

    if not kernel.client.settled(right):
        raise DeployError(f"kernel {kernel.ref}, version {version}, is not what was sent: {'; '.join(found)}. Look at "
                          "its page; then change the ensemble's name, or mend it there", Exit.UNCLEAR)
