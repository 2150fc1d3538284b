"""Stage the weights dataset: seal what an ensemble needs once, lay the sealed files flat for upload."""

from __future__ import annotations

import json
import secrets
import shutil
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from foldpack.data.runs import checkpoint_path, gallery_path, read_meta
from foldpack.errors import FoldpackError
from foldpack.files import link_or_copy, sha256_file, write_atomic
from foldpack.keyring.keyring import KeyNotFoundError, Keyring
from foldpack.sealed.container import SealedError, SealedInfo, new_data_key, read_sealed_header, seal_file
from foldpack.sealed.keys import write_keys_file
from foldpack.settings.ensemble import KEYS_FILE, EnsembleSpec, booster_role, fold_role, gallery_role, sealed_parts
from foldpack.settings.outputs import Classes, Values
from foldpack.settings.project_code import is_project_code
from foldpack.settings.stages import BoosterSpec, FoldSpec, MemberSpec, Outputs, StageSpec

INDEX_VERSION = 1


class StageError(FoldpackError):
    """Weights that are missing or are not those that the ensemble was fitted on."""


@dataclass(frozen=True)
class SealedEntry:
    """One sealed checkpoint in the store."""

    file: str  # name in the store and in the dataset
    header: str  # SHA-256 of the header
    file_id: str  # under which the keyring holds its key


class SealedStore:
    """`build/sealed/`: one sealed file for each checkpoint and role, shared by all ensembles, sealed only once.

    The keyring must come from `Keyring.editing`, which keeps other commands out while keys are added.
    """

    def __init__(self, folder: Path, keyring: Keyring) -> None:
        self.folder = folder
        self.keyring = keyring
        self.index = self._read_index()

    def _read_index(self) -> dict[str, SealedEntry]:
        try:
            data = json.loads((self.folder / "index.json").read_text(encoding="utf-8"))
            if data["version"] != INDEX_VERSION:
                return {}
            return {name: SealedEntry(**entry) for name, entry in data["files"].items()}
        except (OSError, ValueError, KeyError, TypeError):
            return {}  # the store can always be made again from the runs

    def entry(self, checkpoint: Path, sha256: str, role: str) -> SealedEntry:
        """The sealed file of a checkpoint; sealed now if it is not there yet or cannot be opened any more."""
        name = f"{role}:{sha256}"
        known = self.index.get(name)
        if known is not None and self._usable(known):
            return known
        self.folder.mkdir(parents=True, exist_ok=True)
        key, file_id = new_data_key(), secrets.token_bytes(16)

        def keep_key(info: SealedInfo) -> None:
            self.keyring.add(info.file_id, key, role, info.header_sha256)
            self.keyring.save()

        # The key is kept before the sealed file appears: a file without its key is worth nothing.
        target = self.folder / f"{file_id.hex()}.sealed"
        info = seal_file(checkpoint, target, key, role, file_id=file_id, before_publish=keep_key)
        made = SealedEntry(target.name, info.header_sha256, info.file_id)
        self.index[name] = made
        files = {name: vars(entry) for name, entry in sorted(self.index.items())}
        index = {"version": INDEX_VERSION, "files": files}
        write_atomic(self.folder / "index.json", json.dumps(index, indent=1) + "\n")
        return made

    def _usable(self, entry: SealedEntry) -> bool:
        try:
            fits = read_sealed_header(self.folder / entry.file).header_sha256 == entry.header
        except SealedError:
            return False
        return fits and self._has_key(entry.file_id)

    def _has_key(self, file_id: str) -> bool:
        try:
            self.keyring.data_key(file_id)
        except KeyNotFoundError:
            return False
        return True


def seal_members(spec: EnsembleSpec, runs: Path, store: SealedStore) -> tuple[EnsembleSpec, dict[str, str]]:
    """Seal every checkpoint and its gallery. Returns the spec with `file` and `header` filled in, and the keys by file
    name.

    Raises StageError when a run is gone or its weights changed since the search.
    """
    every = [(stage, member, fold) for stage in spec.stages for member in stage.members for fold in member.folds]
    for stage, member, fold in every:  # all, before the first is sealed
        require_checkpoint(runs, stage, member, fold)
    keys: dict[str, str] = {}

    def entry_of(path: Path, sha256: str, role: str) -> dict[str, str]:
        entry = store.entry(path, sha256, role)
        keys[entry.file] = bytes(store.keyring.data_key(entry.file_id)).hex()
        return {"file": entry.file, "header": entry.header}

    def sealed(run: str, fold: FoldSpec) -> FoldSpec:
        changes: dict[str, object] = dict(
            entry_of(checkpoint_path(runs / run, fold.fold), fold.sha256, fold_role(run, fold.fold)))
        if fold.gallery is not None:
            changes["gallery"] = fold.gallery.model_copy(update=entry_of(
                gallery_path(runs / run, fold.fold), fold.gallery.sha256, gallery_role(run, fold.fold)))
        return fold.model_copy(update=changes)

    stages = [stage.model_copy(update={"members": [
        member.model_copy(update={"folds": [sealed(member.run, fold) for fold in member.folds]})
        for member in stage.members]}) for stage in spec.stages]
    return spec.model_copy(update={"stages": stages}), keys


