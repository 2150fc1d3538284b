"""What was concluded of a download, how sure each conclusion is, and why. What nothing tells is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from foldpack.errors import FoldpackError

Certainty = Literal["recognised", "guessed", "could not tell"]
Choose = Callable[[str, list[str]], int]  # (question, what can be chosen) -> position of the choice
T = TypeVar("T")
STOP = "none of these: stop"


class RecognitionError(FoldpackError):
    """A download that cannot be understood. Text: folder or file first, and what to do."""


@dataclass(frozen=True)
class Finding:
    """One conclusion."""

    key: str  # of `competition.yml`, at its top: "labels"
    said: str  # the conclusion
    why: str
    sure: Certainty

    @property
    def line(self) -> str:
        """In one line, without the key."""
        return f"{self.said} ({self.why})"


class Findings:
    """The conclusions in the order in which they were drawn. choose: asks a person; None: the best is taken."""

    def __init__(self, choose: Choose | None = None) -> None:
        self.all: list[Finding] = []
        self.choose = choose

    def recognise(self, key: str, said: str, why: str) -> None:
        """Something that the files themselves say."""
        self.all.append(Finding(key, said, why, "recognised"))

    def guess(self, key: str, said: str, why: str) -> None:
        """Something that is likely."""
        self.all.append(Finding(key, said, why, "guessed"))

    def settle(self, key: str, question: str, options: Sequence[tuple[T, str]], why: str) -> T:
        """One of several that the files do not tell apart: asked, or the first. options: (value, in words)."""
        if self.choose is not None:
            value, words = options[self.choose(f"{key}: {question} ({why})", [each for _, each in options])]
            self.recognise(key, words, "you said so")
            return value
        others = ", ".join(words for _, words in options[1:])
        self.all.append(Finding(key, options[0][1], f"{why}; it may be: {others}", "could not tell"))
        return options[0][0]

    def doubt(self, key: str, said: str, why: str) -> None:
        """Something that may well be wrong: a person is asked whether to go on. Raises RecognitionError on no."""
        go_on = "go on with it"
        if self.choose is not None and self.choose(f"{key}: {said}? ({why})", [go_on, STOP]):
            raise RecognitionError(f"{key}: {said}: stopped, as you said; {why}")
        self.all.append(Finding(key, said, why, "could not tell"))

    def of(self, key: str) -> list[Finding]:
        """Those of one key."""
        return [each for each in self.all if each.key == key]
