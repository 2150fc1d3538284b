"""Where Kaggle credentials lie here, in the order in which the client looks; nothing secret is kept or shown."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

NO_CREDENTIALS = "no Kaggle credentials found"
MAKE_TOKEN = "make a token on kaggle.com/settings and save it as ~/.kaggle/access_token with mode 0600"


@dataclass(frozen=True)
class Credentials:
    """What was found. path: the file, None for environment variables; username: where it can be known offline."""

    kind: str
    path: Path | None
    username: str | None

    @property
    def readable_by_others(self) -> bool:
        """Whether the file's mode lets anybody else read it."""
        return self.path is not None and bool(stat.S_IMODE(self.path.stat().st_mode) & 0o077)


def find_credentials() -> Credentials | None:
    """The credentials that the client will use, None without any."""
    home = Path.home() / ".kaggle"
    if token := os.environ.get("KAGGLE_API_TOKEN"):
        path = Path(token) if os.path.exists(token) else None
        return Credentials("KAGGLE_API_TOKEN", path, None)
    for name in ("access_token", "access_token.txt"):
        if is_filled(home / name):
            return Credentials("access token", home / name, None)
    if os.environ.get("KAGGLE_USERNAME") and os.environ.get("KAGGLE_KEY"):
        return Credentials("KAGGLE_KEY", None, os.environ["KAGGLE_USERNAME"])
    legacy = config_folder() / "kaggle.json"
    if (user := legacy_user(legacy)) is not None:
        return Credentials("kaggle.json", legacy, os.environ.get("KAGGLE_USERNAME") or user)
    if is_filled(home / "credentials.json"):
        return Credentials("OAuth credentials", home / "credentials.json", None)
    return None


def config_folder() -> Path:
    """The folder of kaggle.json, as the client chooses it."""
    if folder := os.environ.get("KAGGLE_CONFIG_DIR"):
        return Path(folder)
    home = Path.home() / ".kaggle"
    if home.exists():
        return home
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kaggle"


def is_filled(path: Path) -> bool:
    """Whether a file is there and not empty."""
    return path.is_file() and path.stat().st_size > 0


def legacy_user(path: Path) -> str | None:
    """The user named in a kaggle.json that has a key, None for anything else."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        name = data["username"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) and name and data.get("key") else None
