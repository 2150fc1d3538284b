"""The fuzz target itself works, and every seed of its corpus does what its name says. No atheris needed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fuzz_sealed import check_one, make_corpus, valid_file  # noqa: E402

CORPUS = Path(__file__).parent / "corpus" / "sealed"
EXPECTED = {
    "valid": "accepted", "valid-code": "accepted", "pinned": "accepted", "wrong-key": "WrongKeyError",
    "wrong-role": "SealedRoleFormatError", "short": "TruncatedSealedError", "long": "ExtendedSealedError",
    "header": "TruncatedSealedError", "empty": "EmptySealedError", "magic": "TruncatedSealedError",
    "newer": "NewerSealedError", "chunk": "DamagedChunkError", "one-byte-plain": "DamagedChunkError",
    "huge": "TruncatedSealedError",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_seed(name: str) -> None:
    assert check_one((CORPUS / name).read_bytes()) == EXPECTED[name]


def test_every_stored_input_is_handled() -> None:
    outcomes = {path.name: check_one(path.read_bytes()) for path in CORPUS.iterdir()}
    assert set(EXPECTED) <= set(outcomes)


def test_the_seeds_are_those_that_the_script_makes(tmp_path: Path) -> None:
    make_corpus(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        name: (CORPUS / name).read_bytes() for name in EXPECTED
    }


def test_the_target_notices_what_it_is_there_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that accepts a changed file is a crash."""
    monkeypatch.setattr("fuzz_sealed.read", lambda *_: b"anything")
    with pytest.raises(RuntimeError, match="accepted a file that no writer wrote"):
        check_one(b"\0" + valid_file()[:-1] + b"x")
