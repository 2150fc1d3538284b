"""Studies of optuna's: kept in a file or a database, shared by several machines, bound to what they were made on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from foldpack.errors import DataError

if TYPE_CHECKING:
    import optuna

JOURNALS = (".log", ".journal")
DATABASES = (".db", ".sqlite", ".sqlite3")


def open_storage(study: str | None, wanting: str = "--level2-trials") -> Any:
    """What optuna keeps its studies in: a database by URL, an SQLite file, or a journal; None: memory.

    wanting: the option that needs it. Raises DataError.
    """
    try:
        from optuna.storages import JournalStorage, RDBStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise DataError(f"{wanting} needs optuna; install it: pip install optuna") from None
    if study is None:
        return None
    if "://" in study:
        return open_database(study)
    path = Path(study)
    if path.suffix not in JOURNALS + DATABASES:
        allowed = ", ".join(DATABASES + JOURNALS)
        raise DataError(f"--study {study}: not a URL, and the file's ending is none of {allowed}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in JOURNALS:
        return JournalStorage(JournalFileBackend(str(path)))
    return RDBStorage(f"sqlite:///{path.resolve()}")


def open_database(url: str) -> Any:
    """A database by its URL. Raises DataError where its driver is missing, or it cannot be reached."""
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return RDBStorage(url)
    except ImportError:
        raise DataError(f"--study {hidden(url)}: its driver is not installed; for PostgreSQL: pip install "
                        "'foldpack[postgres]'") from None
    except (SQLAlchemyError, ValueError) as failure:
        said = hidden(" ".join(str(getattr(failure, "orig", None) or failure).split()))
        raise DataError(f"--study {hidden(url)}: the database cannot be opened ({said[:200]}); write "
                        "postgresql+psycopg://USER@HOST/NAME, and see that it runs") from None


def hidden(text: str) -> str:
    """A text with the passwords of its URLs blacked out."""
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:***@", text)


def open_study(study: str | None, name: str, digest: str, made_on: str,
               direction: Literal["minimize", "maximize"] = "minimize") -> optuna.Study:
    """The study of a name, made where it is not there. digest: of what it is made on; made_on: what that is, in words.

    Raises DataError for one that was made on something else.
    """
    storage = open_storage(study)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # as a warning it prints the traceback of a Ctrl-C
    found = optuna.create_study(storage=storage, study_name=name, load_if_exists=True, direction=direction)
    if found.user_attrs.setdefault("data", digest) != digest:
        raise DataError(f"--study {hidden(str(study))}: '{name}' was made on other {made_on}; give another file, or "
                        "delete this one")
    found.set_user_attr("data", digest)
    return found
