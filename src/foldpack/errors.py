"""The base of every error that foldpack raises on purpose."""

from __future__ import annotations

from difflib import get_close_matches

INTERRUPTED = 130  # the exit code of Ctrl-C


class FoldpackError(Exception):
    """Something the user can mend. One line: what was wrong, what we got, what is allowed, what to do.

    The command line prints the message without a traceback and exits with code 2.
    """


class DataError(FoldpackError):
    """A file of the competition or of a run is missing, unreadable or does not fit the rest."""


def did_you_mean(word: str, allowed: list[str]) -> str:
    """The tail of an error message about a name that is not in a list.

    `did_you_mean("acuracy", ["accuracy", "f2"])` -> `did you mean 'accuracy'? Allowed: accuracy, f2`
    """
    close = get_close_matches(word, allowed, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}Allowed: {', '.join(allowed)}"