def seal_boosters(spec: EnsembleSpec, folder: Path, store: SealedStore) -> tuple[EnsembleSpec, dict[str, str]]:
    """Seal the boosters of level 2, texts in `folder`. Returns the spec filled in, and the keys by file name.

    Raises StageError when a text is gone or changed since the search.
    """
    for one in spec.boosters:  # all, before the first is sealed
        path = folder / one.file
        if not path.is_file() or sha256_file(path) != one.sha256:
            raise StageError(f"{path}: missing or changed since the search; run `foldpack search` again")
    keys: dict[str, str] = {}
    numbers = count()

    def sealed(one: BoosterSpec) -> BoosterSpec:
        entry = store.entry(folder / one.file, one.sha256, booster_role(next(numbers)))
        keys[entry.file] = bytes(store.keyring.data_key(entry.file_id)).hex()
        return one.model_copy(update={"sealed": entry.file, "header": entry.header})

    stages = [stage.model_copy(update={"level2": [
        level2.model_copy(update={"boosters": [sealed(one) for one in level2.boosters]}) for level2 in stage.level2]})
        for stage in spec.stages]
    return spec.model_copy(update={"stages": stages}), keys


def require_checkpoint(runs: Path, stage: StageSpec, member: MemberSpec, fold: FoldSpec) -> None:
    """Raises StageError where a checkpoint, or its gallery, is not that which the ensemble was fitted on; DataError for
    a missing run.

    Of a task of the project's own the checkpoints alone are needed: `meta.json` says what our training made.
    """
    if not is_project_code(stage.task):
        require_outputs(runs / member.run, stage, member)
    parts = [("weights", "are", checkpoint_path(runs / member.run, fold.fold), fold.sha256)]
    if fold.gallery is not None:
        parts.append(("gallery", "is", gallery_path(runs / member.run, fold.fold), fold.gallery.sha256))
    for what, verb, path, digest in parts:
        if not path.is_file():
            raise StageError(f"{path}: the {what} of fold {fold.fold} {verb} missing; train the run again and search "
                             "again")
        if sha256_file(path) != digest:
            raise StageError(f"{path}: the {what} changed since the search; run `foldpack search` again")


def require_outputs(folder: Path, stage: StageSpec, member: MemberSpec) -> None:
    """Raises StageError where a run gives something else than the stage says; DataError for a missing run."""
    meta = read_meta(folder)
    outputs = meta.outputs
    if (outputs.model_copy(update={"prior": stage.outputs.prior}), meta.size) != (stage.outputs, member.size):
        raise StageError(f"{folder}: {outputs_words(outputs)} and {meta.size} px do not fit the stage '{stage.name}' "
                         f"({outputs_words(stage.outputs)}, {member.size} px); run `foldpack search` again")


def outputs_words(outputs: Outputs) -> str:
    """What a network gives, in words, to tell two apart."""
    kind = outputs.link if isinstance(outputs, Classes) else outputs.kind
    return f"{kind}, {len(outputs.names)} {'columns' if isinstance(outputs, Values) else 'classes'}"


def lay_out_weights(spec: EnsembleSpec, store: SealedStore, folder: Path, slug: str) -> None:
    """Fill `folder` with the sealed files of the spec and dataset-metadata.json, and nothing else. slug: owner/name."""
    empty_folder(folder)
    for part in sealed_parts(spec):
        link_or_copy(store.folder / part.file, folder / part.file)
    write_dataset_metadata(folder, slug)


def lay_out_keys(keys: dict[str, str], folder: Path, slug: str) -> None:
    """Fill `folder` with the keys file of a second dataset, which must stay private. keys: hex by sealed file name."""
    empty_folder(folder)
    write_keys_file(folder / KEYS_FILE, {Path(name).stem: bytes.fromhex(key) for name, key in keys.items()})
    write_dataset_metadata(folder, slug)


def empty_folder(folder: Path) -> None:
    """Make `folder`, or empty it."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def write_dataset_metadata(folder: Path, slug: str) -> None:
    """`dataset-metadata.json`, as the kaggle client reads it. slug: owner/name."""
    metadata = {"title": slug.partition("/")[2], "id": slug, "licenses": [{"name": "other"}]}
    write_atomic(folder / "dataset-metadata.json", json.dumps(metadata, indent=1) + "\n")
